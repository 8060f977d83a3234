use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use work_core::source::{Delivery, Source};

use super::builder::SqliteOutboxBuilder;
use super::error::OutboxError;
use super::inbox::Inbox;
use super::relay::Relay;
use super::row::OutboxRow;
use crate::OpenError;

/// The pending rows of an outbox table, as a [`Source`]: give it to
/// [`perform_receive`](work_core::Worker::perform_receive). See the [module](super) for what is promised.
///
/// A thread of its own talks to SQLite. Dropping the source ends it: it takes no more rows, waits until those that were
/// delivered are settled, marks them, and gives its lease back.
///
/// ```
/// use rusqlite::Connection;
/// use work_sqlite::outbox::SqliteOutbox;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.db");
/// Connection::open(&path)?.execute_batch(
///     "CREATE TABLE mails(id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0)",
/// )?;
/// let outbox = SqliteOutbox::builder(&path, "mails").payload("body").published("sent").open().await?;
/// drop(outbox);
///
/// let error = SqliteOutbox::builder(&path, "males").open().await.unwrap_err();
/// assert_eq!(error.to_string(), r#"there is no table "males"; the file has: mails, work_outbox_dead, work_outbox_leases"#);
/// # Ok(())
/// # }
/// ```
pub struct SqliteOutbox {
    rows: mpsc::Receiver<Delivery<OutboxRow>>,
    inbox: Arc<Inbox>,
}

/// Tells an [`SqliteOutbox`] that there are new rows. Without it they are seen within 50 ms.
#[derive(Clone)]
pub struct OutboxWaker {
    inbox: Arc<Inbox>,
}

impl SqliteOutbox {
    /// An outbox table of this file, which is there already.
    pub fn builder(path: impl AsRef<Path>, table: impl Into<String>) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::new(path.as_ref().to_owned(), table.into())
    }

    /// What wakes it, for who has just committed a row.
    #[must_use]
    pub fn waker(&self) -> OutboxWaker {
        OutboxWaker { inbox: self.inbox.clone() }
    }

    pub(super) async fn start(settings: SqliteOutboxBuilder) -> Result<Self, OutboxError> {
        let path: PathBuf = settings.path.clone();
        let (sender, rows) = mpsc::channel(settings.in_flight);
        // Dropped with the future, it ends the thread.
        let outbox = Self { rows, inbox: Arc::default() };
        let (opened, is_open) = oneshot::channel();
        let inbox = outbox.inbox.clone();
        let spawned = thread::Builder::new().name("work-sqlite-outbox".into()).spawn(move || {
            match Relay::open(settings, inbox, sender) {
                Ok(relay) => {
                    let _ = opened.send(Ok(()));
                    relay.run();
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        spawned.map_err(|error| OpenError::other(path.clone(), error))?;
        is_open.await.map_err(|error| OpenError::other(path, error))??;
        Ok(outbox)
    }
}

impl OutboxWaker {
    /// There may be new rows. Costs next to nothing.
    pub fn wake(&self) {
        self.inbox.wake();
    }
}

impl Source for SqliteOutbox {
    type Item = OutboxRow;

    fn poll_receive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<OutboxRow>>> {
        self.rows.poll_recv(cx)
    }
}

impl Drop for SqliteOutbox {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutbox").field("waiting", &self.rows.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboxWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxWaker").finish_non_exhaustive()
    }
}
