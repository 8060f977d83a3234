//! The dashboard on a store of a million jobs: how long each page takes, how many rows it reads, what it costs the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};
use work_core::store::{Inspect, JobFilter, Order};
use work_core::{JobId, JobState};
use work_dashboard::Dashboard;
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

use crate::figure::{Bench, BoxError, Printer, runtime, sorted};
use crate::place::Place;
use crate::queued;

pub(crate) const SQLITE: Bench = Bench {
    name: "dashboard_sqlite_million",
    what: "each page and API route with 1,000,000 jobs in a file: p50, p99, and the rows that it reads",
    run: |printer| sqlite(printer, "dashboard_sqlite_million", What::Pages),
};

pub(crate) const POSTGRES: Bench = Bench {
    name: "dashboard_postgres_million",
    what: "the same on a server",
    run: |printer| postgres(printer, "dashboard_postgres_million", What::Pages),
};

pub(crate) const SQLITE_DRAIN: Bench = Bench {
    name: "dashboard_sqlite_drain_million",
    what: "the drain rate with ten dashboards open on 1,000,000 jobs in a file",
    run: |printer| sqlite(printer, "dashboard_sqlite_drain_million", What::Drain),
};

pub(crate) const POSTGRES_DRAIN: Bench = Bench {
    name: "dashboard_postgres_drain_million",
    what: "the same on a server",
    run: |printer| postgres(printer, "dashboard_postgres_drain_million", What::Drain),
};

/// What is measured.
#[derive(Clone, Copy)]
enum What {
    Pages,
    Drain,
}

const JOBS: u64 = 1_000_000;

/// Requests for one page.
const REQUESTS: usize = 40;

/// The most rows that a page may read.
const MOST_ROWS: u64 = 20_000;

/// Jobs of one drain: enough for several loads of each page.
const DRAINED: u64 = 300_000;

/// Dashboards that are open while jobs are drained.
const OPEN: usize = 10;

/// What the job of a number is, the same in both databases: its kind, its queue, and its state. Six in ten ended well, a
/// twentieth are dead letters, three in a hundred were cancelled, the rest waits, half of it for later.
const KIND: &str = "'kind' || (i % 12)";
const QUEUE: &str = "'queue' || (i % 5)";
const STATE: &str = "CASE WHEN i % 20 < 12 THEN 'completed' WHEN i % 20 = 12 THEN 'discarded'
    WHEN i % 100 IN (13, 33, 53) THEN 'cancelled' ELSE 'available' END";

/// One job in five hundred has a tag.
const TAGGED: &str = "i % 500 = 0";

fn sqlite(printer: &Printer, name: &'static str, what: What) -> Result<(), BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    runtime.block_on(async {
        let file = SqliteStore::open(place.file()).await?;
        let store: Arc<dyn Inspect> = Arc::new(file.clone());
        add_run(&*store).await?;
        fill_file(&Connection::open(place.file())?)?;
        measure(printer, name, store, (what, &Rows::File(file))).await
    })?;
    drop(runtime);
    place.closed()
}

fn fill_file(connection: &Connection) -> Result<(), BoxError> {
    connection.execute_batch(&format!(
        "BEGIN; CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS} - 1)
            SELECT i, {STATE} AS state, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now FROM n;
        INSERT INTO jobs (kind, queue, state, args, scheduled_at, created_at, attempt, status, finished_at)
            SELECT {KIND}, {QUEUE}, state, '{{\"n\":' || i || ',\"user\":{{\"id\":' || (i % 1000) || '}}}}',
            now - {JOBS} + i + CASE WHEN state = 'available' AND i % 2 = 0 THEN 864000000 ELSE 0 END, now - {JOBS} + i,
            state <> 'available', CASE state WHEN 'completed' THEN 200 WHEN 'discarded' THEN 500 END,
            CASE WHEN state <> 'available' THEN now - {JOBS} + i + 40 END FROM n;
        INSERT INTO attempts SELECT seq, 1, 500, 'card ' || seq || ' was declined by bank ' || (seq % 7), NULL, finished_at
            FROM jobs WHERE state = 'discarded';
        INSERT INTO tags (tag, job) SELECT 'eu', seq FROM jobs JOIN n ON seq = i + 1 WHERE {TAGGED};
        COMMIT; DROP TABLE n; ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)",
    ))?;
    Ok(())
}

fn postgres(printer: &Printer, name: &'static str, what: What) -> Result<(), BoxError> {
    let url =
        std::env::var("WORK_TEST_POSTGRES").map_err(|_| "WORK_TEST_POSTGRES is not set; use `cargo xtask bench`")?;
    let schema = format!("b_{}", JobId::new().as_uuid().simple());
    runtime()?.block_on(async {
        let mut builder = PostgresStore::builder(&url).schema(&schema);
        if matches!(what, What::Pages) {
            // One that is idle tells what it read only after ten seconds, and then it is said of another page.
            builder = builder.pool_size(1);
        }
        let store: Arc<dyn Inspect> = Arc::new(builder.connect().await?);
        add_run(&*store).await?;
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&fill_schema().replace("work.", &format!("{schema}."))).await?;
        let rows = Rows::Server { client, schema: schema.clone() };
        measure(printer, name, store, (what, &rows)).await?;
        let Rows::Server { client, .. } = rows else { return Ok(()) };
        client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE; CHECKPOINT")).await?;
        Ok(())
    })
}

