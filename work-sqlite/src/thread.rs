//! The threads that own the connections, and what they are asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use work_core::StoreError;

use crate::SqliteStoreBuilder;
use crate::error::{OpenError, Phase, failure, store_error};
use crate::group::Asked;
use crate::open;
use crate::store::Shared;
use crate::writer::Writer;

/// Requests that may wait for a thread; who comes later waits for room.
const QUEUE: usize = 4_096;

/// One request to a thread: what to do inside a transaction, and whom to answer after it.
pub(crate) trait Request: Send {
    /// How many rows it is about, roughly.
    fn rows(&self) -> usize;

    /// May be run again, after a rollback.
    fn run(&mut self, connection: &Connection, shared: &Shared) -> rusqlite::Result<()>;

    /// Answers. Called once, after the transaction.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

impl Asked for Box<dyn Request> {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn answer(self, result: Result<(), StoreError>) {
        Request::answer(self, result);
    }
}

/// A request made of its input and a function.
pub(crate) struct Call<I, A> {
    pub(crate) input: I,
    pub(crate) rows: usize,
    pub(crate) run: fn(&Connection, &Shared, &I) -> rusqlite::Result<A>,
    pub(crate) answer: Option<A>,
    pub(crate) reply: oneshot::Sender<Result<A, StoreError>>,
}

impl<I: Send, A: Send> Request for Call<I, A> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn run(&mut self, connection: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        // A panic is a bug of ours, but one request's bug must not end a store that others use.
        let ran = catch_unwind(AssertUnwindSafe(|| (self.run)(connection, shared, &self.input)));
        let ran = ran.map_err(|panic| failure(rusqlite::ffi::SQLITE_INTERNAL, &work_core::panic_text(&*panic)))?;
        self.answer = Some(ran?);
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
pub(crate) async fn writer(settings: SqliteStoreBuilder, shared: Arc<Shared>) -> Result<Sender, OpenError> {
    start("work-sqlite-writer", settings, open::writer, move |connection, settings, requests| {
        Writer::new(connection, settings, shared).run(requests);
    })
    .await
}

/// Starts the thread that reads.
pub(crate) async fn reader(settings: SqliteStoreBuilder, shared: Arc<Shared>) -> Result<Sender, OpenError> {
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

pub(crate) fn statement(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}
