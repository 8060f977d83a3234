//! What the handles of an engine share: its store, its runners, and the runs there are.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use work_core::runner::Runner;
use work_core::store::{CancelOutcome, Inspect, JobFilter, NewJob, Retention, StoredJob};
use work_core::{Clock, DEFAULT_MAX_ARGS, Job, JobId, JobState, Queue, Router, StoreError};

use crate::FlowError;
use crate::envelope::{Paused, Record, Shape};
use crate::live::{Live, LiveRun, lock};
use crate::names::{self, MAX_RUN, is_name};
use crate::scan;
use crate::service::{StateHandler, never};
use crate::signals::SignalHandler;
use crate::store::{Drains, StateStore};

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Inspect>,
    pub(crate) live: Arc<Live>,
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    pub(crate) lease_for: Duration,
    pub(crate) grace: Duration,
    pub(crate) max_crashes: u32,
    pub(crate) discover_every: Duration,
    /// What makes, pauses and ends runs goes one after the other.
    pub(crate) control: tokio::sync::Mutex<()>,
}

/// Looks for runs of other processes.
pub(crate) async fn discoveries(shared: Arc<Shared>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(shared.discover_every)).await.is_some() {
        if let Err(error) = shared.discover().await {
            tracing::warn!(%error, workflow = shared.live.graph.name, "runs could not be looked for");
        }
    }
}

impl Shared {
    pub(crate) async fn control(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.control.lock().await
    }

    /// One runner for each state, and one for what arrives by hand.
    pub(crate) fn runners(self: &Arc<Self>) -> Result<Vec<Runner>, FlowError> {
        let graph = &self.live.graph;
        let steps = graph.defs.iter().enumerate().filter(|(_, def)| !def.terminal);
        let mut runners = Vec::new();
        for (state, def) in steps {
            let router = self.route(Router::new(), state)?;
            let runner =
                self.runner(Drains::State(state), router).concurrency(def.concurrency).retry(def.retry.clone());
            runners.push(match &def.gradient {
                Some(rule) => runner.concurrency_by_latency(rule.clone()),
                None => runner,
            });
        }
        let terminal = graph.defs.iter().enumerate().filter(|(_, def)| def.terminal);
        let signals = SignalHandler::new(self.store.clone(), self.live.clone(), self.clock.clone());
        let house = Router::new().try_route_service(names::kind(&graph.name, names::SIGNAL), signals);
        let mut house = house.map_err(crate::InvalidWorkflow::from).map_err(invalid)?;
        for (state, _) in terminal {
            house = self.route(house, state)?;
        }
        runners.push(self.runner(Drains::House, house).concurrency(64));
        runners.iter().try_for_each(Runner::validate)?;
        Ok(runners)
    }

    fn route(&self, router: Router, state: usize) -> Result<Router, FlowError> {
        let handler = StateHandler::new(self.live.clone(), state, self.router.clone(), self.clock.clone());
        let routed = router.try_route_service(self.live.graph.defs[state].kind.clone(), handler);
        routed.map_err(crate::InvalidWorkflow::from).map_err(invalid)
    }

    fn runner(&self, drains: Drains, router: Router) -> Runner {
        let store = StateStore::new(self.store.clone(), self.live.clone(), drains);
        Runner::new(Arc::new(store), router)
            // The store puts in the queues of the runs.
            .queues([names::control(&self.live.graph.name)])
            .lease_for(self.lease_for)
            .grace(self.grace)
            // What a run knows of itself is its ended jobs: they are deleted with the run, not by age.
            .retention(Retention::FOREVER)
            .max_crashes(self.max_crashes)
            .clock(self.clock.clone())
    }

    /// Makes the record of a run and joins it. `None` if there is one.
    pub(crate) async fn create<O: Serialize + Sync + ?Sized>(
        &self,
        name: &str,
        overall: &O,
    ) -> Result<Option<Arc<LiveRun>>, FlowError> {
        if !is_name(name, MAX_RUN) {
            return Err(FlowError::Name { what: "run", given: work_core::cut(name), most: MAX_RUN });
        }
        let json = |source| FlowError::Json { what: "the overall context has no JSON form", source };
        let overall = serde_json::value::to_raw_value(overall).map_err(json)?;
        let graph = &self.live.graph;
        let states = graph.defs.iter().map(|def| def.name.to_owned()).collect();
        let record = Record { run: name.to_owned(), overall: &overall, states, graph: graph.shape() };
        let record = serde_json::to_vec(&record).map_err(json)?;
        let job = self.record("run", record).with_id(self.record_id(name));
        let queues: Vec<Queue> = graph.defs.iter().map(|def| names::queue(&graph.name, name, def.name)).collect();
        self.declare_rates(&queues).await?;
        // What other runners forget by age is none of this run's steps.
        self.store.keep_queues(names::queues(&graph.name, name)).await?;
        let inserted = self.store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        if inserted.iter().any(|inserted| matches!(inserted, work_core::store::Inserted::Duplicate(_))) {
            return Ok(None);
        }
        let overall = Bytes::copy_from_slice(overall.get().as_bytes());
        Ok(Some(self.live.add(LiveRun::new(graph, name.to_owned(), overall))))
    }