fn fill_schema() -> String {
    let args = "convert_to('{\"n\":' || i || ',\"user\":{\"id\":' || (i % 1000) || '}}', 'UTF8')";
    let at = format!("clock_timestamp() - ({JOBS} - i) * interval '1 ms'");
    let numbers = format!("(SELECT i, {STATE} AS state FROM generate_series(0, {JOBS} - 1) AS i) AS n");
    format!(
        "INSERT INTO work.jobs (seq, id, kind, queue, args, scheduled_at, created_at)
            SELECT i, work.new_id(), {KIND}, {QUEUE}, {args}, {at} + CASE WHEN i % 2 = 0 THEN interval '10 d' ELSE interval '0' END, {at}
            FROM {numbers} WHERE state = 'available' ORDER BY i;
        INSERT INTO work.history (seq, id, kind, queue, state, args, scheduled_at, created_at, finished_at, fence, attempt,
            max_attempts, crashes, priority, status)
            SELECT i, work.new_id(), {KIND}, {QUEUE}, state, {args}, {at}, {at}, {at} + interval '40 ms', 1, 1, 25, 0, 5,
            CASE state WHEN 'completed' THEN 200 WHEN 'discarded' THEN 500 END
            FROM {numbers} WHERE state <> 'available' ORDER BY i;
        INSERT INTO work.attempts (job, attempt, status, message, at)
            SELECT id, 1, 500, 'card ' || seq || ' was declined by bank ' || (seq % 7), finished_at FROM work.history
            WHERE state = 'discarded';
        SELECT setval('work.arrivals', {JOBS});
        ANALYZE work.jobs; ANALYZE work.history; ANALYZE work.attempts; CHECKPOINT"
    )
}

/// A run of a workflow.
const RUN: &str = "pages.monday";

/// Made before all other jobs, so that its steps are those that are looked for longest.
async fn add_run(store: &dyn Inspect) -> Result<(), BoxError> {
    let item = |n: u32| {
        let step = if n.is_multiple_of(2) { "fetch" } else { "index" };
        serde_json::json!({ "id": JobId::new(), "state": step, "phase": "waiting", "step": 1, "attempt": 0, "context": n })
    };
    let graph = serde_json::json!([{ "state": "fetch", "start": true, "to": ["index"] }, { "state": "index", "to": ["done"] },
        { "state": "done", "terminal": true }]);
    let export = serde_json::json!({ "workflow": "pages", "run": "monday", "overall": null, "at": "2026-11-21T00:00:00Z",
        "graph": graph, "items": (0..100).map(item).collect::<Vec<_>>() });
    work_dashboard::workflows::import(store, &serde_json::from_value(export)?).await?;
    Ok(())
}

/// Counts the rows and entries of indexes that are read: the store itself says so of a file, the server of one schema.
enum Rows {
    File(SqliteStore),
    Server { client: Client, schema: String },
}

impl Rows {
    async fn read(&self) -> Result<u64, BoxError> {
        let (client, schema) = match self {
            Self::File(store) => return Ok(store.rows_read()),
            Self::Server { client, schema } => (client, schema),
        };
        let sql = "SELECT (coalesce((SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE schemaname = $1), 0)
            + coalesce((SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE schemaname = $1), 0))::bigint";
        let rows: i64 = client.query_one(sql, &[schema]).await?.get(0);
        Ok(rows.unsigned_abs())
    }

    /// What a page reads as a rule, and at most, and whatever is counted beside it until the next look: by then the numbers
    /// that pages share are read again. A server adds up what a connection did when that asks for something a second later.
    async fn of(&self, address: &str, path: &str) -> Result<(u64, u64), BoxError> {
        const TIMES: usize = 2;
        let wait = || tokio::time::sleep(Duration::from_millis(2_100));
        get(address, path).await?;
        wait().await;
        let mut read = Vec::new();
        let mut before = self.read().await?;
        for _ in 0..TIMES {
            get(address, path).await?;
            wait().await;
            let now = self.read().await?;
            read.push(now - before);
            before = now;
        }
        read.sort_unstable();
        Ok((read[TIMES / 2], read[TIMES - 1]))
    }
}

