use tower_layer::Layer;
use work_core::{BoxError, Context, Job, JobId, Kind, Outcome, Status};

use super::Ledger;
use crate::guard::Observe;

/// Writes in a [`Ledger`] where the time of each execution went; see there for an example.
///
/// It belongs outside of layers that limit and wait, so that their time is in what it sees.
#[derive(Debug, Clone)]
pub struct LedgerLayer {
    ledger: Ledger,
}

impl LedgerLayer {
    /// A layer that writes there. Several may write in the same place, if a job passes only one of them.
    #[must_use]
    pub const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

impl<S> Layer<S> for LedgerLayer {
    type Service = LedgerService<S>;

    fn layer(&self, inner: S) -> LedgerService<S> {
        LedgerService { inner, ledger: self.ledger.clone() }
    }
}

/// The service of a [`LedgerLayer`].
#[derive(Clone)]
pub struct LedgerService<S> {
    inner: S,
    ledger: Ledger,
}

impl<S> LedgerService<S> {
    fn seen(&self, job: &Job) -> Seen {
        let job_of_entry = (job.id(), job.kind().clone());
        Seen { ledger: self.ledger.clone(), context: job.context().clone(), job: job_of_entry }
    }
}

struct Seen {
    ledger: Ledger,
    context: Context,
    job: (JobId, Kind),
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Result<Outcome, BoxError>>) {
        let (job_id, kind) = self.job.clone();
        self.ledger.record(job_id, kind, status, self.context.timings());
    }
}

watched_service!(LedgerService, "LedgerLayer", Seen);
