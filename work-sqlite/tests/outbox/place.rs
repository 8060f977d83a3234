use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Params};
use tempfile::TempDir;
use work_core::{Args, Backoff, Context, LocalWorker, Outcome, Router, Status, Worker};
use work_sqlite::outbox::{OutboxRow, SqliteOutbox, SqliteOutboxBuilder};

/// The table of the documentation.
pub(crate) const TABLE: &str = "
    CREATE TABLE outbox(
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, payload TEXT NOT NULL DEFAULT '{}', published_at TEXT);
    CREATE INDEX outbox_pending ON outbox(id) WHERE published_at IS NULL;
    CREATE INDEX outbox_pending_key ON outbox(key, id) WHERE published_at IS NULL;";

/// A file of a user in a folder of its own.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) user: Connection,
}

impl Place {
    /// With a table of this DDL.
    pub(crate) fn new(ddl: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let user = Connection::open(dir.path().join("app.db")).unwrap();
        user.busy_timeout(Duration::from_secs(30)).unwrap();
        user.pragma_update(None, "journal_mode", "wal").unwrap();
        user.execute_batch(ddl).unwrap();
        Self { dir, user }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    /// Quick settings: short waits.
    pub(crate) fn outbox(&self) -> SqliteOutboxBuilder {
        let backoff = Backoff::exponential(Duration::from_millis(5), 1.5).cap(Duration::from_millis(40));
        SqliteOutbox::builder(self.path(), "outbox").key("key").backoff(backoff).lease(Duration::from_secs(30))
    }

    pub(crate) fn add(&self, key: Option<&str>, payload: &str) -> i64 {
        self.user.execute("INSERT INTO outbox(key, payload) VALUES (?1, ?2)", (key, payload)).unwrap();
        self.user.last_insert_rowid()
    }

    pub(crate) fn number(&self, sql: &str, params: impl Params) -> i64 {
        self.user.query_row(sql, params, |row| row.get(0)).unwrap()
    }

    pub(crate) fn pending(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox WHERE published_at IS NULL", [])
    }

    pub(crate) fn dead(&self) -> Vec<(String, String)> {
        let mut statement = self.user.prepare("SELECT id, reason FROM work_outbox_dead ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// What a receiver got, in order: id and key.
pub(crate) type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A worker whose handler notes each row and answers as `answer` says.
pub(crate) fn receiver<F>(seen: &Seen, answer: F) -> LocalWorker
where
    F: Fn(&OutboxRow) -> u16 + Clone + Send + Sync + 'static,
{
    receiver_after(seen, Duration::ZERO, answer)
}

/// The same, with a pause before each answer.
pub(crate) fn receiver_after<F>(seen: &Seen, pause: Duration, answer: F) -> LocalWorker
where
    F: Fn(&OutboxRow) -> u16 + Clone + Send + Sync + 'static,
{
    let seen = seen.clone();
    let handler = move |Args(row): Args<OutboxRow>, _: Context| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            seen.lock().unwrap().push((row.id().to_string(), row.key().map(str::to_owned)));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Outcome::new(Status::new(answer(&row)).unwrap())
        }
    };
    LocalWorker::new(Router::new().route("hook", handler))
}

/// Starts a relay and a receiver.
pub(crate) async fn relay(outbox: SqliteOutboxBuilder, worker: &LocalWorker) {
    worker.perform_receive("hook", outbox.open().await.unwrap()).await.unwrap();
}

pub(crate) fn ids(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
}

/// Waits until something holds, with room for a slow machine.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// A while in which nothing should happen.
pub(crate) fn a_while() -> impl Future<Output = ()> {
    tokio::time::sleep(Duration::from_millis(400))
}

/// A small generator, so that a seed is all there is to repeat a run.
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
