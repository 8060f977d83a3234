//! The model: a list of jobs in the order of their arrival. Everything is found by going through it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::later;
use crate::store::{
    AttemptRecord, CancelOutcome, Change, DeleteOutcome, ErrorRecord, Fired, Firing, GROUP_KIND, Inserted, JobFilter,
    NewJob, QueueInfo, Rescued, Retention, Settle, Settled, Settlement, StoredJob, StoredSchedule, on_error_job,
};
use crate::{
    DEFAULT_MAX_ATTEMPTS, JobId, JobState, OnConflict, Overlap, Queue, QueueFull, Status, Unique, UniqueScope,
};

#[derive(Debug, Clone, Default)]
pub(super) struct Reference {
    pub(super) now: DateTime<Utc>,
    pub(super) jobs: Vec<Entry>,
    pub(super) paused: BTreeMap<Queue, DateTime<Utc>>,
    pub(super) capacities: BTreeMap<Queue, u32>,
    pub(super) schedules: BTreeMap<String, StoredSchedule>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) stored: StoredJob,
    /// How often it was leased.
    pub(super) leases: u64,
    /// It was asked to stop, which stays with it until it ends.
    stop: bool,
}

/// A lease, as the model knows it: of which job, and which one of that job.
pub(super) type Held = (JobId, u64);

impl Entry {
    pub(super) fn id(&self) -> JobId {
        self.stored.job.parts.id
    }

    fn is(&self, state: JobState) -> bool {
        self.stored.state == state
    }

    fn due(&self) -> DateTime<Utc> {
        self.stored.job.parts.scheduled_at.unwrap_or_default()
    }

    fn holds(&self, key: &str) -> bool {
        let unique = self.stored.job.parts.unique.as_ref().filter(|unique| unique.key() == key);
        unique.is_some_and(|unique| !self.stored.state.is_terminal() || unique.scope() != UniqueScope::WhileActive)
    }

    fn record(&mut self, status: Status, error: ErrorRecord, at: DateTime<Utc>) {
        self.stored.attempts.push(AttemptRecord { attempt: self.stored.attempt, status, error, at });
    }

    fn make_available(&mut self, at: DateTime<Utc>) {
        self.stored.state = JobState::Available;
        self.stored.job.parts.scheduled_at = Some(at);
        (self.stored.lease_until, self.stored.finished_at) = (None, None);
        (self.stored.progress, self.stored.progress_at) = (None, None);
        self.stored.stopping = false;
    }

    fn end(&mut self, state: JobState, status: Status, now: DateTime<Utc>) {
        (self.stored.state, self.stored.status) = (state, Some(status));
        (self.stored.finished_at, self.stored.lease_until) = (Some(now), None);
        (self.stored.stopping, self.stop) = (false, false);
    }
}

impl Reference {
    pub(super) fn find(&mut self, id: JobId) -> Option<&mut Entry> {
        self.jobs.iter_mut().find(|job| job.id() == id)
    }

    fn current(&mut self, (id, nth): Held) -> Option<&mut Entry> {
        self.find(id).filter(|job| job.is(JobState::Running) && job.leases == nth)
    }

