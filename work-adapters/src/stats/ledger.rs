use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use work_core::{JobId, JobTimings, Kind, Status};

/// Where the time of the last `n` executions went, in bounded memory; a [`LedgerLayer`](super::LedgerLayer) writes it.
///
/// The worker must take times, see [`LocalWorkerBuilder::timings`](work_core::LocalWorkerBuilder::timings); if it does
/// not, the ledger stays empty and says so once, as WARN. Cheap to clone; every clone is the same.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::stats::{Ledger, LedgerLayer};
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ledger = Ledger::new(1_000)?;
/// let nap = async || tokio::time::sleep(Duration::from_millis(100)).await;
/// let router = Router::new().route("nap", nap).layer(LedgerLayer::new(ledger.clone()));
/// let worker = LocalWorker::builder(router).concurrency(1).timings().build()?;
/// let (first, second) = (worker.perform(Job::new("nap", ())).await?, worker.perform(Job::new("nap", ())).await?);
/// let id = second.id();
/// first.outcome().await?;
/// second.outcome().await?;
///
/// let entries = ledger.entries();
/// assert_eq!(entries[1].job_id, id);
/// assert_eq!(entries[1].timings.queued.as_millis() / 10, 10, "it waited for the first");
/// assert_eq!(ledger.sum().executing.as_millis() / 10, 20);
/// assert_eq!(ledger.percentile(0.5, |times| times.total).map(|total| total.as_millis() / 10), Some(10));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    /// A std mutex: it is held for one line.
    book: Mutex<Book>,
    /// Somebody was told that there are no times.
    warned: AtomicBool,
}

#[derive(Default)]
struct Book {
    /// Oldest first.
    last: VecDeque<LedgerEntry>,
    recorded: u64,
    sum: JobTimings,
}

/// One execution in a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// Which job.
    pub job_id: JobId,
    /// What it does.
    pub kind: Kind,
    /// How the execution ended.
    pub status: Status,
    /// Where its time went.
    pub timings: JobTimings,
}

/// A number of entries that a [`Ledger`] does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ledger of {given} executions is out of range; use 1 to 1000000")]
pub struct InvalidLedger {
    given: usize,
}

/// The most executions that a ledger keeps.
const MAX_ENTRIES: usize = 1_000_000;

impl Ledger {
    /// A ledger of the last `n` executions.
    ///
    /// # Errors
    ///
    /// [`InvalidLedger`] if that is not 1 to 1,000,000.
    pub fn new(n: usize) -> Result<Self, InvalidLedger> {
        if !(1..=MAX_ENTRIES).contains(&n) {
            return Err(InvalidLedger { given: n });
        }
        let shared = Shared { capacity: n, book: Mutex::default(), warned: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The last executions, the one that ended first first.
    #[must_use]
    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.book().last.iter().cloned().collect()
    }

    /// Executions that were ever recorded, also those that are no longer kept.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.book().recorded
    }

    /// The times of all executions that were ever recorded, part by part.
    #[must_use]
    pub fn sum(&self) -> JobTimings {
        self.book().sum
    }

    /// The time that a share of the last executions did not exceed, of any part of it: 0.5 is the median, 0 the least and
    /// 1 the most; what is outside is cut off. `None` while the ledger is empty.
    #[must_use]
    pub fn percentile(&self, share: f64, part: impl Fn(&JobTimings) -> Duration) -> Option<Duration> {
        let mut times: Vec<Duration> = self.book().last.iter().map(|entry| part(&entry.timings)).collect();
        // The nearest rank: a time that was really there.
        let rank = (share.clamp(0.0, 1.0) * times.len() as f64).ceil() as usize;
        let at = rank.saturating_sub(1);
        (at < times.len()).then(|| *times.select_nth_unstable(at).1)
    }

    pub(super) fn record(&self, job_id: JobId, kind: Kind, status: Status, timings: Option<JobTimings>) {
        let Some(timings) = timings else {
            if !self.shared.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!("the ledger stays empty: build the worker with timings()");
            }
            return;
        };
        let mut book = self.book();
        if book.last.len() == self.shared.capacity {
            book.last.pop_front();
        }
        book.last.push_back(LedgerEntry { job_id, kind, status, timings });
        book.recorded += 1;
        add(&mut book.sum, &timings);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(sum: &mut JobTimings, more: &JobTimings) {
    sum.queued = sum.queued.saturating_add(more.queued);
    sum.throttled = sum.throttled.saturating_add(more.throttled);
    sum.waiting = sum.waiting.saturating_add(more.waiting);
    sum.executing = sum.executing.saturating_add(more.executing);
    sum.total = sum.total.saturating_add(more.total);
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book();
        f.debug_struct("Ledger")
            .field("capacity", &self.shared.capacity)
            .field("recorded", &book.recorded)
            .field("sum", &book.sum)
            .finish_non_exhaustive()
    }
}
