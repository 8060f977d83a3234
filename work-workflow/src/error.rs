use work_core::limit::Rate;
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
    #[error("two states have the name {}", work_core::shown(.0))]
    DoubleName(&'static str),
    /// A state that [`States::ALL`](crate::States::ALL) does not list.
    #[error("state {}, named by {by}, is not one of States::ALL", work_core::shown(.given))]
    Unknown {
        /// The name of the state.
        given: &'static str,
        /// Who names it.
        by: String,
    },
    /// A state has a handler twice, or is terminal and has one.
    #[error("state {} is declared twice", work_core::shown(.0))]
    Twice(&'static str),
    /// A state that is not terminal has no handler.
    #[error("state {} has no handler: give it one with `state`, or declare it with `terminal`", work_core::shown(.0))]
    MissingHandler(&'static str),
    /// Nothing could ever run.
    #[error("state {}: concurrency {given} is out of range; use 1 to 1000000", work_core::shown(.state))]
    Concurrency {
        /// The state.
        state: &'static str,
        /// The concurrency.
        given: usize,
    },
    /// No attempt, or too many.
    #[error("state {}: max_attempts {given} is out of range; use 1 to 1000", work_core::shown(.state))]
    MaxAttempts {
        /// The state.
        state: &'static str,
        /// The attempts.
        given: u32,
    },
    /// A timeout that would let nothing run.
    #[error("state {}: timeout 0 is out of range; use more than zero", work_core::shown(.0))]
    Timeout(&'static str),
    /// The name of its rate is none.
    #[error("state {}: the name of its rate: {source}", work_core::shown(.state))]
    Rate {
        /// The state.
        state: &'static str,
        /// What is wrong with the name.
        source: InvalidName,
    },
    /// Nothing starts.
    #[error("no state to start in: declare one with `start`")]
    NoStart,
    /// No way leads to it.
    #[error("state {} cannot be reached from any start", work_core::shown(.0))]
    Unreachable(&'static str),
    /// No way leads out of it.
    #[error("no terminal state can be reached from state {}: its items would never end", work_core::shown(.0))]
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
    #[error("workflow {} has a run {} already", work_core::shown(.workflow), work_core::shown(.run))]
    RunExists {
        /// The workflow.
        workflow: String,
        /// The run.
        run: String,
    },
    /// There is no run of this name, or it was cancelled.
    #[error("workflow {} has no run {}, or it was cancelled", work_core::shown(.workflow), work_core::shown(.run))]
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
    #[error("items cannot start in state {}; the starts are: {starts}", work_core::shown(.given))]
    NoStart {
        /// The state.
        given: String,
        /// The states that items may start in.
        starts: String,
    },
    /// A name that is no state of the workflow.
    #[error("workflow {} has no state {}; it has: {}", work_core::shown(.workflow), work_core::shown(.given), work_core::brief(.known))]
    UnknownState {
        /// The workflow.
        workflow: String,
        /// The name that was given.
        given: String,
        /// The names there are.
        known: String,
    },
    /// An export of another workflow.
    #[error("the export is of workflow {}, not of {}", work_core::shown(.given), work_core::shown(.workflow))]
    OtherWorkflow {
        /// This workflow.
        workflow: String,
        /// The one in the export.
        given: String,
    },
    /// Over all processes, the state has another rate already.
    #[error(
        "state {} may start at {given}, but its store says {kept}; give the same, or change it with `Inspect::rate_queue`",
        work_core::shown(.state)
    )]
    OtherRate {
        /// The state.
        state: &'static str,
        /// What was given here.
        given: Box<Rate>,
        /// What the store keeps.
        kept: Box<Rate>,
    },
    /// The run has no such item.
    #[error("the run has no item {0}")]
    NoItem(JobId),
    /// A context, an overall context or a payload that cannot be stored or read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// JSON that cannot be written or read.
    #[error("{what}: {}", work_core::brief(.source))]
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
