use std::time::Duration;

use chrono::{DateTime, Utc};

use super::NewJob;
use crate::{JobId, Queue};

/// What a runner asks of [`Store::lease`](super::Store::lease). By default one job of the queue `default` for 30 s.
#[derive(Debug, Clone)]
pub struct Want {
    /// The queues to take from, the first one first. One may be named several times, to get several turns.
    pub queues: Vec<Queue>,
    /// How many jobs each turn may take at most, by the place in `queues`; where there is none, as many as are wanted.
    pub at_most: Vec<usize>,
    /// At most so many jobs.
    pub limit: usize,
    /// How long each lease lasts.
    pub lease_for: Duration,
    /// Who takes them, for people to read.
    pub worker: String,
    /// How long a job waits until it counts as one of the next smaller priority number; never if there is none. Jobs are
    /// then taken in the order of `due time + priority × aging`, and after that in that of their arrival.
    pub aging: Option<Duration>,
}

impl Default for Want {
    fn default() -> Self {
        let lease_for = Duration::from_secs(30);
        let (queues, at_most) = (vec![Queue::DEFAULT], Vec::new());
        Self { queues, at_most, limit: 1, lease_for, worker: String::new(), aging: None }
    }
}

impl Want {
    /// True if it wants jobs of the queues of [each key](Queue::each_key): a store looks up which those are, and
    /// [names them](Self::with_keys).
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.queues.iter().any(|queue| queue.keys_of().is_some())
    }

    /// With the queues of the keys by their names: `of` answers those that have jobs waiting, the one whose turn is next first.
    /// Each gets its share, and then what others leave.
    ///
    /// # Errors
    ///
    /// Those of `of`.
    pub fn with_keys<E>(&self, mut of: impl FnMut(&Queue) -> Result<Vec<Queue>, E>) -> Result<Self, E> {
        let (mut queues, mut at_most) = (Vec::new(), Vec::new());
        for (queue, most) in self.turns() {
            if queue.keys_of().is_none() {
                queues.push(queue.clone());
                at_most.push(most);
                continue;
            }
            let keys = of(queue)?;
            let all = most.min(self.limit);
            for (n, key) in keys.iter().enumerate() {
                queues.push(key.clone());
                at_most.push(all / keys.len() + usize::from(n < all % keys.len()));
            }
            if most >= self.limit {
                at_most.extend(keys.iter().map(|_| most));
                queues.extend(keys);
            }
        }
        Ok(Self { queues, at_most, ..self.clone() })
    }

    /// The queues by turns, each with what it may take at most.
    pub fn turns(&self) -> impl Iterator<Item = (&Queue, usize)> {
        let most = self.at_most.iter().copied().chain(std::iter::repeat(usize::MAX));
        self.queues.iter().zip(most)
    }
}

/// The number of a lease of a job: larger for each later lease of the same job.
///
/// Everything that changes a running job carries it, in the store and outside: hand it to a system that can refuse a
/// smaller one, and a worker that was given up on cannot overwrite its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fence(pub u64);

/// One lease of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    /// Which job.
    pub id: JobId,
    /// Which lease of it.
    pub fence: Fence,
    /// Where the store finds it: its own business, 0 if it needs none.
    pub row: i64,
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What every change of it must carry.
    pub key: LeaseKey,
    /// The job.
    pub job: NewJob,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The end of the lease by the store's clock.
    pub until: DateTime<Utc>,
    /// When the job was accepted.
    pub created_at: DateTime<Utc>,
}

/// What [`Store::lease`](super::Store::lease) found.
#[derive(Debug, Clone, Default)]
pub struct Leased {
    /// The jobs, in the order to start them.
    pub jobs: Vec<Lease>,
    /// If fewer were found than wanted: how long until the next job of these queues is due.
    pub next_due_in: Option<Duration>,
}

/// What [`Store::hand_over`](super::Store::hand_over) leased.
#[derive(Debug, Clone)]
pub struct HandedOver {
    /// A moment before the leases began.
    pub asked: std::time::Instant,
    /// The jobs. Fewer than wanted says that no more are due.
    pub leased: Leased,
}

/// What [`Store::rescue`](super::Store::rescue) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Jobs that are available again.
    pub available: usize,
    /// Jobs that crashed too often and are dead letters now.
    pub discarded: usize,
}

/// What [`Store::cancel`](super::Store::cancel) did with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// It was waiting, and is cancelled.
    Cancelled,
    /// It runs, and is told to stop.
    Requested,
    /// It had ended before, as completed, discarded or cancelled.
    Ended,
    /// No job has that id.
    NotFound,
}