    /// All, or nothing has happened.
    pub(super) fn insert_within(&mut self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>, QueueFull> {
        let before = self.clone();
        let queues: Vec<Queue> = jobs.iter().map(|job| job.parts.queue.clone()).collect();
        let answers: Vec<Inserted> = jobs.into_iter().map(|job| self.insert(job)).collect();
        for (queue, capacity) in &before.capacities {
            let new = |(of, answer): &(&Queue, &Inserted)| *of == queue && matches!(answer, Inserted::New(_));
            let given = queues.iter().zip(&answers).filter(new).count() as u64;
            let depth = before.depth(queue);
            if given > 0 && depth + given > u64::from(*capacity) {
                let full = QueueFull::new(queue.clone(), *capacity, depth, given);
                *self = before;
                return Err(full);
            }
        }
        Ok(answers)
    }

    fn depth(&self, queue: &Queue) -> u64 {
        let open = self.jobs.iter().filter(|job| !job.stored.state.is_terminal());
        open.filter(|job| job.stored.job.parts.queue == *queue).count() as u64
    }

    pub(super) fn insert(&mut self, mut job: NewJob) -> Inserted {
        let (id, now) = (job.parts.id, self.now);
        if self.find(id).is_some() {
            return Inserted::Duplicate(id);
        }
        if let Some(unique) = job.parts.unique.clone()
            && let Some(holder) = self.jobs.iter_mut().find(|held| held.holds(unique.key()))
        {
            let stored = &mut holder.stored;
            let is_over = |window: Duration| later(stored.created_at, window) <= now;
            if stored.state.is_terminal() && unique.window().is_some_and(is_over) {
                stored.job.parts.unique = Some(Unique::new(unique.key()));
            } else {
                if unique.conflict() == OnConflict::ReplaceArgs && stored.state == JobState::Available {
                    stored.job.args = job.args;
                }
                return Inserted::Duplicate(holder.id());
            }
        }
        job.parts.max_attempts.get_or_insert(DEFAULT_MAX_ATTEMPTS);
        job.parts.scheduled_at.get_or_insert(now);
        self.jobs.push(Entry { stored: StoredJob::new(job, now), leases: 0, stop: false });
        Inserted::New(id)
    }

    /// The place of the next job of a queue that is due.
    fn next_due(&self, queue: &Queue) -> Option<usize> {
        let ready =
            |job: &Entry| job.is(JobState::Available) && job.stored.job.parts.queue == *queue && job.due() <= self.now;
        let ready = self.jobs.iter().enumerate().filter(|(_, job)| ready(job));
        ready.min_by_key(|(place, job)| (job.stored.job.parts.priority, job.due(), *place)).map(|(place, _)| place)
    }

    /// Answers what was leased, and when the next job is due.
    pub(super) fn lease(
        &mut self,
        queues: &[Queue],
        limit: usize,
        until: DateTime<Utc>,
    ) -> (Vec<Held>, Option<Duration>) {
        let mut leased = Vec::new();
        let queues: Vec<&Queue> = queues.iter().filter(|queue| !self.paused.contains_key(*queue)).collect();
        for queue in &queues {
            while leased.len() < limit
                && let Some(place) = self.next_due(queue)
            {
                leased.extend(self.take(place, until));
            }
        }
        if leased.len() == limit {
            return (leased, None);
        }
        let waits = |job: &&Entry| job.is(JobState::Available) && queues.contains(&&job.stored.job.parts.queue);
        let next = self.jobs.iter().filter(waits).map(Entry::due).min();
        (leased, next.map(|at| (at - self.now).to_std().unwrap_or_default()))
    }

    fn take(&mut self, place: usize, until: DateTime<Utc>) -> Option<Held> {
        let now = self.now;
        let job = &mut self.jobs[place];
        let parts = &job.stored.job.parts;
        let (most, attempt) = (parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS), job.stored.attempt + 1);
        if parts.expires_at.is_some_and(|at| at <= now) {
            self.give_up(place, Status::BAD_REQUEST, ErrorRecord::new("it expired before it started"));
            return None;
        }
        if attempt > most {
            let why = format!("this would be attempt {attempt} of at most {most}");
            self.give_up(place, Status::BAD_REQUEST, ErrorRecord::new(why));
            return None;
        }
        (job.stored.state, job.stored.attempt, job.stored.lease_until) = (JobState::Running, attempt, Some(until));
        job.stored.worker = Some(super::WORKER.to_owned());
        job.stored.stopping = job.stop;
        job.leases += 1;
        Some((job.id(), job.leases))
    }

    /// Makes a dead letter of a job whose runner does not say so itself.
    fn give_up(&mut self, place: usize, status: Status, error: ErrorRecord) {
        let now = self.now;
        let job = &mut self.jobs[place];
        let follow = on_error_job(&job.stored.job.parts, status, job.stored.attempt, &error);
        job.record(status, error, now);
        job.end(JobState::Discarded, status, now);
        if let Some(follow) = follow {
            self.insert(follow);
        }
    }

    pub(super) fn extend(&mut self, held: Held, until: DateTime<Utc>) -> bool {
        let Some(job) = self.current(held).filter(|job| !job.stored.stopping) else { return false };
        job.stored.lease_until = Some(until);
        true
    }

    pub(super) fn set_progress(&mut self, held: Held, done: f32) {
        let now = self.now;
        if let Some(job) = self.current(held) {
            (job.stored.progress, job.stored.progress_at) = (Some(done), Some(now));
        }
    }

    /// All of them end before anything that follows is inserted.
    pub(super) fn settle(&mut self, done: Vec<(Option<Held>, Settle)>) -> Vec<Settled> {
        let mut follow = Vec::new();
        let mut answers = Vec::new();
        for (held, done) in done {
            let answer = held.map_or(Settled::Lost, |held| self.settle_one(held, &done));
            if answer == Settled::Done {
                follow.extend(done.then);
            }
            answers.push(answer);
        }
        follow.into_iter().for_each(|job| _ = self.insert(job));
        answers
    }

