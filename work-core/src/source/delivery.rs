use std::fmt;

use crate::{Job, JobId, Kind, Status, Unique};
use serde::Serialize;

/// An item that a [`Source`](super::Source) hands over, and whom to tell how it ended.
///
/// ```
/// use std::sync::mpsc;
/// use work_core::{Status, source::Delivery};
///
/// let (told, ends) = mpsc::channel();
/// drop(Delivery::new("an item").on_settled(move |status| drop(told.send(status))));
/// assert_eq!(ends.recv()?, None::<Status>); // it was not performed
/// # Ok::<(), mpsc::RecvError>(())
/// ```
#[derive(Debug)]
#[must_use = "an item that is dropped is not performed"]
pub struct Delivery<T> {
    item: T,
    id: Option<JobId>,
    unique: Option<Unique>,
    receipt: Option<Receipt>,
}

impl<T> Delivery<T> {
    /// An item that nobody needs to hear of again.
    pub const fn new(item: T) -> Self {
        Self { item, id: None, unique: None, receipt: None }
    }

    /// The id of its job, so that an item that is delivered twice is one job.
    pub const fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// The unique key of its job, so that an item that is delivered twice is one job.
    pub fn unique(mut self, key: Unique) -> Self {
        self.unique = Some(key);
        self
    }

    /// Calls `told` exactly once: with the final status of the job after its last attempt, or with `None` if the item was
    /// not accepted or its end will never be known here. It must not block.
    pub fn on_settled(mut self, told: impl FnOnce(Option<Status>) + Send + 'static) -> Self {
        self.receipt = Some(Receipt(Some(Box::new(told))));
        self
    }
}

impl<T: Serialize + Send + Sync + 'static> Delivery<T> {
    /// The job, and whom to tell.
    pub(crate) fn into_job(self, kind: Kind) -> (Job, Option<Receipt>) {
        let mut job = Job::new(kind, self.item);
        if let Some(id) = self.id {
            job = job.with_id(id);
        }
        if let Some(unique) = self.unique {
            job = job.unique(unique);
        }
        (job, self.receipt)
    }
}

/// Tells the source, once, at the latest when it is dropped.
pub(crate) struct Receipt(Option<Box<dyn FnOnce(Option<Status>) + Send>>);

impl Receipt {
    pub(crate) fn tell(mut self, status: Status) {
        if let Some(told) = self.0.take() {
            told(Some(status));
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(None);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt(..)")
    }
}
