//! What happens around the handler of a state: its answer becomes a settlement with follow-up jobs.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Poll_, Poll};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tower_service::Service;
use work_core::limit::Answer as Fed;
use work_core::store::Settlement;
use work_core::{BoxError, Clock, Directive, Job, JobId, Outcome, Router, Status};

use crate::envelope::{Answer, Envelope, Head, Went, Whole};
use crate::extract::Position;
use crate::graph::{Def, Graph};
use crate::live::{Live, LiveRun};
use crate::step::StateLimit;

/// A state as a service of jobs.
#[derive(Clone)]
pub(crate) struct StateHandler {
    live: Arc<Live>,
    state: usize,
    router: Router,
    clock: Clock,
}

/// One attempt.
struct Attempt {
    live: Arc<Live>,
    state: usize,
    clock: Clock,
    job: Job,
    run: Arc<LiveRun>,
    head: Head,
}

impl StateHandler {
    pub(crate) const fn new(live: Arc<Live>, state: usize, router: Router, clock: Clock) -> Self {
        Self { live, state, router, clock }
    }

    async fn perform(mut self, job: Job) -> Outcome {
        let Some((run, _)) = self.live.find(&job.parts().queue) else {
            // Removed between its lease and now: someone has it later.
            return Outcome::snooze(std::time::Duration::from_secs(1));
        };
        let head = match job.clone().take_args::<Head>() {
            Ok(head) => head,
            Err(error) => return Outcome::from_error(error),
        };
        job.context().insert(Position { item: head.item, parent: head.parent, step: head.step, run: run.clone() });
        let (live, clock, state) = (self.live.clone(), self.clock.clone(), self.state);
        let attempt = Attempt { live, state, clock, job: job.clone(), run, head };
        if attempt.def().terminal {
            return attempt.arrived();
        }
        let started = Instant::now();
        let outcome = self.call(attempt.def().timeout, job).await;
        attempt.live.pulses[state].beat(started.elapsed());
        attempt.feed(&outcome);
        attempt.settled(outcome)
    }

    /// Calls the handler behind its layers, within its time. A panic is an outcome here already, since it may have to
    /// lead to the state for what has failed.
    async fn call(&mut self, timeout: Option<std::time::Duration>, job: Job) -> Outcome {
        if let Some(timeout) = timeout {
            job.context().set_deadline(Instant::now() + timeout);
        }
        let handler = AssertUnwindSafe(self.router.call(job)).catch_unwind();
        let ended = match timeout {
            None => handler.await,
            Some(timeout) => match tokio::time::timeout(timeout, handler).await {
                Ok(ended) => ended,
                Err(_) => return Outcome::from_error(Box::new(tower::timeout::error::Elapsed::new()) as BoxError),
            },
        };
        match ended {
            Ok(result) => result.unwrap_or_else(Outcome::from_error),
            Err(panic) => Outcome::from_panic(&*panic),
        }
    }
}

impl Attempt {
    fn graph(&self) -> &Graph {
        &self.live.graph
    }

    fn def(&self) -> &Def {
        &self.live.graph.defs[self.state]
    }

