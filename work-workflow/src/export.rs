use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use work_core::store::NewJob;
use work_core::{DEFAULT_MAX_ARGS, JobId};

use crate::report::{ItemReport, Phase};
use crate::service::Follow;
use crate::{Engine, FlowError, Run, States};

/// A run as JSON: to keep, to look at, to edit, and to go on with in another store.
///
/// An import makes each item anew, with its id, context and errors, in the state that the export says. An item that was
/// running, failed or was cancelled begins that state again; one that had ended stays ended. So to try failed items
/// again, or somewhere else, edit their `state` and import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Export {
    /// The workflow.
    pub workflow: String,
    /// The run.
    pub run: String,
    /// Its overall context.
    pub overall: Value,
    /// When it was exported.
    pub at: DateTime<Utc>,
    /// Its items, in the order they were made.
    pub items: Vec<ItemReport>,
}

impl Export {
    /// As JSON that people can edit.
    ///
    /// # Errors
    ///
    /// [`FlowError::Json`], which should not happen.
    pub fn to_json(&self) -> Result<String, FlowError> {
        serde_json::to_string_pretty(self).map_err(|source| FlowError::Json { what: "the export", source })
    }

    /// From JSON.
    ///
    /// # Errors
    ///
    /// [`FlowError::Json`] names the line.
    pub fn from_json(json: &str) -> Result<Self, FlowError> {
        serde_json::from_str(json).map_err(|source| FlowError::Json { what: "the text is no export", source })
    }
}

impl<S: States> Run<S> {
    /// The run as it stands. Pause it first if nothing may move meanwhile.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store cannot be read.
    pub async fn export(&self) -> Result<Export, FlowError> {
        let json = |source| FlowError::Json { what: "the overall context cannot be read", source };
        Ok(Export {
            workflow: self.shared.live.graph.name.clone(),
            run: self.name().to_owned(),
            overall: serde_json::from_slice(self.live.overall()).map_err(json)?,
            at: self.shared.clock.now(),
            items: self.items().await?,
        })
    }
}

impl<S: States> Engine<S> {
    /// Makes a run of an export, in this engine's store. It begins at once if the engine runs. An import that was cut off
    /// may be repeated: nothing is made twice.
    ///
    /// # Errors
    ///
    /// [`FlowError::OtherWorkflow`] for an export of another workflow, [`FlowError::UnknownState`] for an item in a state
    /// that this one lacks, before anything is stored; [`FlowError::Store`] if the store fails.
    pub async fn import(&self, export: &Export) -> Result<Run<S>, FlowError> {
        let graph = &self.shared.live.graph;
        if export.workflow != graph.name {
            return Err(FlowError::OtherWorkflow { workflow: graph.name.clone(), given: export.workflow.clone() });
        }
        for item in &export.items {
            self.state(&item.state)?;
            if let Some((_, then)) = &item.unless {
                self.state(then)?;
            }
        }
        let run = self.create_or_open(&export.run, &export.overall).await?;
        let mut by_state: Vec<Vec<NewJob>> = vec![Vec::new(); graph.defs.len()];
        for item in &export.items {
            let state = self.state(&item.state)?;
            by_state[state].push(import(&run, state, item)?);
        }
        for (state, jobs) in by_state.into_iter().enumerate().filter(|(_, jobs)| !jobs.is_empty()) {
            run.insert_jobs(state, jobs).await?;
        }
        Ok(run)
    }

    fn state(&self, name: &str) -> Result<usize, FlowError> {
        let graph = &self.shared.live.graph;
        graph.index(name).ok_or_else(|| FlowError::UnknownState {
            workflow: graph.name.clone(),
            given: name.to_owned(),
            known: graph.list(0..graph.defs.len()),
        })
    }
}

/// One item as a job. Its id follows from the item and its step, so that a repeated import finds it.
fn import<S: States>(run: &Run<S>, state: usize, item: &ItemReport) -> Result<NewJob, FlowError> {
    let graph = &run.shared.live.graph;
    let json = |source| FlowError::Json { what: "the context", source };
    let context = serde_json::value::to_raw_value(&item.context).map_err(json)?;
    let step = Follow { context: &*context, item: item.id, parent: item.parent, step: item.step };
    let waits = item.unless.as_ref().filter(|_| item.phase == Phase::Waiting);
    let job = match waits {
        Some((signal, then)) => step.waiting(graph, &run.live, state, (signal, then)),
        None => step.with_log(graph, &run.live, state, import_id(item.id, item.step), &item.errors),
    };
    let job = match item.due.filter(|_| item.phase == Phase::Waiting) {
        Some(due) => job.scheduled_at(due),
        None => job,
    };
    Ok(job.into_stored(DEFAULT_MAX_ARGS)?)
}

fn import_id(item: JobId, step: u32) -> JobId {
    item.follow("import", u64::from(step))
}
