use super::{CHAIN, ON_ERROR, Packed, once_each};
use crate::{Accepted, DEFAULT_MAX_ARGS, InvalidJob, Job, JobHandle, JobId, Outcome, WaitError};

/// Jobs that run one after the other: each exists only once the one before it is completed, and gets its output as
/// [`PreviousOutput`](crate::PreviousOutput). At least two, at most [`MAX_CHAIN`].
///
/// [`perform_chain`](crate::Worker::perform_chain) takes it. The rest of a chain travels with its current job, as JSON of at
/// most 1 MiB. On a store, the next job is inserted in the transaction that records the one before as completed.
///
/// ```
/// use work_core::{Args, Chain, Job, Json, LocalWorker, PreviousOutput, Router, Worker};
///
/// async fn add(Args(n): Args<u32>, PreviousOutput(sum): PreviousOutput<u32>) -> Json<u32> {
///     Json(sum.unwrap_or(0) + n)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("add", add));
/// let chain = Chain::new(Job::new("add", 1)).then(Job::new("add", 2)).then(Job::new("add", 3));
/// let ended = worker.perform_chain(chain).await?.outcome().await?;
/// assert_eq!(ended.failed_step(), None);
/// assert_eq!(ended.outcome().output::<u32>()?, Some(6));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a chain does nothing until a worker performs it"]
pub struct Chain {
    jobs: Vec<Job>,
}

/// How many jobs a chain may have.
pub const MAX_CHAIN: usize = 1_000;

impl Chain {
    /// A chain that starts with this job; it needs another one at least.
    pub fn new(first: Job) -> Self {
        Self { jobs: vec![first] }
    }

    /// A chain of these jobs.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] if there are fewer than two, or more than [`MAX_CHAIN`].
    pub fn of(jobs: impl IntoIterator<Item = Job>) -> Result<Self, InvalidJob> {
        let chain = Self { jobs: jobs.into_iter().collect() };
        chain.check()?;
        Ok(chain)
    }

    /// Adds the job that runs after the last one.
    pub fn then(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// The job to perform if any of those that are in the chain by now becomes a dead letter, see [`Job::on_error`].
    pub fn on_error(mut self, job: Job) -> Self {
        let packed = job.into_on_error();
        self.jobs = self.jobs.into_iter().map(|step| step.header(ON_ERROR, packed.clone())).collect();
        self
    }

    /// The jobs, in order.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    fn check(&self) -> Result<(), InvalidJob> {
        let given = self.jobs.len();
        if !(2..=MAX_CHAIN).contains(&given) {
            return Err(InvalidJob::out_of_range("chain", format!("of {given} jobs"), "2 to 1000 jobs"));
        }
        once_each("chain", self.jobs.iter().map(Job::id))
    }

    /// The first job, with the others inside, and who they all are.
    pub(crate) fn pack(self) -> Result<(Job, Vec<JobId>), InvalidJob> {
        self.check()?;
        let ids = self.jobs.iter().map(Job::id).collect();
        let mut jobs = self.jobs.into_iter();
        let Some(first) = jobs.next() else { return Err(InvalidJob::out_of_range("chain", "of 0 jobs", "2 to 1000")) };
        let rest = jobs.map(Packed::of).collect::<Result<Vec<_>, _>>()?;
        let json = serde_json::to_string(&rest)
            .map_err(|error| InvalidJob::out_of_range("chain", error, "jobs that have a JSON form"))?;
        if json.len() > DEFAULT_MAX_ARGS {
            let given = format!("of {} bytes", json.len());
            return Err(InvalidJob::out_of_range("chain", given, "at most 1 MiB after its first job"));
        }
        Ok((first.header(CHAIN, json), ids))
    }
}

/// A chain that was accepted. Drop it and the chain goes on.
#[derive(Debug)]
pub struct ChainHandle {
    first: JobHandle,
    steps: Vec<JobId>,
}

/// How a chain ended.
#[derive(Debug, Clone)]
pub struct ChainOutcome {
    outcome: Outcome,
    step: usize,
    steps: usize,
}

impl ChainHandle {
    pub(crate) const fn new(first: JobHandle, steps: Vec<JobId>) -> Self {
        Self { first, steps }
    }

    /// Who its jobs are, in order. One exists only once the one before is completed.
    #[must_use]
    pub fn steps(&self) -> &[JobId] {
        &self.steps
    }

    /// Whether its first job is new. If another job held its unique key, the chain was not accepted, and this is a handle of
    /// that job alone.
    #[must_use]
    pub const fn accepted(&self) -> Accepted {
        self.first.accepted()
    }

    /// Waits until the chain has ended: its last job is completed, or one of its jobs ended without that.
    ///
    /// # Errors
    ///
    /// [`WaitError`] if the worker goes away first, or the store cannot be asked. The chain itself may go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the answer, not the chain.
    pub async fn outcome(self) -> Result<ChainOutcome, WaitError> {
        let other = self.steps.first() != Some(&self.first.id());
        let steps = if other { 1 } else { self.steps.len() };
        let mut handle = self.first;
        for step in 1..=steps {
            let (outcome, next) = handle.followed(self.steps.get(step).copied()).await?;
            if step == steps || !outcome.is_completed() {
                return Ok(ChainOutcome { outcome, step, steps });
            }
            handle = next?;
        }
        Err(WaitError::WorkerGone(handle.id()))
    }
}

impl ChainOutcome {
    /// How the last job that ran ended: that of a chain that went well is the chain's result.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The job that the chain ended with, from 1.
    #[must_use]
    pub const fn step(&self) -> usize {
        self.step
    }

    /// Which job failed or was cancelled, from 1: those after it never existed.
    #[must_use]
    pub fn failed_step(&self) -> Option<usize> {
        (self.step < self.steps || !self.outcome.is_completed()).then_some(self.step)
    }
}
