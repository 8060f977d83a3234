use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use work_core::JobId;
use work_core::store::AttemptRecord;

/// Where the items of a run are, read from the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// In the order of the enum; states that the code lacks come last, if they have items.
    pub states: Vec<StateCounts>,
    /// All items.
    pub items: u64,
}

/// How many items are in one state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct StateCounts {
    /// The state.
    pub name: String,
    /// True if items end here.
    pub terminal: bool,
    /// True if this code has no such state: its items wait for code that has.
    pub unknown: bool,
    /// Items that wait: for a slot, a permit, a signal, or their time.
    pub waiting: u64,
    /// Items whose handler runs, in any process.
    pub executing: u64,
    /// Of a terminal state: items that ended here. Of any other: steps that ended well here.
    pub completed: u64,
    /// Items that failed here for good.
    pub failed: u64,
    /// Items that were cancelled here.
    pub cancelled: u64,
}

impl StateCounts {
    pub(crate) fn new(name: String, terminal: bool, unknown: bool) -> Self {
        Self { name, terminal, unknown, ..Self::default() }
    }
}

impl RunReport {
    /// The counts of one state; all zero if there is no such state.
    #[must_use]
    pub fn state(&self, name: &str) -> StateCounts {
        self.states.iter().find(|state| state.name == name).cloned().unwrap_or_default()
    }

    /// Items that will still move by themselves.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.states.iter().map(|state| state.waiting + state.executing).sum()
    }

    /// Items that are in states which this code lacks, by state.
    #[must_use]
    pub fn unknown(&self) -> Vec<(&str, u64)> {
        let unknown = self.states.iter().filter(|state| state.unknown);
        unknown.map(|state| (state.name.as_str(), state.waiting)).collect()
    }
}

/// One item of a run, as it stands in the store and in an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ItemReport {
    /// The item: the id of its first step.
    pub id: JobId,
    /// The item that kicked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
    /// Where it is.
    pub state: String,
    /// What it does there.
    pub phase: Phase,
    /// How many steps it has had, the present one included.
    pub step: u32,
    /// How many attempts the present step has had.
    pub attempt: u32,
    /// When the present step is due, if it was put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime<Utc>>,
    /// The signal that it waits for, and the state that leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<(String, String)>,
    /// What it carries.
    pub context: Value,
    /// The errors of its attempts, by state, in order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Vec<String>>,
    /// Errors with the number of their step, until all steps are known.
    #[serde(skip)]
    noted: Vec<(u32, String, Vec<String>)>,
}

/// What an item does in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits.
    Waiting,
    /// Its handler runs.
    Executing,
    /// It has ended.
    Completed,
    /// It failed for good.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl ItemReport {
    pub(crate) const fn new(id: JobId) -> Self {
        Self {
            id,
            parent: None,
            state: String::new(),
            phase: Phase::Waiting,
            step: 0,
            attempt: 0,
            due: None,
            unless: None,
            context: Value::Null,
            errors: BTreeMap::new(),
            noted: Vec::new(),
        }
    }

    /// Notes the errors of a step.
    pub(crate) fn note(&mut self, step: u32, state: &str, attempts: &[AttemptRecord]) {
        if !attempts.is_empty() {
            let errors = attempts.iter().map(|attempt| attempt.error.message.clone()).collect();
            self.noted.push((step, state.to_owned(), errors));
        }
    }

    /// Puts the errors into the order of the steps.
    pub(crate) fn sort_errors(&mut self) {
        self.noted.sort_by_key(|(step, ..)| *step);
        for (_, state, errors) in std::mem::take(&mut self.noted) {
            self.errors.entry(state).or_default().extend(errors);
        }
    }
}