    /// An item was put into a terminal state by hand: that is all there is to do.
    fn arrived(mut self) -> Outcome {
        match with_whole(&mut self.job, |whole| went(self.live.graph.defs[self.state].name, Some(whole.context))) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::from_error(error),
        }
    }

    /// Tells the limit how it went.
    fn feed(&self, outcome: &Outcome) {
        if !self.def().is_limited() {
            return;
        }
        let Some(answer) = Fed::of(outcome) else { return };
        let now = Instant::now();
        if let Fed::Refused { retry_after: Some(after) } = answer
            && let Some(until) = now.checked_add(after)
        {
            self.live.pulses[self.state].close(until);
        }
        if let Some(StateLimit::Adaptive(limit)) = &self.def().limit {
            limit.observe(now, answer);
        }
    }

    fn settled(self, outcome: Outcome) -> Outcome {
        if self.run.cancelled.load(Ordering::Relaxed) {
            return Outcome::new(Status::CANCELLED).with_directive(Directive::Cancel);
        }
        if outcome.status().is_complete() && outcome.directive().is_none() {
            return self.completed(&outcome);
        }
        let context = self.job.context();
        let settlement = self.def().retry.decide(&outcome, context.attempt(), context.max_attempts(), self.clock.now());
        match (settlement, self.def().dead) {
            (Settlement::Discard, Some(dead)) => self.died(outcome, dead),
            _ => outcome,
        }
    }

    fn completed(self, outcome: &Outcome) -> Outcome {
        let answer = outcome.output_json().map(|json| serde_json::from_slice::<Answer<'_>>(json));
        let Some(Ok(answer)) = answer else {
            return self.refused("ended without a next state: answer `Next`, or an error");
        };
        match self.transition(&answer) {
            Ok((went, jobs)) => jobs.into_iter().fold(went.with_status(outcome.status()), Outcome::then),
            Err(why) => self.refused(&why),
        }
    }

    fn refused(&self, why: &str) -> Outcome {
        let outcome = Outcome::discard(format!("state {:?} {why}", self.def().name));
        self.job.context().set_status(outcome.status());
        outcome
    }

    /// The follow-up jobs of an answer, and what is recorded of it.
    fn transition(&self, answer: &Answer<'_>) -> Result<(Outcome, Vec<Job>), String> {
        let (graph, id) = (self.graph(), self.job.id());
        let to = self.allowed(answer.to, &self.def().to, "transition")?;
        let mut jobs = Vec::with_capacity(1 + answer.kicks.len());
        for (n, (state, context)) in (1..).zip(&answer.kicks) {
            let state = self.allowed(state, &self.def().kicks, "kick")?;
            let child = id.follow("kick", n);
            jobs.push(
                Follow { context, item: child, parent: Some(self.head.item), step: 1 }
                    .job(graph, &self.run, state, child),
            );
        }
        let due = answer.due.instant(|| self.clock.now());
        if graph.defs[to].terminal && due.is_none() {
            return Ok((went(answer.to, Some(answer.context)), jobs));
        }
        let step = Follow {
            context: answer.context,
            item: self.head.item,
            parent: self.head.parent,
            step: self.head.step + 1,
        };
        let job = match &answer.unless {
            // A new id, since a step leads on once whatever its id: it is the settlement that is refused the second time.
            // Those in order of time are the cheapest for an index.
            None => step.job(graph, &self.run, to, JobId::new()),
            Some((signal, then)) => {
                self.allowed(then, &self.def().to, "transition")?;
                step.waiting(graph, &self.run, to, (signal, then))
            }
        };
        jobs.push(match due {
            Some(due) => job.scheduled_at(due),
            None => job,
        });
        Ok((went(answer.to, None), jobs))
    }

    fn allowed(&self, to: &str, declared: &[usize], what: &str) -> Result<usize, String> {
        let found = self.graph().index(to).filter(|to| declared.contains(to));
        found.ok_or_else(|| format!("has no {what} to {to:?}; it has: {}", self.graph().list(declared.iter().copied())))
    }

    /// On to the state for what has failed for good. The error stays with this step.
    fn died(self, outcome: Outcome, dead: usize) -> Outcome {
        let Self { live, run, head, mut job, .. } = self;
        let (graph, name, id) = (&live.graph, live.graph.defs[dead].name, job.id());
        let made = with_whole(&mut job, |whole| {
            if graph.defs[dead].terminal {
                return went(name, Some(whole.context));
            }
            let step = Follow { context: whole.context, item: head.item, parent: head.parent, step: head.step + 1 };
            went(name, None).then(step.job(graph, &run, dead, id.follow("dead", 0)))
        });
        match (made, outcome.error()) {
            (Ok(made), Some(error)) => made.with_error(error.clone()),
            (Ok(made), None) => made.with_error(work_core::store::ErrorRecord::new(format!(
                "ended with status {}",
                outcome.status().code()
            ))),
            (Err(_), _) => outcome,
        }
    }
}

