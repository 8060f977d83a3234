//! Where things to do come from.
//!
//! Every stream is a source, so most programs never name this module. For tokio's channels, which are no streams, there are
//! [`channel`], [`broadcast`] and [`watch`]. A source that wants to know how each item ended, as a table of events to
//! publish does, implements [`Source`] itself and gives its [`Delivery`] a receipt.

mod channel;
mod delivery;
mod meaning;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;

pub use channel::{broadcast, channel, watch};
pub use delivery::Delivery;
pub(crate) use delivery::Receipt;
pub use meaning::Meaning;

/// What [`perform_receive`](crate::Worker::perform_receive) takes items from.
///
/// ```
/// use work_core::{Job, LocalWorker, Router, Worker, Args, Status, source};
///
/// async fn double(Args(n): Args<u32>) -> Status {
///     if n < 3 { Status::SUCCESS } else { Status::CONFLICT }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("double", double));
/// let (sender, items) = tokio::sync::mpsc::channel(8);
/// let receiving = worker.perform_receive("double", source::channel(items)).await?;
/// for n in 0..5_u32 {
///     sender.send(n).await?;
/// }
/// drop(sender);
/// receiving.ended().await; // the channel is closed and empty
/// worker.stop().await;
/// assert_eq!((worker.counts().succeeded, worker.counts().failed), (3, 2));
/// # Ok(())
/// # }
/// ```
pub trait Source: Send + 'static {
    /// What the jobs get as their args.
    type Item: Serialize + Send + Sync + 'static;

    /// The next item, or none if there will be no more. The waker is kept and used as by [`Stream::poll_next`].
    ///
    /// Asked only while there is room for a job. An answer is never thrown away: the worker either accepts the item as
    /// a job, or drops the delivery, whose receipt then says so.
    fn poll_receive(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<Self::Item>>>;
}

impl<S: Stream<Item: Serialize + Send + Sync + 'static> + Send + 'static> Source for S {
    type Item = S::Item;

    fn poll_receive(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<S::Item>>> {
        self.poll_next(cx).map(|item| item.map(Delivery::new))
    }
}
