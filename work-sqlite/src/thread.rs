//! The threads that own the connections, and the group commit.

use std::thread;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use work_core::StoreError;

use crate::SqliteStoreBuilder;
use crate::error::{OpenError, Phase, store_error};
use crate::open;
use crate::store::Shared;

/// Requests that may wait for a thread; who comes later waits for room.
const QUEUE: usize = 4_096;

/// Requests in one commit, at most.
const GROUP: usize = 4_096;

/// One request to a thread: what to do inside a transaction, and whom to answer after it.
pub(crate) trait Request: Send {
    /// May be run again, after a rollback.
    fn run(&mut self, connection: &Connection, shared: &Shared) -> rusqlite::Result<()>;

    /// Answers. Called once, after the transaction.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

/// A request made of its input and a function.
pub(crate) struct Call<I, A> {
    pub(crate) input: I,
    pub(crate) run: fn(&Connection, &Shared, &I) -> rusqlite::Result<A>,
    pub(crate) answer: Option<A>,
    pub(crate) reply: oneshot::Sender<Result<A, StoreError>>,
}

impl<I: Send, A: Send> Request for Call<I, A> {
    fn run(&mut self, connection: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        self.answer = Some((self.run)(connection, shared, &self.input)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        // Who does not wait any more does not want to know.
        let _ = reply.send(result.and_then(|()| answer.ok_or_else(StoreError::closed)));
    }
}

/// The way to a thread. The thread ends when the last of these is gone.
pub(crate) type Sender = mpsc::Sender<Box<dyn Request>>;

/// Starts the thread that writes; answers once the file is open.
pub(crate) async fn writer(settings: SqliteStoreBuilder, shared: std::sync::Arc<Shared>) -> Result<Sender, OpenError> {
    start("work-sqlite-writer", settings, open::writer, move |connection, settings, requests| {
        Writer { connection: Some(connection), settings, shared }.run(requests);
    })
    .await
}

/// Starts the thread that reads.
pub(crate) async fn reader(settings: SqliteStoreBuilder, shared: std::sync::Arc<Shared>) -> Result<Sender, OpenError> {
    start("work-sqlite-reader", settings, open::reader, move |connection, _, mut requests| {
        while let Some(mut request) = requests.blocking_recv() {
            // One snapshot for all statements of a request, and none between requests: a long one would hold the WAL.
            let result = statement(&connection, "BEGIN").and_then(|()| request.run(&connection, &shared));
            let _ = statement(&connection, "ROLLBACK");
            request.answer(result.map_err(|error| store_error(&error, Phase::Run)));
        }
    })
    .await
}

async fn start(
    name: &str,
    settings: SqliteStoreBuilder,
    open: fn(&SqliteStoreBuilder) -> Result<Connection, OpenError>,
    run: impl FnOnce(Connection, SqliteStoreBuilder, mpsc::Receiver<Box<dyn Request>>) + Send + 'static,
) -> Result<Sender, OpenError> {
    let (sender, requests) = mpsc::channel(QUEUE);
    let (opened, is_open) = oneshot::channel();
    let path = settings.path.clone();
    let spawned = thread::Builder::new().name(name.into()).spawn(move || match open(&settings) {
        Ok(connection) => {
            let _ = opened.send(Ok(()));
            run(connection, settings, requests);
        }
        Err(error) => drop(opened.send(Err(error))),
    });
    spawned.map_err(|error| OpenError::other(path.clone(), error))?;
    is_open.await.map_err(|error| OpenError::other(path, error))??;
    Ok(sender)
}

struct Writer {
    /// `None` after the disk failed in a commit: what the connection believes is not to be trusted then.
    connection: Option<Connection>,
    settings: SqliteStoreBuilder,
    shared: std::sync::Arc<Shared>,
}

impl Writer {
    /// Everything that arrived while the last commit was under way goes into the next one.
    fn run(mut self, mut requests: mpsc::Receiver<Box<dyn Request>>) {
        let mut group = Vec::new();
        while requests.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit_group(&mut group);
        }
        if let Some(connection) = self.connection {
            let _ = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn commit_group(&mut self, group: &mut Vec<Box<dyn Request>>) {
        let result = match group.as_mut_slice() {
            [] => Ok(()),
            requests => self.transaction(requests),
        };
        match result {
            // The error may be one request's alone.
            Err((_, Phase::Run)) if group.len() > 1 => {
                for request in group.drain(..) {
                    self.commit_group(&mut vec![request]);
                }
            }
            result => {
                let error = |error: &(rusqlite::Error, Phase)| store_error(&error.0, error.1);
                for request in group.drain(..) {
                    request.answer(result.as_ref().copied().map_err(error));
                }
            }
        }
        self.shared.wake_if_changed();
    }

    fn transaction(&mut self, requests: &mut [Box<dyn Request>]) -> Result<(), (rusqlite::Error, Phase)> {
        if self.connection.is_none() {
            let opened = open::writer(&self.settings).map_err(|error| (unopened(&error), Phase::Run))?;
            self.connection = Some(opened);
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        let in_phase = |phase| move |error| (error, phase);
        // Never deferred: a reader that becomes a writer fails at once, whatever the timeout says.
        statement(connection, "BEGIN IMMEDIATE").map_err(in_phase(Phase::Run))?;
        let run = requests.iter_mut().try_for_each(|request| request.run(connection, &self.shared));
        let done = match run {
            Ok(()) => statement(connection, "COMMIT").map_err(in_phase(Phase::Commit)),
            Err(error) => Err((error, Phase::Run)),
        };
        if let Err((error, phase)) = &done {
            self.shared.forget_changes();
            if !connection.is_autocommit() {
                let _ = statement(connection, "ROLLBACK");
            }
            let failed = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && *phase == Phase::Commit;
            if failed || !connection.is_autocommit() {
                tracing::error!(%error, "the disk failed; the database is opened again");
                self.connection = None;
            }
        }
        done
    }
}

fn statement(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn unopened(error: &OpenError) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN), Some(error.to_string()))
}