/// Every page and route of the API that only reads, with values for what varies.
async fn paths(store: &dyn Inspect) -> Result<Vec<String>, BoxError> {
    let dead = JobFilter::all().state(JobState::Discarded);
    let job = store.list(dead, Order::NewestFirst, None, 1).await?.jobs.remove(0).job.parts.id;
    let no_page = ["/assets/", "/events", "/login", "/api/v1/openapi.json", "/jobs/bulk"];
    let plain = work_dashboard::routes()
        .filter(|(method, path, _)| *method == "GET" && !no_page.iter().any(|part| path.contains(part)))
        .map(|(_, path, _)| path.replace("{id}", &job.to_string()).replace("{run}", RUN));
    let jobs = [
        "state=discarded",
        "state=completed&queue=queue3",
        "state=available&kind=kind7",
        "kind=kind5",
        "tag=eu",
        "error=bank+3",
        "arg=user.id=77",
        "created_from=5m",
        "limit=500",
        "queue=none",
        "arg=n=999999999",
        "order=oldest",
        "state=cancelled&created_to=2020-01-01",
    ];
    let pages = jobs.iter().map(|query| format!("/jobs?{query}"));
    let api = jobs.iter().map(|query| format!("/api/v1/jobs?{query}"));
    let counts = ["state=completed", "state=discarded&queue=queue1", "error=bank"];
    let counts = counts.iter().map(|query| format!("/api/v1/jobs/count?{query}"));
    let bulk = ["action=retry&state=discarded", "action=delete&all=1"].map(|query| format!("/jobs/bulk?{query}"));
    Ok(plain.chain(pages).chain(api).chain(counts).chain(bulk).collect())
}

async fn measure(
    printer: &Printer,
    name: &str,
    store: Arc<dyn Inspect>,
    (what, rows): (What, &Rows),
) -> Result<(), BoxError> {
    let dashboard = Dashboard::builder(Arc::clone(&store)).show_args().build()?;
    let bound = dashboard.bind("127.0.0.1:0".parse()?).await?;
    let address = bound.address().to_string();
    let serving = tokio::spawn(bound.run());
    match what {
        What::Pages => pages(printer, name, &store, (&address, rows)).await?,
        What::Drain => draining(name, &store, &address).await?,
    }
    serving.abort();
    Ok(())
}

async fn pages(
    printer: &Printer,
    name: &str,
    store: &Arc<dyn Inspect>,
    (address, rows): (&str, &Rows),
) -> Result<(), BoxError> {
    let mut worst = 0;
    for path in paths(&**store).await? {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            times.push(get(address, &path).await?.as_secs_f64() * 1000.0);
        }
        let times = sorted(times);
        let (p50, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
        let (read, most) = rows.of(address, &path).await?;
        worst = worst.max(most);
        if printer.json {
            let line = serde_json::json!({ "name": name, "path": path, "p50_ms": p50, "p99_ms": p99, "rows": read,
                "most_rows": most });
            println!("{line}");
        } else {
            println!("bench {name}: {path}: p50 {p50:.1} ms, p99 {p99:.1} ms, {read} rows, most {most}");
        }
    }
    println!("bench {name}: {worst} rows for the page that reads most (goal ≤ {MOST_ROWS})");
    Ok(())
}

/// The time until the whole answer is there.
async fn get(address: &str, path: &str) -> Result<Duration, BoxError> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(format!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)])).into());
    }
    Ok(start.elapsed())
}

/// The drain rate with and without dashboards in turn.
async fn draining(name: &str, store: &Arc<dyn Inspect>, address: &str) -> Result<(), BoxError> {
    let mut ratios = Vec::new();
    let (mut with, mut without, mut loads) = (Vec::new(), Vec::new(), 0);
    for round in 0..6 {
        let alone = drained(store).await?;
        let (open, loaded) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let pages: Vec<_> = (0..OPEN)
            .map(|n| tokio::spawn(page(address.to_owned(), n, Arc::clone(&open), Arc::clone(&loaded))))
            .collect();
        let watched = drained(store).await?;
        open.store(false, Ordering::Release);
        for page in pages {
            page.abort();
        }
        if round > 0 {
            ratios.push(watched / alone);
            with.push(watched);
            without.push(alone);
            loads += loaded.load(Ordering::Acquire);
        }
    }
    let median = |values: Vec<f64>| sorted(values)[2];
    println!(
        "bench {name}: drain rate with {OPEN} dashboards: ratio {:.3} (goal ≥ 0.9), {:.0}/s with, {:.0}/s without, {loads} pages loaded",
        median(ratios),
        median(with),
        median(without)
    );
    Ok(())
}

async fn drained(store: &Arc<dyn Inspect>) -> Result<f64, BoxError> {
    queued::insert(store, DRAINED).await?;
    let start = Instant::now();
    queued::drain(Arc::clone(store), DRAINED, |worker| worker).await?;
    Ok(DRAINED as f64 / start.elapsed().as_secs_f64())
}

/// A browser with a page open: it hears of changes, and loads the page anew at each.
async fn page(address: String, n: usize, open: Arc<AtomicBool>, loaded: Arc<AtomicU64>) -> Result<(), BoxError> {
    let path = ["/", "/jobs", "/queues", "/dead", "/workers"][n % 5];
    let mut live = TcpStream::connect(&address).await?;
    live.write_all(format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut part = [0; 4096];
    while open.load(Ordering::Acquire) {
        let read = live.read(&mut part).await?;
        if read == 0 {
            break;
        }
        if part[..read].windows(7).any(|seen| seen == b"changed") {
            get(&address, path).await?;
            loaded.fetch_add(1, Ordering::AcqRel);
        }
    }
    Ok(())
}
