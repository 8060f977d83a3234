use work_core::{ArgsError, InvalidJob, InvalidName, JobId, RouteError, StoreError};

/// What is wrong with a workflow, found when it is built. Each names the state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWorkflow {
    /// A name that would not fit into the name of a queue.
    #[error("invalid {what} name {given:?}; use 1 to {most} of A-Z a-z 0-9 _ -, starting with a letter or a digit")]
    Name {
        /// Of what.
        what: &'static str,
        /// The name, at most 80 characters of it.
        given: String,
        /// Bytes it may have.
        most: usize,
    },
    /// Two states have one name.
    #[error("two states have the name {0:?}")]
    DoubleName(&'static str),
    /// A state that [`States::ALL`](crate::States::ALL) does not list.
    #[error("state {given:?}, named by {by}, is not one of States::ALL")]
    Unknown {
        /// The name of the state.
        given: &'static str,
        /// Who names it.
        by: String,
    },
    /// A state has a handler twice, or is terminal and has one.
    #[error("state {0:?} is declared twice")]
    Twice(&'static str),
    /// A state that is not terminal has no handler.
    #[error("state {0:?} has no handler: give it one with `state`, or declare it with `terminal`")]
    MissingHandler(&'static str),
    /// Nothing could ever run.
    #[error("state {state:?}: concurrency {given} is out of range; use 1 to 1000000")]
    Concurrency {
        /// The state.
        state: &'static str,
        /// The concurrency.
        given: usize,
    },
    /// No attempt, or too many.
    #[error("state {state:?}: max_attempts {given} is out of range; use 1 to 1000")]
    MaxAttempts {
        /// The state.
        state: &'static str,
        /// The attempts.
        given: u32,
    },
    /// A timeout that would let nothing run.
    #[error("state {0:?}: timeout 0 is out of range; use more than zero")]
    Timeout(&'static str),
    /// Nothing starts.
    #[error("no state to start in: declare one with `start`")]
    NoStart,
    /// No way leads to it.
    #[error("state {0:?} cannot be reached from any start")]
    Unreachable(&'static str),
    /// No way leads out of it.
    #[error("no terminal state can be reached from state {0:?}: its items would never end")]
    NoEnd(&'static str),
    /// The router did not take it.
    #[error(transparent)]
    Route(#[from] RouteError),
}

/// Why something could not be done with a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// There is, or was, a run of this name.
    #[error("workflow {workflow:?} has a run {run:?} already")]
    RunExists {
        /// The workflow.
        workflow: String,
        /// The run.
        run: String,
    },
    /// There is no run of this name, or it was cancelled.
    #[error("workflow {workflow:?} has no run {run:?}, or it was cancelled")]
    NoRun {
        /// The workflow.
        workflow: String,
        /// The run.
        run: String,
    },
    /// A name that would not fit into the name of a queue.
    #[error("invalid {what} name {given:?}; use 1 to {most} of A-Z a-z 0-9 _ -, starting with a letter or a digit")]
    Name {
        /// Of what.
        what: &'static str,
        /// The name, at most 80 characters of it.
        given: String,
        /// Bytes it may have.
        most: usize,
    },
    /// An item may not begin in this state.
    #[error("items cannot start in state {given:?}; the starts are: {starts}")]
    NoStart {
        /// The state.
        given: String,
        /// The states that items may start in.
        starts: String,
    },
    /// A name that is no state of the workflow.
    #[error("workflow {workflow:?} has no state {given:?}; it has: {known}")]
    UnknownState {
        /// The workflow.
        workflow: String,
        /// The name that was given.
        given: String,
        /// The names there are.
        known: String,
    },
    /// An export of another workflow.
    #[error("the export is of workflow {given:?}, not of {workflow:?}")]
    OtherWorkflow {
        /// This workflow.
        workflow: String,
        /// The one in the export.
        given: String,
    },
    /// The run has no such item.
    #[error("the run has no item {0}")]
    NoItem(JobId),
    /// A context, an overall context or a payload that cannot be stored or read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// JSON that cannot be written or read.
    #[error("{what}: {source}")]
    Json {
        /// What it was to be.
        what: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A setting out of its range, or a job that no store takes.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// The store failed. Nothing was lost: what could not be recorded is kept and tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidName> for FlowError {
    fn from(error: InvalidName) -> Self {
        Self::Invalid(error.into())
    }
}
