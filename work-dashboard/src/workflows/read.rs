use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use work_core::store::{Counts, Inspect, JobFilter, Order, Page, QueueInfo, StoredJob};
use work_core::{JobState, Queue, StoreError};

use super::names::{self, RunName};
use super::stored::{Paused, Record, Shape, Went};

/// A run of a workflow, as the store has it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunView {
    /// The workflow.
    pub workflow: String,
    /// The run.
    pub run: String,
    /// Whether it is at work.
    pub phase: RunPhase,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Its states, in the order of the code.
    pub states: Vec<StateView>,
    /// What is known of the steps that ended well; not in lists of runs.
    pub ended: Option<Ended>,
    /// The steps that ended well last.
    #[serde(skip)]
    pub(crate) newest: Vec<StoredJob>,
}

/// Whether a run is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Its items move.
    Open,
    /// Nothing of it starts.
    Paused,
    /// It was cancelled, or taken off the list of runs when it was over.
    Ended,
}

/// A state of a run: how it is joined to others, and where its items are.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StateView {
    /// How it is joined to others.
    #[serde(flatten)]
    pub shape: Shape,
    /// Items that wait: for a slot, a permit, a signal, or their time.
    pub waiting: u64,
    /// Items whose handler runs.
    pub executing: u64,
    /// Items that failed here for good.
    pub failed: u64,
    /// Items that were cancelled here.
    pub cancelled: u64,
    /// False if these numbers are of the last minutes, or if there may be more: see the `counts` of a queue.
    pub exact: bool,
}

/// The newest steps that ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ended {
    /// Of a terminal state: items that ended there. Of any other: steps that ended well in it.
    pub by_state: BTreeMap<String, u64>,
    /// False if there are older steps, which were not looked at.
    pub complete: bool,
}

impl RunPhase {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

impl RunView {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.workflow, self.run)
    }

    /// The sum of something over all states.
    #[must_use]
    pub fn sum(&self, of: impl Fn(&StateView) -> u64) -> u64 {
        self.states.iter().map(of).sum()
    }

    /// True if the record says how the states are joined; those of older programs do not.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.states.iter().any(|state| state.shape.start)
    }
}

/// Runs that are listed of each workflow: the newest.
const MOST_RUNS: usize = 200;

/// Pauses and notes of a workflow that are looked at.
const MOST_NOTES: usize = 1000;

/// Steps that are looked at to tell where items ended.
const STEPS: usize = 1000;

/// Steps that are shown.
const SHOWN: usize = 10;

/// The runs of all workflows: by workflow, the newest first, at most 200 of each.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub async fn runs(store: &dyn Inspect) -> Result<Vec<RunView>, StoreError> {
    runs_with(store, store.queues().await?.iter()).await
}

/// The same, with the queues as they were read already.
pub(crate) async fn runs_with(
    store: &dyn Inspect,
    queues: impl Iterator<Item = &QueueInfo>,
) -> Result<Vec<RunView>, StoreError> {
    let counted = by_queue(queues);
    let mut found = Vec::new();
    for workflow in counted.keys().filter_map(|queue| names::of_control(queue.as_str())) {
        let Ok(any) = RunName::new(workflow, "any") else { continue };
        let notes = Notes::read(store, &any).await?;
        // By their state, since by their kind alone they would be looked for among all jobs.
        let mut records = Vec::new();
        for state in [JobState::Available, JobState::Cancelled] {
            let filter = JobFilter::all().queue(any.control()).kind(any.kind("run")).state(state);
            records.extend(store.list(filter, Order::NewestFirst, None, MOST_RUNS).await?.jobs);
        }
        let mut runs: Vec<RunView> =
            records.iter().filter_map(|record| notes.view(workflow, record, &counted)).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.created_at));
        runs.truncate(MOST_RUNS);
        found.extend(runs);
    }
    Ok(found)
}

/// One run, if there is one.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub async fn run(store: &dyn Inspect, name: &RunName) -> Result<Option<RunView>, StoreError> {
    run_with(store, name, store.queues().await?.iter()).await
}

/// The same, with the queues as they were read already.
pub(crate) async fn run_with(
    store: &dyn Inspect,
    name: &RunName,
    queues: impl Iterator<Item = &QueueInfo>,
) -> Result<Option<RunView>, StoreError> {
    let Some(record) = store.get(name.record_id()).await? else { return Ok(None) };
    let notes = Notes::read(store, name).await?;
    let Some(mut view) = notes.view(name.workflow(), &record, &by_queue(queues)) else { return Ok(None) };
    let steps = newest(store, name, &view.states).await?;
    view.ended = Some(ended(&steps, &view.states));
    view.newest = steps.jobs;
    view.newest.truncate(SHOWN);
    Ok(Some(view))
}