    /// A job that is never due, in the queue of control.
    pub(crate) fn record(&self, what: &str, json: Vec<u8>) -> Job {
        let name = &self.live.graph.name;
        Job::from_json(names::kind(name, what), json).queue(names::control(name)).scheduled_at(never())
    }

    pub(crate) fn record_id(&self, run: &str) -> JobId {
        JobId::named(&["run", &self.live.graph.name, run])
    }

    /// Joins the runs that are there, and leaves those that were cancelled.
    pub(crate) async fn discover(&self) -> Result<(), FlowError> {
        let _control = self.control.lock().await;
        let (mut runs, mut paused, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for job in self.records().await? {
            let kind = job.job.parts.kind.as_str().rsplit('.').next().unwrap_or_default().to_owned();
            match kind.as_str() {
                "run" => runs.push(job),
                "states" => known.push(job),
                "pause" => paused.extend(serde_json::from_slice::<Paused>(&job.job.args).map(|paused| paused.run)),
                _ => {}
            }
        }
        let mut there = Vec::new();
        for job in runs {
            let Ok(record) = serde_json::from_slice::<Record<'_>>(&job.job.args) else {
                tracing::error!(job.id = %job.job.parts.id, "the record of a run cannot be read");
                continue;
            };
            let states = states_of(&record, &known);
            let drawn = drawn(&record, &known, &self.live.graph.shape());
            let run = self.join(&record, &states, drawn).await?;
            run.paused.store(paused.contains(&record.run), Ordering::Relaxed);
            there.push(record.run);
        }
        for gone in self.live.runs().iter().filter(|run| there.iter().all(|name| name != run.name())) {
            gone.cancelled.store(true, Ordering::Relaxed);
            self.live.remove(gone.name());
            // What this process made of it since it was cancelled elsewhere. A run that was closed has nothing.
            self.sweep(gone).await?;
        }
        self.live.stir();
        Ok(())
    }

    /// The records of runs and pauses.
    pub(crate) async fn records(&self) -> Result<Vec<StoredJob>, StoreError> {
        let queue = names::control(&self.live.graph.name);
        let filter = JobFilter::all().queue(queue).state(JobState::Available);
        scan::all(&*self.store, filter).await
    }

    /// Joins one run. A run that is at work already only learns what states it lacks.
    async fn join(&self, record: &Record<'_>, states: &[String], drawn: Drawn) -> Result<Arc<LiveRun>, FlowError> {
        let graph = &self.live.graph;
        let run = match self.live.run(&record.run) {
            Some(run) => run,
            None => {
                let overall = Bytes::copy_from_slice(record.overall.get().as_bytes());
                self.store.keep_queues(names::queues(&graph.name, &record.run)).await?;
                let run = LiveRun::new(graph, record.run.clone(), overall);
                self.declare_rates(&run.queues).await?;
                self.load(&run).await?;
                if drawn == Drawn::Otherwise {
                    self.note_states(record).await?;
                }
                self.live.add(run)
            }
        };
        let mut unknown = Vec::new();
        for name in states.iter().filter(|name| graph.index(name).is_none()) {
            let queue = names::queue(&graph.name, &record.run, name);
            let waiting = self.store.counts(JobFilter::all().queue(queue)).await?.open();
            if waiting > 0 {
                tracing::warn!(
                    workflow = graph.name,
                    run = record.run,
                    state = name,
                    waiting,
                    "items wait in a state that this code lacks"
                );
            }
            unknown.push(name.clone());
        }
        *lock(&run.unknown) = unknown;
        Ok(run)
    }

