use super::LocalWorker;
use super::delayed::{Pending, context_of};
use super::entry::Promise;
use super::timers::Timers;
use crate::compose::GroupStatus;
use crate::handle::Ticket;
use crate::{Accepted, Group, GroupHandle, InvalidJob, Job, JobHandle, JobState, Outcome, PerformError, Worker, store};

impl LocalWorker {
    /// Performs the jobs of a group, all or none of them, and its callback when they have ended. Waits for room for all of
    /// them; the callback has its room from the start.
    ///
    /// If the worker stops before all of them could run, the callback does not run.
    ///
    /// # Errors
    ///
    /// As [`perform`](Worker::perform) for any of the jobs; and for a group that is larger than the
    /// [capacity](Self::capacity).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves all jobs accepted or none.
    pub async fn perform_group(&self, group: Group) -> Result<GroupHandle, PerformError> {
        group.all().try_for_each(|job| self.accepts(job))?;
        let id = group.id();
        let (jobs, callback) = group.into_parts()?;
        let places = jobs.len() + 1;
        if places > self.capacity() {
            let given = format!("of {} jobs", jobs.len());
            return Err(InvalidJob::out_of_range("group", given, "fewer than the worker's capacity").into());
        }
        while !self.reserve(places)? {
            self.pool.at_most(self.capacity() - places).await;
        }
        let members = jobs.iter().map(Job::id).collect();
        let handles: Vec<JobHandle> = jobs.into_iter().filter_map(|job| self.enter_reserved(job)).collect();
        let watch = Job::new(store::GROUP_KIND, ()).with_id(id);
        let ticket = Ticket::Context(context_of(&watch, 1, None));
        let promise = Promise::new(ticket.clone());
        let worker = self.clone();
        tokio::spawn(
            async move { worker.watch(GroupStatus::new(id, handles.len()), handles, callback, promise).await },
        );
        Ok(GroupHandle::new(members, JobHandle::local(id, Accepted::New, ticket)))
    }

    /// False if there is no room.
    fn reserve(&self, places: usize) -> Result<bool, PerformError> {
        self.pool.with(|pool| {
            if pool.book.stopping {
                return Err(PerformError::Stopped);
            }
            let room = pool.book.len() + places <= self.capacity();
            pool.book.reserved += if room { places } else { 0 };
            Ok(room)
        })
    }

    fn enter_reserved(&self, job: Job) -> Option<JobHandle> {
        let id = job.id();
        let due = job.parts().scheduled_at.filter(|at| *at > self.engine().clock.now());
        let Some(due) = due else {
            return self.engine().follow(&self.pool, job).map(|ticket| JobHandle::local(id, Accepted::New, ticket));
        };
        let pending = Pending::new(job, Timers::at(due));
        let handle = JobHandle::local(id, Accepted::New, pending.ticket());
        self.pool.with(|pool| {
            pool.book.reserved -= 1;
            // One that is not due is dropped when the worker stops, also if that was just now.
            if !pool.book.stopping {
                pool.book.enter_later(pending, None);
            }
        });
        super::alarm::watch(&self.pool);
        self.engine().earlier.notify_one();
        Some(handle)
    }

    async fn watch(&self, mut status: GroupStatus, handles: Vec<JobHandle>, callback: Option<Job>, promise: Promise) {
        for handle in handles {
            let state = handle.outcome().await.ok().map(|outcome| state_of(&outcome));
            status.count(state);
        }
        let callback = callback.filter(|_| status.gone == 0).map(|callback| status.told(callback));
        match callback {
            Some(callback) => drop(self.engine().follow(&self.pool, callback)),
            None => self.pool.submit_all(|book| {
                book.reserved -= 1;
                None
            }),
        }
        promise.keep(Outcome::done().with_output(status.to_json()));
    }
}

fn state_of(outcome: &Outcome) -> JobState {
    if outcome.is_completed() {
        JobState::Completed
    } else if outcome.is_cancelled() {
        JobState::Cancelled
    } else {
        JobState::Discarded
    }
}