    fn settle_one(&mut self, held: Held, done: &Settle) -> Settled {
        let (now, status) = (self.now, done.status);
        let Some(job) = self.current(held) else { return Settled::Lost };
        job.stored.status = Some(status);
        if matches!(done.settlement, Settlement::Snooze { .. }) {
            job.stored.attempt -= 1;
        }
        if let Some(error) = &done.error {
            job.record(status, error.clone(), now);
        }
        match &done.settlement {
            Settlement::Retry { at } | Settlement::Snooze { at } => job.make_available(*at),
            Settlement::Discard => job.end(JobState::Discarded, status, now),
            Settlement::Cancel => job.end(JobState::Cancelled, status, now),
            Settlement::Complete { output } => {
                job.stored.output.clone_from(output);
                job.end(JobState::Completed, status, now);
            }
        }
        Settled::Done
    }

    /// Jobs whose lease has ended, with its end.
    pub(super) fn expired(&self) -> Vec<(DateTime<Utc>, JobId)> {
        let running = self.jobs.iter().filter(|job| job.is(JobState::Running));
        let mut ends: Vec<_> = running.filter_map(|job| Some((job.stored.lease_until?, job.id()))).collect();
        ends.retain(|(until, _)| *until < self.now);
        ends.sort_by_key(|(until, _)| *until);
        ends
    }

    pub(super) fn rescue(&mut self, ids: &[JobId], max_crashes: u32) -> Rescued {
        let (now, mut rescued) = (self.now, Rescued::default());
        for id in ids {
            let Some(place) = self.jobs.iter().position(|job| job.id() == *id) else { continue };
            let job = &mut self.jobs[place];
            job.stored.crashes += 1;
            let error = ErrorRecord::new("crashed: the attempt ended without a report");
            let is_group = job.stored.job.parts.kind.as_str() == GROUP_KIND;
            if job.stored.stopping {
                job.record(Status::INTERNAL_ERROR, error, now);
                job.end(JobState::Cancelled, Status::CANCELLED, now);
            } else if job.stored.crashes >= max_crashes && !is_group {
                self.give_up(place, Status::INTERNAL_ERROR, error);
                rescued.discarded += 1;
            } else {
                job.record(Status::INTERNAL_ERROR, error, now);
                job.stored.attempt -= 1;
                job.make_available(job.due());
                rescued.available += 1;
            }
        }
        rescued
    }

    pub(super) fn cancel(&mut self, id: JobId) -> CancelOutcome {
        let now = self.now;
        let Some(job) = self.find(id) else { return CancelOutcome::NotFound };
        match job.stored.state {
            JobState::Available => {
                job.end(JobState::Cancelled, Status::CANCELLED, now);
                CancelOutcome::Cancelled
            }
            JobState::Running => {
                (job.stored.stopping, job.stop) = (true, true);
                CancelOutcome::Requested
            }
            _ => CancelOutcome::Ended,
        }
    }