/// Looks at the arguments as they are written.
fn with_whole<T>(job: &mut Job, look: impl FnOnce(Whole<'_>) -> T) -> Result<T, work_core::ArgsError> {
    let raw: Box<RawValue> = job.take_args()?;
    let type_name = "step of a workflow";
    let whole = serde_json::from_str::<Whole<'_>>(raw.get());
    Ok(look(whole.map_err(|source| work_core::ArgsError::Decode { type_name, source })?))
}

/// What is recorded of a step.
pub(crate) fn went(to: &str, context: Option<&RawValue>) -> Outcome {
    match serde_json::to_vec(&Went { to, context }) {
        Ok(json) => Outcome::new(Status::SUCCESS).with_output(json),
        Err(source) => Outcome::from_error(work_core::ArgsError::Encode { type_name: "transition", source }),
    }
}

/// The next step of an item, or the first of a new one.
pub(crate) struct Follow<'f, C: ?Sized> {
    pub(crate) context: &'f C,
    pub(crate) item: JobId,
    pub(crate) parent: Option<JobId>,
    pub(crate) step: u32,
}

impl<C: serde::Serialize + ?Sized> Follow<'_, C> {
    /// As a job in a state.
    pub(crate) fn job(&self, graph: &Graph, run: &LiveRun, state: usize, id: JobId) -> Job {
        self.with(graph, run, state, id, |envelope| envelope)
    }

    /// As a job that waits for a signal: the signal finds it by its id.
    pub(crate) fn waiting(&self, graph: &Graph, run: &LiveRun, state: usize, unless: (&str, &str)) -> Job {
        self.with(graph, run, state, wait_id(self.item, unless.0), |envelope| Envelope {
            unless: Some(unless),
            ..envelope
        })
    }

    /// As a job that a signal leads to.
    pub(crate) fn signalled(&self, graph: &Graph, run: &LiveRun, state: usize, id: JobId, signal: &RawValue) -> Job {
        self.with(graph, run, state, id, |envelope| Envelope { signal: Some(signal), ..envelope })
    }

    /// As a job that remembers the errors of a former life.
    pub(crate) fn with_log(
        &self,
        graph: &Graph,
        run: &LiveRun,
        state: usize,
        id: JobId,
        log: &BTreeMap<String, Vec<String>>,
    ) -> Job {
        self.with(graph, run, state, id, |envelope| Envelope {
            log: Some(log).filter(|log| !log.is_empty()),
            ..envelope
        })
    }

    fn with<'f>(
        &'f self,
        graph: &Graph,
        run: &LiveRun,
        state: usize,
        id: JobId,
        add: impl FnOnce(Envelope<'f, C>) -> Envelope<'f, C>,
    ) -> Job {
        let Self { context, item, parent, step } = *self;
        let envelope = add(Envelope { item, parent, step, context, unless: None, signal: None, log: None });
        let def = &graph.defs[state];
        // What has no JSON form is refused by whoever takes the job, with the reason.
        let json = serde_json::to_vec(&envelope).unwrap_or_default();
        Job::from_json(def.kind.clone(), json)
            .with_id(id)
            .queue(run.queues[state].clone())
            .max_attempts(def.max_attempts)
    }
}

/// The step in which an item waits for a signal.
pub(crate) fn wait_id(item: JobId, signal: &str) -> JobId {
    item.follow(signal, u64::MAX)
}

/// An instant that never comes: 1 January 9999.
pub(crate) fn never() -> DateTime<Utc> {
    DateTime::from_timestamp(253_370_764_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl Service<Job> for StateHandler {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        Box::pin(self.clone().perform(job).map(Ok))
    }
}
