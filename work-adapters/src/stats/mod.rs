//! Numbers of a worker that always add up, for a program that wants to look at itself.
//!
//! [`StatsLayer`] counts, [`Stats`] is where the numbers are read. [`LedgerLayer`] writes down where the time of each
//! execution went, [`Ledger`] is where that is read. [`RollingCounter`] counts the last while of anything.

mod layer;
mod ledger;
mod ledger_layer;
mod rolling;
mod snapshot;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use work_core::{Kind, Status};

pub use layer::{ResponseFuture, StatsLayer, StatsService};
pub use ledger::{InvalidLedger, Ledger, LedgerEntry};
pub use ledger_layer::{LedgerLayer, LedgerService, ResponseFuture as LedgerFuture};
pub use rolling::{InvalidRolling, RollingCounter};
pub use snapshot::{Counts, Snapshot};

/// How many executions began, run, and ended how: in all, and of each kind.
///
/// Every change and every [`snapshot`](Self::snapshot) is under one lock, so at any moment, in each kind and in all,
/// `started = succeeded + failed + running`. An execution is one attempt: a job that was tried three times counts as
/// three. Jobs that wait are not seen by a layer; [`LocalWorker::counts`](work_core::LocalWorker::counts) has them, with
/// all others, in one consistent look at jobs instead of executions.
///
/// Cheap to clone; every clone has the same numbers. The first 256 kinds have numbers of their own, further ones are
/// counted together as `other`.
///
/// ```
/// use work_adapters::{Stats, StatsLayer};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stats = Stats::new();
/// let router = Router::new()
///     .route("good", async || {})
///     .route("bad", async || Status::UNAVAILABLE)
///     .layer(StatsLayer::new(stats.clone()));
/// let worker = LocalWorker::new(router);
/// for kind in ["good", "bad", "good"] {
///     worker.perform(Job::new(kind, ())).await?.outcome().await?;
/// }
/// let now = stats.snapshot();
/// assert_eq!((now.total().started(), now.total().succeeded(), now.total().failed()), (3, 2, 1));
/// assert_eq!(now.kind("bad").and_then(|bad| Some(bad.ended_with(Status::UNAVAILABLE))), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Stats {
    /// A std mutex: it is held for a few additions.
    table: Arc<Mutex<Table>>,
}

/// Kinds with numbers of their own.
const MAX_KINDS: usize = 256;

#[derive(Default)]
struct Table {
    kinds: Vec<(Kind, Counts)>,
    /// Where each kind is in `kinds`.
    places: HashMap<Kind, usize>,
}

impl Stats {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers of one moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.table().kinds.clone())
    }

    /// An execution began; what comes back is where it is counted.
    fn start(&self, kind: &Kind) -> usize {
        let mut table = self.table();
        let place = table.place(kind);
        table.kinds[place].1.start();
        place
    }

    fn end(&self, place: usize, status: Status) {
        self.table().kinds[place].1.end(status);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn place(&mut self, kind: &Kind) -> usize {
        if let Some(place) = self.places.get(kind) {
            return *place;
        }
        let other = Kind::from_static("other");
        let kind = if self.kinds.len() < MAX_KINDS { kind } else { &other };
        if let Some(place) = self.places.get(kind) {
            return *place;
        }
        self.kinds.push((kind.clone(), Counts::default()));
        self.places.insert(kind.clone(), self.kinds.len() - 1);
        self.kinds.len() - 1
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").field("total", self.snapshot().total()).finish_non_exhaustive()
    }
}
