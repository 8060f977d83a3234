use serde::{Deserialize, Serialize};

use super::{GROUP, GROUP_END, Packed, once_each};
use crate::store::{Inspect, NewJob};
use crate::{
    Classified, Classify, FromJob, InvalidJob, Job, JobHandle, JobId, JobState, Outcome, OutputError, StoreError,
};

/// Jobs that are accepted all or none, and a job that runs once when all of them have ended.
///
/// A group has ended when each of its jobs is completed, a dead letter or cancelled, whatever happened to it before; and it
/// has failed if one of them did not complete. The callback runs in both cases, and finds [`GroupStatus`] among its
/// extractors. The callback of an empty group runs at once.
///
/// ```
/// use work_core::{Args, Group, GroupStatus, Job, LocalWorker, Router, Worker};
///
/// async fn fetch(Args(_page): Args<u32>) {}
///
/// async fn merge(group: GroupStatus) {
///     assert_eq!((group.completed, group.has_failed()), (3, false));
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("fetch", fetch).route("merge", merge));
/// let group = Group::new((1..=3).map(|page| Job::new("fetch", page))).then(Job::new("merge", ()));
/// let ended = worker.perform_group(group).await?.ended().await?;
/// assert_eq!(ended.completed, 3);
/// worker.idle().await;
/// assert_eq!(worker.counts().submitted, 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a group does nothing until a worker performs it"]
pub struct Group {
    id: JobId,
    jobs: Vec<Job>,
    callback: Option<Job>,
}

/// How many jobs a group may have.
pub const MAX_GROUP: usize = 10_000;

/// The kind of the job that watches over a group. Runners perform it themselves; it is no poison, however often a worker
/// crashes with it. For authors of stores.
pub const GROUP_KIND: &str = "work.group";

/// What the job that watches knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    members: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<Packed>,
}

/// How a group stands. An extractor in the handler of its callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Which group.
    pub id: JobId,
    /// How many jobs it has.
    pub total: usize,
    /// How many of them wait for their first or their next attempt.
    pub waiting: usize,
    /// How many run.
    pub running: usize,
    /// How many ended well.
    pub completed: usize,
    /// How many are dead letters.
    pub discarded: usize,
    /// How many were cancelled.
    pub cancelled: usize,
    /// How many are no longer kept: deleted, or older than the store keeps them.
    pub gone: usize,
}

impl Group {
    /// A group of these jobs. None of them may have a unique key, since a duplicate would be a job of somebody else.
    pub fn new(jobs: impl IntoIterator<Item = Job>) -> Self {
        Self { id: JobId::new(), jobs: jobs.into_iter().collect(), callback: None }
    }

    /// The job that runs once all of them have ended.
    pub fn then(mut self, callback: Job) -> Self {
        self.callback = Some(callback);
        self
    }

    /// Who it is: performing it again under this id is safe.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Its jobs, and the callback if it has one.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().chain(&self.callback)
    }

    /// Its jobs with the group's id, and the callback.
    pub(crate) fn into_parts(self) -> Result<(Vec<Job>, Option<Job>), InvalidJob> {
        if self.jobs.len() > MAX_GROUP {
            let given = format!("of {} jobs", self.jobs.len());
            return Err(InvalidJob::out_of_range("group", given, "at most 10000 jobs"));
        }
        let key = |job: &Job| job.parts().unique.as_ref().map(|unique| unique.key().to_owned());
        if let Some(key) = self.jobs.iter().find_map(key) {
            let given = format!("{} of a job of a group", crate::shown(&key));
            return Err(InvalidJob::out_of_range("unique key", given, "none"));
        }
        once_each("group", self.all().map(Job::id))?;
        let id = self.id.to_string();
        Ok((self.jobs.into_iter().map(|job| job.header(GROUP, id.clone())).collect(), self.callback))
    }

    /// Its jobs, and the job that watches over them.
    pub(crate) fn pack(self) -> Result<(Vec<Job>, Job), InvalidJob> {
        let id = self.id;
        let (jobs, callback) = self.into_parts()?;
        let queue = callback.as_ref().or(jobs.first()).map(|job| job.parts().queue.clone()).unwrap_or_default();
        let callback = callback.map(Packed::of).transpose()?;
        let plan = Plan { members: jobs.iter().map(Job::id).collect(), callback };
        // Before everything else: it takes no time, and a long queue must not delay the callback's place in it.
        let watch = Job::new(GROUP_KIND, plan).with_id(id).queue(queue).priority(0);
        Ok((jobs, watch))
    }
}

