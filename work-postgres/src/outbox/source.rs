use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use work_core::StoreError;
use work_core::source::{Delivery, Source};

use super::builder::PostgresOutboxBuilder;
use super::check;
use super::error::OutboxError;
use super::inbox::Inbox;
use super::relay::Relay;
use super::row::OutboxRow;
use crate::store::{Shared, Tables};
use crate::{OpenError, PostgresStoreBuilder};

/// The pending rows of an outbox table, as a [`Source`]: give it to
/// [`perform_receive`](work_core::Worker::perform_receive). See the [module](super) for what is promised.
///
/// A thread of its own, with two connections at most, talks to the server. Dropping the source ends it: it takes no more
/// rows, gives back those that no job was made of, waits until the others are settled, and marks them.
///
/// ```no_run
/// use work_postgres::outbox::PostgresOutbox;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = PostgresOutbox::builder("postgres://app@localhost/app", "mails").payload("body").open().await?;
/// # drop(outbox);
/// # Ok(())
/// # }
/// ```
pub struct PostgresOutbox {
    rows: mpsc::Receiver<Delivery<OutboxRow>>,
    inbox: Arc<Inbox>,
}

/// Tells a [`PostgresOutbox`] that there are new rows. Without it they are seen within a second.
#[derive(Clone)]
pub struct OutboxWaker {
    inbox: Arc<Inbox>,
}

impl PostgresOutbox {
    /// An outbox table of this database, which is there already.
    pub fn builder(url: impl Into<String>, table: impl Into<String>) -> PostgresOutboxBuilder {
        PostgresOutboxBuilder::new(url.into(), table.into())
    }

    /// What wakes it, for who has just committed a row.
    #[must_use]
    pub fn waker(&self) -> OutboxWaker {
        OutboxWaker { inbox: self.inbox.clone() }
    }

    pub(super) async fn start(settings: PostgresOutboxBuilder) -> Result<Self, OutboxError> {
        let connecting =
            PostgresStoreBuilder::new(settings.url.0.clone()).pool_size(2).call_deadline(settings.deadline);
        let (shared, thread) = Shared::connect(connecting, Tables::TheUsers).await?;
        let looked = shared.call("look at an outbox", settings.names.clone(), check::look).await;
        let look = looked.map_err(|error| other(&shared, error))?;
        let table = check::table(&settings, look)?;
        let (sender, rows) = mpsc::channel(settings.in_flight);
        let outbox = Self { rows, inbox: Arc::default() };
        let relay = Relay::new(settings, table, shared, outbox.inbox.clone(), sender);
        let handle = thread.handle().clone();
        // The thread lives as long as the relay.
        handle.spawn(relay.run(thread));
        Ok(outbox)
    }
}

fn other(shared: &Shared, error: StoreError) -> OutboxError {
    OpenError::Other { server: shared.server.clone(), source: error.into() }.into()
}

impl OutboxWaker {
    /// There may be new rows. Costs a look at the table.
    pub fn wake(&self) {
        self.inbox.wake();
    }
}

impl Source for PostgresOutbox {
    type Item = OutboxRow;

    fn poll_receive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<OutboxRow>>> {
        self.rows.poll_recv(cx)
    }
}

impl Drop for PostgresOutbox {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for PostgresOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutbox").field("waiting", &self.rows.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboxWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxWaker").finish_non_exhaustive()
    }
}