type Counted = BTreeMap<Queue, (Counts, BTreeSet<JobState>)>;

fn by_queue<'q>(queues: impl Iterator<Item = &'q QueueInfo>) -> Counted {
    queues.map(|info| (info.queue.clone(), (info.counts.clone(), info.at_least.clone()))).collect()
}

/// The newest steps that ended well.
async fn newest(store: &dyn Inspect, name: &RunName, states: &[StateView]) -> Result<Page, StoreError> {
    let filter = JobFilter::all().state(JobState::Completed);
    let filter = states.iter().fold(filter, |filter, state| filter.queue(name.queue(&state.shape.state)));
    store.list(filter, Order::NewestFirst, None, STEPS).await
}

/// How many of these steps a state has had, and where items ended.
fn ended(page: &Page, states: &[StateView]) -> Ended {
    let mut found = Ended { by_state: BTreeMap::new(), complete: page.next.is_none() };
    let terminal = |name: &str| states.iter().any(|state| state.shape.terminal && state.shape.state == name);
    for job in &page.jobs {
        let Some((_, state)) = names::of_queue(job.job.parts.queue.as_str()) else { continue };
        if !terminal(state) {
            *found.by_state.entry(state.to_owned()).or_default() += 1;
        }
        let went = job.output.as_ref().and_then(|output| serde_json::from_slice::<Went<'_>>(output).ok());
        match went {
            Some(went) if went.context.is_some() => *found.by_state.entry(went.to.to_owned()).or_default() += 1,
            None if terminal(state) => *found.by_state.entry(state.to_owned()).or_default() += 1,
            _ => {}
        }
    }
    found
}

/// What stands beside the records of a workflow's runs.
pub(super) struct Notes {
    paused: BTreeSet<String>,
    /// The newest last.
    graphs: Vec<(String, Vec<String>, Vec<Shape>)>,
}

impl Notes {
    pub(super) async fn read(store: &dyn Inspect, name: &RunName) -> Result<Self, StoreError> {
        let kinds = JobFilter::all().queue(name.control()).kind(name.kind("pause")).kind(name.kind("states"));
        let filter = kinds.state(JobState::Available);
        let jobs = store.list(filter, Order::OldestFirst, None, MOST_NOTES).await?.jobs;
        let mut notes = Self { paused: BTreeSet::new(), graphs: Vec::new() };
        for job in jobs {
            if job.job.parts.kind == name.kind("pause") {
                notes.paused.extend(serde_json::from_slice::<Paused>(&job.job.args).map(|paused| paused.run));
            } else if let Ok(note) = serde_json::from_slice::<Record<'_>>(&job.job.args) {
                notes.graphs.push((note.run, note.states, note.graph));
            }
        }
        Ok(notes)
    }

    /// The states of a run: those of the newest code that worked on it, and what older code had.
    pub(super) fn shapes(&self, record: &Record<'_>) -> Vec<Shape> {
        let notes = self.graphs.iter().filter(|(run, ..)| *run == record.run);
        let newest = notes.clone().rev().map(|(.., graph)| graph).find(|graph| !graph.is_empty());
        let mut shapes = newest.unwrap_or(&record.graph).clone();
        for name in record.states.iter().chain(notes.flat_map(|(_, states, _)| states)) {
            if !shapes.iter().any(|shape| shape.state == *name) {
                shapes.push(Shape::unknown(name.clone()));
            }
        }
        shapes
    }

    fn view(&self, workflow: &str, job: &StoredJob, counted: &Counted) -> Option<RunView> {
        let record = serde_json::from_slice::<Record<'_>>(&job.job.args).ok()?;
        let name = RunName::new(workflow, &record.run).ok()?;
        let phase = match job.state {
            JobState::Available if self.paused.contains(&record.run) => RunPhase::Paused,
            JobState::Available => RunPhase::Open,
            _ => RunPhase::Ended,
        };
        let state = |shape: Shape| {
            let (counts, rough) = counted.get(&name.queue(&shape.state)).cloned().unwrap_or_default();
            StateView {
                shape,
                waiting: counts.of(JobState::Available),
                executing: counts.of(JobState::Running),
                failed: counts.of(JobState::Discarded),
                cancelled: counts.of(JobState::Cancelled),
                exact: rough.is_empty(),
            }
        };
        Some(RunView {
            states: self.shapes(&record).into_iter().map(state).collect(),
            workflow: workflow.to_owned(),
            run: record.run,
            phase,
            created_at: job.created_at,
            ended: None,
            newest: Vec::new(),
        })
    }
}
