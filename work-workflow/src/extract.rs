//! What a handler of a state may take, beside everything that any handler may.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use work_core::{ArgsError, FromJob, Job, JobId};

use crate::States;
use crate::envelope::{OnlyContext, OnlySignal};
use crate::live::LiveRun;

/// The context that the item carries. At most one in a handler, and not together with `Args`.
///
/// ```
/// use work_workflow::{Item, Next};
///
/// work_workflow::states! { enum Count: u32 { Up = "up", Done = "done" } }
///
/// async fn up(Item(n): Item<Count>) -> Next<Count> {
///     if n < 9 { Next::to(Count::Up, n + 1) } else { Next::to(Count::Done, n) }
/// }
/// # let _ = up;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Item<S: States>(pub S::Context);

impl<S: States, A> FromJob<A> for Item<S> {
    type Rejection = ArgsError;

    fn from_job(job: &mut Job, _: &A) -> Result<Self, ArgsError> {
        job.take_args::<OnlyContext<S::Context>>().map(|only| Self(only.context))
    }
}

/// The payload of the signal that brought the item here, if one did. It stands before [`Item`], which moves the arguments
/// out of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal<T>(pub Option<T>);

impl<T: DeserializeOwned + Send + Sync + 'static, A> FromJob<A> for Signal<T> {
    type Rejection = ArgsError;

    fn from_job(job: &mut Job, _: &A) -> Result<Self, ArgsError> {
        job.clone().take_args::<OnlySignal<T>>().map(|only| Self(only.signal))
    }
}

/// The overall context of the run: given when it was created, the same for all its items. Decoded once for a process.
#[derive(Debug, Clone)]
pub struct Overall<O>(pub Arc<O>);

impl<O: DeserializeOwned + Send + Sync + 'static, A> FromJob<A> for Overall<O> {
    type Rejection = work_core::BoxError;

    fn from_job(job: &mut Job, _: &A) -> Result<Self, Self::Rejection> {
        let at = position(job)?;
        let decoded = at.run.decoded::<O>()?;
        Ok(Self(decoded))
    }
}

/// Where this step is: its run, its item, and who started that.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Position {
    /// The item: the same in all its steps.
    pub item: JobId,
    /// The item that kicked this one.
    pub parent: Option<JobId>,
    /// Which step of the item this is, from 1.
    pub step: u32,
    pub(crate) run: Arc<LiveRun>,
}

impl Position {
    /// The name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        self.run.name()
    }
}

impl<A> FromJob<A> for Position {
    type Rejection = MissingPosition;

    fn from_job(job: &mut Job, _: &A) -> Result<Self, MissingPosition> {
        position(job)
    }
}

/// The job is no step of a run.
#[derive(Debug, thiserror::Error)]
#[error("the job is not a step of a workflow's run")]
pub struct MissingPosition;

fn position(job: &Job) -> Result<Position, MissingPosition> {
    job.context().extension::<Position>().ok_or(MissingPosition)
}
