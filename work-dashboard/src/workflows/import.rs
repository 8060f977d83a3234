use serde_json::value::{RawValue, to_raw_value};
use work_core::store::{Inserted, Inspect, NewJob};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, StoreError, brief};

use super::act::record;
use super::export::{Export, ItemView};
use super::names::{self, RunName, import_id, wait_id};
use super::read::run;
use super::stored::{Record, Shape, Step};

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Items that were made.
    pub items: u64,
    /// Items that an import before this one had made.
    pub there: u64,
}

/// Why an export cannot be imported; nothing was stored, unless the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidImport {
    /// A name of the export is none.
    #[error(transparent)]
    Name(#[from] super::InvalidRun),
    /// An item is in a state that the workflow lacks.
    #[error("item {item} is in state {given:?}, which the workflow lacks; it has: {}", brief(.known))]
    State {
        /// Which item.
        item: JobId,
        /// The state, shortened.
        given: String,
        /// The states that there are.
        known: String,
    },
    /// A state of the graph has a name that is none.
    #[error("{given:?} is no name of a state; use 1 to 21 of A-Z a-z 0-9 _ -, starting with a letter or a digit")]
    Graph {
        /// The name, shortened.
        given: String,
    },
    /// An item is no job.
    #[error("item {item}: {why}")]
    Item {
        /// Which item.
        item: JobId,
        /// What is wrong with it.
        why: String,
    },
    /// The run was cancelled, or closed.
    #[error("run {0} has ended in this store; give the import another name")]
    Ended(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Items that are stored at once.
const BATCH: usize = 1_000;

/// Makes each item of an export anew, with its id, context and errors, in the state that the export says. An item that was
/// running, failed or was cancelled begins that state again; one that had ended stays ended. Programs with the workflow
/// take it up when they look for runs the next time.
///
/// # Errors
///
/// [`InvalidImport`]. If the store failed, some items may have been made: repeating the import makes none twice.
pub async fn import(store: &dyn Inspect, export: &Export) -> Result<Imported, InvalidImport> {
    let Checked { name, record: made, jobs } = prepare(store, export).await?;
    if let Some(json) = made {
        store.insert(vec![record(&name, "run", json, |job| job.with_id(name.record_id()))?]).await?;
    }
    let mut done = Imported { items: 0, there: 0 };
    let mut jobs = jobs.into_iter().peekable();
    while jobs.peek().is_some() {
        for inserted in store.insert(jobs.by_ref().take(BATCH).collect()).await? {
            match inserted {
                Inserted::New(_) => done.items += 1,
                Inserted::Duplicate(_) => done.there += 1,
            }
        }
    }
    Ok(done)
}

/// Checks an export as [`import`] does, and stores nothing.
///
/// # Errors
///
/// As [`import`].
pub async fn check(store: &dyn Inspect, export: &Export) -> Result<(), InvalidImport> {
    prepare(store, export).await.map(drop)
}

/// What is to be stored.
struct Checked {
    name: RunName,
    /// The record of the run, if there is none yet.
    record: Option<Vec<u8>>,
    jobs: Vec<NewJob>,
}

async fn prepare(store: &dyn Inspect, export: &Export) -> Result<Checked, InvalidImport> {
    let name = RunName::new(&export.workflow, &export.run)?;
    let there = run(store, &name).await?;
    if there.as_ref().is_some_and(|run| run.phase == super::RunPhase::Ended) {
        return Err(InvalidImport::Ended(name.to_string()));
    }
    let shapes = there.as_ref().map(|run| run.states.iter().map(|state| state.shape.clone()).collect());
    let shapes: Vec<Shape> = shapes.unwrap_or_else(|| export.graph.clone());
    if let Some(shape) = shapes.iter().find(|shape| there.is_none() && !names::is_state(&shape.state)) {
        return Err(InvalidImport::Graph { given: work_core::cut(&shape.state) });
    }
    let jobs = export.items.iter().map(|item| job(&name, &shapes, item)).collect::<Result<Vec<_>, _>>()?;
    if there.is_some() {
        return Ok(Checked { name, record: None, jobs });
    }
    let overall = to_raw_value(&export.overall).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let mut states: Vec<String> = shapes.iter().map(|shape| shape.state.clone()).collect();
    for item in &export.items {
        // Also where a signal leads that it waits for: so a repeated import knows the same states.
        let then = item.unless.iter().filter(|_| item.phase == "waiting").map(|(_, then)| then);
        for state in std::iter::once(&item.state).chain(then) {
            if !states.contains(state) {
                states.push(state.clone());
            }
        }
    }
    let made = Record { run: export.run.clone(), overall: &overall, states, graph: shapes };
    Ok(Checked { name, record: Some(serde_json::to_vec(&made).unwrap_or_default()), jobs })
}

/// One item as a job. Its id follows from the item and its step, so that a repeated import finds it.
fn job(name: &RunName, shapes: &[Shape], item: &ItemView) -> Result<NewJob, InvalidImport> {
    let wrong = |why: String| InvalidImport::Item { item: item.id, why };
    let in_state = |given: &str| {
        let known = shapes.iter().find(|shape| shape.state == given);
        // An export without a graph names the states by its items.
        let unknown = (shapes.is_empty() && names::is_state(given)).then(|| Shape::unknown(given.to_owned()));
        known.cloned().or(unknown).ok_or_else(|| InvalidImport::State {
            item: item.id,
            given: work_core::cut(given),
            known: shapes.iter().map(|shape| shape.state.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    let shape = in_state(&item.state)?;
    let waits = item.unless.as_ref().filter(|_| item.phase == "waiting");
    if let Some((_, then)) = waits {
        in_state(then)?;
    }
    let context = to_raw_value(&item.context).map_err(|error| wrong(error.to_string()))?;
    let step = Step {
        item: item.id,
        parent: item.parent,
        step: item.step,
        context: &context,
        unless: waits.cloned(),
        log: waits.is_none().then(|| item.errors.clone()).filter(|log| !log.is_empty()),
    };
    let json = serde_json::to_vec(&step).map_err(|error| wrong(error.to_string()))?;
    let id = waits.map_or_else(|| import_id(item.id, item.step), |(signal, _)| wait_id(item.id, signal));
    let job = Job::from_json(name.kind(&item.state), json).with_id(id).queue(name.queue(&item.state));
    let job = job.max_attempts(shape.max_attempts);
    let job = match item.due.filter(|_| item.phase == "waiting") {
        Some(due) => job.scheduled_at(due),
        None => job,
    };
    job.into_stored(DEFAULT_MAX_ARGS).map_err(|error| wrong(error.to_string()))
}
