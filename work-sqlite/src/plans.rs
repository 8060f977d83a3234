//! Tests of how much is read: what a page may read does not grow with what is kept.

use std::time::Duration;

use rusqlite::{Connection, StatementStatus};
use tempfile::TempDir;
use work_core::JobState;
use work_core::store::{Inspect, JobFilter, Order, Retention, Store, Want};

use crate::SqliteStore;
use crate::candidates::{READY_OF_QUEUE, dead_sql, open_sql, tag_sql};
use crate::glance::{NEXT_DEAD, PART, SOME_DEAD, SOME_READY, SOME_RUNNING};
use crate::inspect::{COUNT_ALL, COUNT_DEAD, COUNT_READY};
use crate::lease::TAKE_ALL;
use crate::prune::{Sweep, sweep as sweep_rows};
use crate::queues::COUNT_RUNNING;
use crate::search::{ROWS, Search, scan_sql, search};
use crate::store::call;

async fn place() -> (TempDir, SqliteStore, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    (dir, store, Connection::open(path).unwrap())
}

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    rows.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
}

#[tokio::test]
async fn every_statement_of_a_page_reads_an_index_in_order_or_has_a_limit() {
    let (_dir, _store, connection) = place().await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for (sql, expected) in [
            (scan_sql(order), "SEARCH jobs USING INTEGER PRIMARY KEY (rowid"),
            (tag_sql(order), "SEARCH tags USING PRIMARY KEY (tag=? AND job"),
            (
                dead_sql(order, JobState::Discarded),
                "USING COVERING INDEX jobs_dead (state=? AND queue=? AND kind=? AND rowid",
            ),
            (open_sql(JobState::Running), "USING COVERING INDEX jobs_leases"),
            (open_sql(JobState::Available), "USING COVERING INDEX jobs_ready"),
            (READY_OF_QUEUE.to_owned(), "SEARCH jobs USING COVERING INDEX jobs_ready (queue=?)"),
        ] {
            let plan = plan(&connection, &sql);
            assert!(plan.contains(expected) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
            assert!(sql.contains("LIMIT"), "{sql}");
        }
    }
    for (sql, expected) in [
        (COUNT_ALL, "COVERING INDEX"),
        (COUNT_READY, "jobs_ready"),
        (COUNT_DEAD, "SEARCH jobs USING COVERING"),
        (COUNT_RUNNING, "jobs_leases"),
        (SOME_READY, "SEARCH jobs USING COVERING INDEX jobs_ready (queue=?)"),
        (SOME_DEAD, "SEARCH jobs USING COVERING INDEX jobs_dead (state=? AND queue=?)"),
        (SOME_RUNNING, "jobs_leases"),
        (NEXT_DEAD, "SEARCH jobs USING COVERING INDEX jobs_dead (state=? AND queue>?)"),
    ] {
        let plan = plan(&connection, sql);
        assert!(plan.contains(expected) && plan.contains("COVERING INDEX"), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn taking_many_jobs_reads_no_job_that_is_not_taken() {
    let (_dir, _store, connection) = place().await;
    let ranges =
        ["(queue=? AND priority=? AND scheduled_at<?)", "(queue=? AND priority=? AND scheduled_at=? AND seq<?)"];
    for (sql, range) in TAKE_ALL.iter().zip(ranges) {
        let plan = plan(&connection, sql);
        assert!(plan.contains(&format!("INDEX jobs_ready {range}")), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn of_jobs_of_one_instant_as_many_are_taken_as_are_wanted_and_each_once() {
    let (_dir, store, connection) = place().await;
    let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50)
        INSERT INTO jobs (kind, scheduled_at, worker) SELECT 'k', n / 20, NULL FROM n";
    connection.execute_batch(rows).unwrap();
    let mut taken = Vec::new();
    for expected in [15, 15, 15, 5, 0] {
        let leased = store.lease(Want { limit: 15, worker: "w".into(), ..Want::default() }).await.unwrap();
        assert_eq!(leased.jobs.len(), expected);
        taken.extend(leased.jobs.iter().map(|lease| (lease.key.row, lease.key.fence.0, lease.attempt)));
        let running: i64 = connection.query_row(RUNNING, [], |row| row.get(0)).unwrap();
        assert_eq!(running, taken.len() as i64);
    }
    assert_eq!(taken, (1..=50).map(|row| (row, 1, 1)).collect::<Vec<_>>());
}

const RUNNING: &str = "SELECT count(*) FROM jobs WHERE state = 'running' AND attempt = 1 AND fence = 1 AND worker = 'w' AND lease_until > 9";

#[tokio::test]
async fn the_rows_that_a_look_reads_are_those_that_it_says() {
    let (_dir, store, connection) = place().await;
    connection.execute_batch(MANY).unwrap();
    let tally =
        |look| Search { filter: JobFilter::all(), order: Order::OldestFirst, after: Some(40), limit: usize::MAX, look };
    // SQLite counts the steps of its own machine: a row takes some of them, and no row takes none.
    let steps = |look: usize| {
        let mut statement = connection.prepare(PART).unwrap();
        let rows = statement.query_map([40, look as i64], |_| Ok(())).unwrap().count();
        assert_eq!(rows, look);
        statement.get_status(StatementStatus::VmStep)
    };
    let each = (steps(3_000) - steps(1_000)) / 2_000;
    assert!((3..=12).contains(&each), "{each} steps a row: other rows are read too");
    for look in [1, 100, 3_000] {
        let before = store.rows_read();
        call(store.reader(), 1, tally(look), crate::glance::tally).await.unwrap();
        assert_eq!(store.rows_read() - before, look as u64);
    }
    for (entries, most) in [(100, 200), (2_000, 2_100), (1_000_000, 500)] {
        let before = store.rows_read();
        let found = store.queues_up_to(entries).await.unwrap();
        assert!(found.complete && !found.queues.is_empty());
        let read = store.rows_read() - before;
        assert!(read <= most, "{entries}: {read}");
    }
}

/// Jobs in an order that is bad for every filter below: what is looked for is at the far end.
const MANY: &str = "
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
    INSERT INTO jobs (kind, queue, state, args, tags, finished_at, attempt)
    SELECT 'k' || (n % 3), 'q' || (n % 5),
        CASE WHEN n <= 50 THEN 'discarded' WHEN n <= 70 THEN 'running' WHEN n <= 100 THEN 'available' ELSE 'completed' END,
        '{\"n\":' || n || '}', CASE WHEN n % 1000 = 0 THEN '[\"rare\"]' END, CASE WHEN n <= 50 OR n > 100 THEN n END, 1
    FROM n;
    INSERT INTO tags SELECT 'rare', seq FROM jobs WHERE tags IS NOT NULL;
    INSERT INTO attempts (job, attempt, status, message, at) SELECT seq, 1, 500, 'boom ' || seq, 0 FROM jobs WHERE seq <= 50;";

#[tokio::test]
async fn a_page_of_any_filter_reads_at_most_20_000_rows_and_pages_lead_to_the_end() {
    let (_dir, store, connection) = place().await;
    connection.execute_batch(MANY).unwrap();
    let all = JobFilter::all;
    for (filter, expected, pages) in [
        (all().state(JobState::Discarded), 50, 1),
        (all().state(JobState::Discarded).queue("q1").kind("k2"), 3, 1),
        (all().state(JobState::Running).state(JobState::Available), 50, 1),
        (all().tag("rare"), 100, 1),
        (all().error_contains("boom 7"), 1, 21),
        (all().args("n", 77_777), 1, 21),
        (all().queue("q0").args("n", 5), 1, 21),
    ] {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let mut wanted = Search { filter: filter.clone(), order, after: None, limit: 1_000, look: ROWS };
            let (mut found, mut asked) = (0, 0);
            loop {
                let page = call(store.reader(), 1, wanted.clone(), |c, _, wanted| search(c, wanted)).await.unwrap();
                assert!(page.looked() <= 9_010, "{filter:?}: {}", page.looked());
                (found, asked) = (found + page.jobs.len(), asked + 1);
                let Some(next) = page.next else { break };
                wanted.after = Some(next);
            }
            assert_eq!(found, expected, "{filter:?}");
            assert!(asked <= pages, "{filter:?}: {asked} pages");
        }
        assert_eq!(store.counts(filter).await.unwrap().total(), expected as u64);
    }
    let counts = store.counts(all()).await.unwrap();
    let of = |state| counts.of(state);
    assert_eq!(of(JobState::Completed), 99_900);
    assert_eq!((of(JobState::Discarded), of(JobState::Running), of(JobState::Available)), (50, 20, 30));
    assert_eq!(store.counts(all().queue("q1").state(JobState::Completed)).await.unwrap().total(), 19_980);
    assert_eq!(store.delete_all(all().tag("rare"), 1_000).await.unwrap(), 100);
    let left: i64 = connection.query_row("SELECT count(*) FROM tags", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    assert_eq!(store.delete_all(all().state(JobState::Discarded), 7).await.unwrap(), 7);
    let left: i64 = connection.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 43);
}

#[tokio::test]
async fn old_jobs_are_found_behind_many_that_are_kept_and_young_ones_are_not_read() {
    let (_dir, store, connection) = place().await;
    // Dead letters that are kept, old jobs, one that an old program with a wrong clock wrote, an old one, and young ones.
    let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 60000)
        INSERT INTO jobs (kind, state, created_at, finished_at)
        SELECT 'k', iif(n <= 15000, 'discarded', 'completed'), iif(n = 20001 OR n > 20002, now, 0), iif(n = 20001 OR n > 20002, now, 1)
        FROM n, (SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now)";
    connection.execute_batch(rows).unwrap();
    let keep = Retention::default().discarded(Duration::MAX);
    assert_eq!(store.prune(keep, 2_000).await.unwrap(), 2_000);
    assert_eq!(store.prune(keep, 10_000).await.unwrap(), 3_001, "all that is old");
    assert_eq!(store.prune(keep, 10_000).await.unwrap(), 0);
    let left = store.counts(JobFilter::all()).await.unwrap();
    assert_eq!((left.of(JobState::Discarded), left.of(JobState::Completed)), (15_000, 39_999));
    let sweep = Sweep { retention: Retention::default(), after: 20_001, limit: 10 };
    let swept = call(store.reader(), 1, sweep, sweep_rows).await.unwrap();
    assert!(swept.rows.is_empty() && swept.next.is_none(), "who finds only young jobs goes no further");
}