    pub(super) fn retry(&mut self, id: JobId) -> bool {
        let now = self.now;
        let Some(job) = self.find(id).filter(|job| job.is(JobState::Discarded) || job.is(JobState::Cancelled)) else {
            return false;
        };
        let key = job.stored.job.parts.unique.as_ref().map(|unique| unique.key().to_owned());
        if key.is_some_and(|key| self.jobs.iter().any(|job| job.id() != id && job.holds(&key))) {
            return false;
        }
        let Some(job) = self.find(id) else { return false };
        let most = job.stored.job.parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS);
        job.stored.job.parts.max_attempts = Some(most.max(job.stored.attempt + 1));
        job.stored.crashes = 0;
        job.make_available(now);
        true
    }

    pub(super) fn run_now(&mut self, id: JobId) -> bool {
        let now = self.now;
        let Some(job) = self.find(id).filter(|job| job.is(JobState::Available)) else { return false };
        job.stored.job.parts.scheduled_at = Some(job.due().min(now));
        true
    }

    pub(super) fn edit(&mut self, id: JobId, args: &[u8]) -> bool {
        let Some(job) = self.find(id).filter(|job| !job.is(JobState::Running)) else { return false };
        job.stored.job.args = args.to_vec().into();
        true
    }

    pub(super) fn delete(&mut self, id: JobId) -> DeleteOutcome {
        match self.jobs.iter().position(|job| job.id() == id) {
            None => DeleteOutcome::NotFound,
            Some(place) if self.jobs[place].is(JobState::Running) => DeleteOutcome::Running,
            Some(place) => {
                self.jobs.remove(place);
                DeleteOutcome::Deleted
            }
        }
    }

    pub(super) fn change_all(&mut self, change: Change, filter: &JobFilter, limit: usize) -> u64 {
        let Some(filter) = change.narrowed(filter.clone()) else { return 0 };
        let ids: Vec<JobId> = self.jobs.iter().filter(|job| filter.fits(&job.stored)).map(Entry::id).collect();
        let changed = ids.into_iter().filter(|id| match change {
            Change::Retry => self.retry(*id),
            Change::Cancel => self.cancel(*id).is_change(),
            Change::Delete => self.delete(*id) == DeleteOutcome::Deleted,
        });
        changed.take(limit).count() as u64
    }

    /// Jobs that are no longer to be kept.
    pub(super) fn old(&self, retention: Retention) -> Vec<JobId> {
        let is_old = |job: &&Entry| {
            let until = retention.until(job.stored.state, self.now);
            until.zip(job.stored.finished_at).is_some_and(|(until, at)| at < until)
        };
        self.jobs.iter().filter(is_old).map(Entry::id).collect()
    }

    pub(super) fn queues(&self) -> Vec<QueueInfo> {
        let mut queues = BTreeMap::<Queue, QueueInfo>::new();
        let named = |queue: &Queue| (queue.clone(), QueueInfo::new(queue.clone()));
        queues.extend(self.paused.keys().chain(self.capacities.keys()).map(named));
        let kept = || self.jobs.iter().filter(|job| !job.is(JobState::Completed));
        queues.extend(kept().map(|job| named(&job.stored.job.parts.queue)));
        for info in queues.values_mut() {
            info.paused_at = self.paused.get(&info.queue).copied();
            info.capacity = self.capacities.get(&info.queue).copied();
            for job in kept().filter(|job| job.stored.job.parts.queue == info.queue) {
                *info.counts.0.entry(job.stored.state).or_default() += 1;
                let waits = (self.now - job.due()).to_std().ok().filter(|_| job.is(JobState::Available));
                info.oldest_ready_for = info.oldest_ready_for.max(waits);
            }
        }
        queues.into_values().collect()
    }

    pub(super) fn put_schedule(&mut self, mut new: StoredSchedule) {
        new.created_at = self.now;
        if let Some(known) = self.schedules.get(&new.name) {
            (new.paused_at, new.last_job) = (known.paused_at, known.last_job);
            if known.schedule == new.schedule {
                (new.created_at, new.last_slot) = (known.created_at, known.last_slot);
            }
        }
        self.schedules.insert(new.name.clone(), new);
    }

    pub(super) fn fire(&mut self, due: Firing) -> Fired {
        let Some(schedule) = self.schedules.get_mut(&due.schedule) else { return Fired::Lost };
        if schedule.paused_at.is_some() || schedule.last_slot != due.planned_after {
            return Fired::Lost;
        }
        schedule.last_slot = Some(due.slot);
        let (overlap, last) = (schedule.overlap, schedule.last_job);
        let goes_on = last.filter(|id| self.find(*id).is_some_and(|job| !job.stored.state.is_terminal()));
        if let Some(last) = goes_on.filter(|_| !due.jobs.is_empty()) {
            match overlap {
                Overlap::Skip => return Fired::Done(Vec::new()),
                Overlap::Allow => {}
                Overlap::Cancel => _ = self.cancel(last),
            }
        }
        let made: Vec<Inserted> = due.jobs.into_iter().map(|job| self.insert(job)).collect();
        if let (Some(schedule), Some(last)) = (self.schedules.get_mut(&due.schedule), made.last()) {
            schedule.last_job = Some(last.id());
        }
        Fired::Done(made.into_iter().filter(|made| matches!(made, Inserted::New(_))).map(Inserted::id).collect())
    }

    /// Answers whether it was paused.
    pub(super) fn resume_schedule(&mut self, name: &str) -> bool {
        let now = self.now;
        let Some(schedule) = self.schedules.get_mut(name) else { return false };
        if schedule.paused_at.take().is_none() {
            return false;
        }
        schedule.last_slot = schedule.last_slot.max(Some(now));
        true
    }
}
