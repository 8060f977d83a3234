//! Brings a signal to the item that waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::value::RawValue;
use tower_service::Service;
use work_core::store::{CancelOutcome, Inspect, StoredJob};
use work_core::{BoxError, Clock, Job, JobState, Outcome, Status};

use crate::envelope::{Signalled, Whole};
use crate::live::{Live, LiveRun};
use crate::names;
use crate::service::{Follow, wait_id};

/// How long until a signal looks again for an item that does not wait yet: at first, and after a while.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const LOOK_AGAIN_LATER: Duration = Duration::from_secs(60);

/// How long a signal looks for an item that waits for it.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Clone)]
pub(crate) struct SignalHandler {
    store: Arc<dyn Inspect>,
    live: Arc<Live>,
    clock: Clock,
}

impl SignalHandler {
    pub(crate) const fn new(store: Arc<dyn Inspect>, live: Arc<Live>, clock: Clock) -> Self {
        Self { store, live, clock }
    }

    async fn perform(self, mut job: Job) -> Result<Outcome, BoxError> {
        let run = names::parts(&self.live.graph.name, job.parts().queue.as_str()).map(|(run, _)| run.to_owned());
        let Some(run) = run.and_then(|run| self.live.run(&run)) else { return Ok(Outcome::snooze(LOOK_AGAIN)) };
        let raw: Box<RawValue> = job.take_args()?;
        let signal: Signalled<'_> = serde_json::from_str(raw.get())?;
        let id = wait_id(signal.item, &signal.name);
        loop {
            let Some(waits) = self.store.get(id).await? else { return Ok(self.early(&signal)) };
            match waits.state {
                // By us, in this attempt or one that was cut off: nobody else cancels a single step.
                JobState::Cancelled => return self.lead_on(&run, &signal, &waits),
                JobState::Available => {
                    if self.store.cancel(vec![id]).await?.first() == Some(&CancelOutcome::Cancelled)
                        && let Some((run, state)) = self.live.find(&waits.job.parts.queue)
                    {
                        run.tally(state, |tally| tally.waiting -= 1);
                    }
                }
                _ => return Ok(Outcome::discard(format!("signal {:?} came too late: the wait was over", signal.name))),
            }
        }
    }

    /// The item does not wait for it yet, and may never do.
    fn early(&self, signal: &Signalled<'_>) -> Outcome {
        let age = (self.clock.now() - signal.sent).to_std().unwrap_or_default();
        if age > KEPT {
            return Outcome::discard(format!("signal {:?}: the item did not wait for it within a week", signal.name));
        }
        Outcome::snooze((age / 4).clamp(LOOK_AGAIN, LOOK_AGAIN_LATER))
    }

    fn lead_on(&self, run: &LiveRun, signal: &Signalled<'_>, waits: &StoredJob) -> Result<Outcome, BoxError> {
        let whole: Whole<'_> = serde_json::from_slice(&waits.job.args)?;
        let then = whole.unless.as_ref().and_then(|(_, then)| self.live.graph.index(then));
        let Some(then) = then else {
            // Code that has the state will come.
            return Ok(Outcome::snooze(Duration::from_secs(60)));
        };
        let step = Follow { context: whole.context, item: whole.item, parent: whole.parent, step: whole.step + 1 };
        let id = waits.job.parts.id.follow("signal", 0);
        Ok(Outcome::new(Status::SUCCESS).then(step.signalled(&self.live.graph, run, then, id, signal.payload)))
    }
}

impl Service<Job> for SignalHandler {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        self.clone().perform(job).boxed()
    }
}
