use futures_core::Stream;
use futures_util::stream::{poll_fn, unfold};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast as broad, mpsc, watch as watching};

/// The items of a channel, until it is closed and empty.
///
/// ```
/// use futures_util::StreamExt;
/// use work_core::source;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let (sender, receiver) = tokio::sync::mpsc::channel(2);
/// sender.send(1).await?;
/// drop(sender);
/// assert_eq!(source::channel(receiver).collect::<Vec<_>>().await, [1]);
/// # Ok(())
/// # }
/// ```
pub fn channel<T>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    poll_fn(move |cx| receiver.poll_recv(cx))
}

/// What is sent to everybody from now on, until every sender is gone. What a slow receiver missed is skipped, with a
/// warning that says how many items it was.
///
/// ```
/// use futures_util::StreamExt;
/// use work_core::source;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let (sender, receiver) = tokio::sync::broadcast::channel(2);
/// (1..=3).try_for_each(|n| sender.send(n).map(drop))?;
/// drop(sender);
/// assert_eq!(source::broadcast(receiver).collect::<Vec<_>>().await, [2, 3]);
/// # Ok(())
/// # }
/// ```
pub fn broadcast<T: Clone + Send + 'static>(receiver: broad::Receiver<T>) -> impl Stream<Item = T> {
    unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(item) => return Some((item, receiver)),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a broadcast was received too slowly"),
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

/// The value that is there now, and then the newest one whenever it has changed, until the sender is gone. Values that
/// were replaced before there was room are skipped: that is what a watch is for.
///
/// ```
/// use futures_util::StreamExt;
/// use work_core::source;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let (sender, receiver) = tokio::sync::watch::channel(1);
/// let mut values = Box::pin(source::watch(receiver));
/// assert_eq!(values.next().await, Some(1));
/// sender.send(2)?;
/// sender.send(3)?;
/// drop(sender);
/// assert_eq!(values.collect::<Vec<_>>().await, [3]);
/// # Ok(())
/// # }
/// ```
pub fn watch<T: Clone + Send + Sync + 'static>(mut receiver: watching::Receiver<T>) -> impl Stream<Item = T> {
    receiver.mark_changed();
    unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let value = receiver.borrow_and_update().clone();
        Some((value, receiver))
    })
}
