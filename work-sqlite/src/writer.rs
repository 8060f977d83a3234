//! The thread that writes: the group commit, and the look at what other processes wrote.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc::Receiver;

use crate::SqliteStoreBuilder;
use crate::error::{Failed, Phase, failure, store_error};
use crate::open;
use crate::store::Shared;
use crate::thread::{Request, statement};
use crate::watch::Watch;

/// Requests that are taken at once, at most.
const GROUP: usize = 4_096;

/// Rows in one commit, at most, as far as the requests of a group can be divided.
const ROWS: usize = 20_000;

/// How long a commit waits for another process.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The thread's own state.
pub(crate) struct Writer {
    /// `None` after the disk failed: what the connection believes is not to be trusted then.
    connection: Option<Connection>,
    settings: SqliteStoreBuilder,
    shared: Arc<Shared>,
    watch: Watch,
}

type Group = Vec<Box<dyn Request>>;

impl Writer {
    pub(crate) fn new(connection: Connection, settings: SqliteStoreBuilder, shared: Arc<Shared>) -> Self {
        let watch = Watch::new(&connection);
        Self { connection: Some(connection), settings, shared, watch }
    }

    /// Everything that arrived while the last commit was under way goes into the next one. Ends with the last sender.
    pub(crate) fn run(mut self, mut requests: Receiver<Box<dyn Request>>) {
        self.shared.writer_is(thread::current());
        let mut group = Vec::new();
        while self.next(&mut requests, &mut group) > 0 {
            self.commit(&mut group);
        }
        if let Some(connection) = self.connection {
            let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    /// Waits for requests. While a runner waits for jobs, it looks for those of other processes now and then; while
    /// nobody waits, it sleeps.
    fn next(&mut self, requests: &mut Receiver<Box<dyn Request>>, group: &mut Group) -> usize {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            let arrived = requests.poll_recv_many(&mut context, group, GROUP);
            if self.shared.has_waiters() {
                self.watch.look(self.connection.as_ref(), &self.shared);
            } else {
                self.watch.rest();
            }
            match arrived {
                Poll::Ready(count) => return count,
                Poll::Pending if self.shared.has_waiters() => thread::park_timeout(Watch::PERIOD),
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Commits a group in as few transactions as it can be, so that a request that fails fails alone.
    fn commit(&mut self, group: &mut Group) {
        let mut at_most = GROUP;
        while !group.is_empty() {
            let size = within_rows(group).min(std::mem::replace(&mut at_most, GROUP));
            match self.transaction(&mut group[..size]) {
                // Those before it first; then it is alone, and may fail for itself.
                Err(Failed { phase: Phase::Run, at, .. }) if size > 1 => at_most = at.max(1),
                // Whoever is behind would wait as long, for the same answer.
                Err(failed) if failed.phase == Phase::Begin => answer(group.drain(..), &Err(failed)),
                result => answer(group.drain(..size), &result),
            }
            self.shared.wake_if_changed();
        }
    }

    fn transaction(&mut self, requests: &mut [Box<dyn Request>]) -> Result<(), Failed> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open::writer_again(&self.settings)
                .map_err(|error| Failed::new(Phase::Begin, failure(rusqlite::ffi::SQLITE_CANTOPEN, &error)))?,
        };
        let result = self.attempt(&connection, requests);
        let mut disk_failed = false;
        if let Err(failed) = &result {
            self.shared.forget_changes();
            if !connection.is_autocommit() {
                let _ = statement(&connection, "ROLLBACK");
            }
            // After a failed flush nobody knows what is on disk: only reading it again tells.
            disk_failed = failed.error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        }
        if disk_failed || !connection.is_autocommit() {
            tracing::error!(path = %self.settings.path.display(), "the disk failed; the database is opened again");
        } else {
            self.connection = Some(connection);
        }
        result
    }

    fn attempt(&self, connection: &Connection, requests: &mut [Box<dyn Request>]) -> Result<(), Failed> {
        // Never deferred: a reader that becomes a writer fails at once, whatever the timeout says.
        statement(connection, "BEGIN IMMEDIATE").map_err(|error| Failed::new(Phase::Begin, error))?;
        // What was known may have changed until now, or have been rolled back.
        self.shared.rooms.forget();
        for (at, request) in requests.iter_mut().enumerate() {
            let ran = request.run(connection, &self.shared);
            ran.map_err(|error| Failed { error, phase: Phase::Run, at })?;
        }
        let began = Instant::now();
        loop {
            match statement(connection, "COMMIT") {
                Err(error) if is_busy(&error) && began.elapsed() < COMMIT_TIMEOUT => {
                    thread::sleep(Duration::from_millis(5));
                }
                result => return result.map_err(|error| Failed::new(Phase::Commit, error)),
            }
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// How many of the first requests fit into one commit: one at least.
fn within_rows(group: &[Box<dyn Request>]) -> usize {
    let mut rows = 0_usize;
    let fit = group.iter().take_while(|request| {
        rows = rows.saturating_add(request.rows());
        rows <= ROWS
    });
    fit.count().max(1)
}

fn answer(requests: impl Iterator<Item = Box<dyn Request>>, result: &Result<(), Failed>) {
    for request in requests {
        request.answer(result.as_ref().copied().map_err(|failed| store_error(&failed.error, failed.phase)));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