impl Plan {
    pub(crate) fn of(watch: &NewJob) -> Option<Self> {
        if watch.parts.kind.as_str() != GROUP_KIND {
            return None;
        }
        serde_json::from_slice(&watch.args).ok()
    }

    /// True if one of the jobs has not ended. The last one is looked at first, since it is probably that.
    pub(crate) async fn is_open(&self, store: &dyn Inspect) -> Result<bool, StoreError> {
        for id in self.members.iter().rev() {
            if store.get(*id).await?.is_some_and(|job| !job.state.is_terminal()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn status(&self, id: JobId, store: &dyn Inspect) -> Result<GroupStatus, StoreError> {
        let mut status = GroupStatus::new(id, self.members.len());
        for id in &self.members {
            let state = store.get(*id).await?.map(|job| job.state);
            status.count(state);
        }
        Ok(status)
    }

    /// How the job that watches ends when all others have.
    pub(crate) fn end(self, status: &GroupStatus) -> Outcome {
        let outcome = Outcome::done().with_output(status.to_json());
        match self.callback {
            Some(callback) => outcome.then(status.told(Job::from_stored(callback.into_job()))),
            None => outcome,
        }
    }
}

impl GroupStatus {
    pub(crate) const fn new(id: JobId, total: usize) -> Self {
        Self { id, total, waiting: 0, running: 0, completed: 0, discarded: 0, cancelled: 0, gone: 0 }
    }

    /// Counts a job by its state, or as gone.
    pub(crate) const fn count(&mut self, state: Option<JobState>) {
        match state {
            Some(JobState::Available) => self.waiting += 1,
            Some(JobState::Running) => self.running += 1,
            Some(JobState::Completed) => self.completed += 1,
            Some(JobState::Discarded) => self.discarded += 1,
            Some(JobState::Cancelled) => self.cancelled += 1,
            None => self.gone += 1,
        }
    }

    /// True if none of its jobs waits or runs.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.waiting + self.running == 0
    }

    /// True if one of its jobs is a dead letter or was cancelled.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.discarded + self.cancelled > 0
    }

    /// The callback, with this inside.
    pub(crate) fn told(&self, callback: Job) -> Job {
        callback.header(GROUP_END, self.to_json())
    }

    pub(crate) fn to_json(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }
}

impl<S> FromJob<S> for GroupStatus {
    type Rejection = Classified;

    fn from_job(job: &mut Job, _: &S) -> Result<Self, Classified> {
        let json = job.parts().headers.get(GROUP_END);
        let json = json.ok_or("`GroupStatus` is only there in the callback of a group").discard()?;
        serde_json::from_str(json).discard()
    }
}

/// A group that was accepted. Drop it and the group goes on.
#[derive(Debug)]
pub struct GroupHandle {
    members: Vec<JobId>,
    watch: JobHandle,
}

impl GroupHandle {
    pub(crate) const fn new(members: Vec<JobId>, watch: JobHandle) -> Self {
        Self { members, watch }
    }

    /// Which group.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.watch.id()
    }

    /// Who its jobs are.
    #[must_use]
    pub fn members(&self) -> &[JobId] {
        &self.members
    }

    /// Waits until all of its jobs have ended. The callback may not have run by then.
    ///
    /// # Errors
    ///
    /// [`OutputError`] if the worker goes away first, the group's own id was cancelled, or the store cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the answer, not the group.
    pub async fn ended(self) -> Result<GroupStatus, OutputError> {
        let id = self.id();
        let status = self.watch.output().await?;
        status.ok_or(OutputError::Wait(crate::WaitError::WorkerGone(id)))
    }
}