    /// Code that knows other states, or joins them otherwise, leaves a note: code that lacks them can say so, and who shows
    /// the run shows it as it is now.
    async fn note_states(&self, record: &Record<'_>) -> Result<(), FlowError> {
        let graph = &self.live.graph;
        let null = RawValue::NULL;
        let ours: Vec<String> = graph.defs.iter().map(|def| def.name.to_owned()).collect();
        let shape = graph.shape();
        let json = |source| FlowError::Json { what: "the names of states", source };
        let drawing = serde_json::to_string(&shape).map_err(json)?;
        let id = JobId::named(&["states", &graph.name, &record.run, &drawing]);
        let note = Record { run: record.run.clone(), overall: null, states: ours, graph: shape };
        let job = self.record("states", serde_json::to_vec(&note).map_err(json)?).with_id(id);
        self.store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        Ok(())
    }

    /// Counts what a run has in the store already.
    async fn load(&self, run: &LiveRun) -> Result<(), FlowError> {
        let report = scan::items(&*self.store, &self.live.graph, run).await?.report();
        for (state, counted) in report.states.iter().enumerate() {
            let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            run.tally(state, |tally| {
                // What others run may come back to us.
                tally.waiting = signed(counted.waiting + counted.executing);
                tally.completed = signed(counted.completed);
                tally.failed = signed(counted.failed);
                tally.cancelled = signed(counted.cancelled);
            });
        }
        Ok(())
    }

    /// Cancels all that waits in a run, and tells all that runs to stop. Answers how many that were.
    pub(crate) async fn sweep(&self, run: &LiveRun) -> Result<u64, StoreError> {
        let mut told = HashSet::new();
        loop {
            let mut found = Vec::new();
            for (state, queue) in run.queues.iter().enumerate() {
                for open in [JobState::Available, JobState::Running] {
                    let filter = JobFilter::all().queue(queue.clone()).state(open);
                    let jobs = scan::all(&*self.store, filter).await?;
                    found.extend(jobs.iter().map(|job| (state, job.job.parts.id)));
                }
            }
            // What runs may have led to something before it stopped; what was told already is left to stop.
            found.retain(|(_, id)| told.insert(*id));
            if found.is_empty() {
                return Ok(told.len() as u64);
            }
            for batch in found.chunks(BATCH) {
                let outcomes = self.store.cancel(batch.iter().map(|(_, id)| *id).collect()).await?;
                for ((state, _), outcome) in batch.iter().zip(outcomes) {
                    if outcome == CancelOutcome::Cancelled {
                        run.tally(*state, |tally| {
                            tally.waiting -= 1;
                            tally.cancelled += 1;
                        });
                    }
                }
            }
        }
    }

    /// True if nothing of a run waits or runs.
    pub(crate) async fn is_over(&self, run: &LiveRun) -> Result<bool, StoreError> {
        let unknown: Vec<Queue> =
            lock(&run.unknown).iter().map(|name| names::queue(&self.live.graph.name, run.name(), name)).collect();
        for queue in run.queues.iter().chain(&unknown) {
            let filter = JobFilter::all().queue(queue.clone());
            if self.store.counts(filter).await?.open() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores jobs in batches.
    pub(crate) async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<work_core::store::Inserted>, StoreError> {
        let mut inserted = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let batch = jobs.by_ref().take(BATCH).collect();
            inserted.extend(self.store.insert(batch).await?);
        }
        Ok(inserted)
    }
}

/// Jobs that are stored at once.
const BATCH: usize = 1_000;

/// Whether a run's record or one of its notes has the graph of this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawn {
    ThisWay,
    Otherwise,
}

fn drawn(record: &Record<'_>, notes: &[StoredJob], ours: &[Shape]) -> Drawn {
    let noted = |note: &StoredJob| {
        let note = serde_json::from_slice::<Record<'_>>(&note.job.args);
        note.is_ok_and(|note| note.run == record.run && note.graph == ours)
    };
    if record.graph == ours || notes.iter().any(noted) { Drawn::ThisWay } else { Drawn::Otherwise }
}

/// What a run's record and its notes say of states.
fn states_of(record: &Record<'_>, notes: &[StoredJob]) -> Vec<String> {
    let mut states = record.states.clone();
    for note in notes {
        let Ok(note) = serde_json::from_slice::<Record<'_>>(&note.job.args) else { continue };
        if note.run == record.run {
            states.extend(note.states.into_iter().filter(|name| !states.contains(name)).collect::<Vec<_>>());
        }
    }
    states
}

/// A name that a router does not take is none that a job may have.
fn invalid(error: crate::InvalidWorkflow) -> FlowError {
    match error {
        crate::InvalidWorkflow::Route(work_core::RouteError::Name(name)) => name.into(),
        other => FlowError::Store(StoreError::rejected("the workflow has no routes", other)),
    }
}
