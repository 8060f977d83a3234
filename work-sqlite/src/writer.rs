//! The thread that writes: what a group is committed by, and the look at what other processes wrote.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc::Receiver;

use crate::SqliteStoreBuilder;
use crate::arrivals::Arrivals;
use crate::error::{Failed, Phase, failure};
use crate::group::{self, Commits};
use crate::open;
use crate::store::Shared;
use crate::thread::{Request, statement};
use crate::watch::Watch;

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

impl Writer {
    pub(crate) fn new(connection: Connection, settings: SqliteStoreBuilder, shared: Arc<Shared>) -> Self {
        let watch = Watch::new(&connection);
        Self { connection: Some(connection), settings, shared, watch }
    }

    /// Ends with the last sender.
    pub(crate) fn run(mut self, requests: Receiver<Box<dyn Request>>) {
        group::run(&mut self, requests);
        if let Some(connection) = self.connection {
            let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
        }
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

impl Commits for Writer {
    type Request = Box<dyn Request>;

    fn arrivals(&self) -> &Arrivals {
        &self.shared.arrivals
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
            self.shared.arrivals.forget_changes();
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

    fn look(&mut self) {
        self.watch.look(self.connection.as_ref(), &self.shared.arrivals);
    }

    fn rest(&mut self) {
        self.watch.rest();
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
