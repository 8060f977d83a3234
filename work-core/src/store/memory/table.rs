use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::keys::Claim;
use crate::clock::later;
use crate::limit::{Rate, Taken};
use crate::store::{
    AttemptRecord, CancelOutcome, ErrorRecord, Fence, GROUP_KIND, Inserted, Lease, LeaseKey, NewJob, Rescued, Settle,
    Settled, Settlement, StoredJob, StoredSchedule, Want, WorkerInfo, on_error_job,
};
use crate::{JobId, JobState, Queue, RetryPolicy, Status, UniqueScope};

#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<i64, Row>,
    pub(super) by_id: HashMap<JobId, i64>,
    pub(super) by_key: HashMap<String, i64>,
    /// Jobs that wait until the holder of their key has ended. They are in no other map of what waits.
    pub(super) after: HashMap<String, i64>,
    /// What can be leased, in the order to do it.
    pub(super) ready: BTreeSet<(Queue, u8, DateTime<Utc>, i64)>,
    leases: BTreeSet<(DateTime<Utc>, i64)>,
    /// Rows that run and were asked to stop.
    stopping: BTreeSet<i64>,
    /// Since when.
    pub(super) paused: BTreeMap<Queue, DateTime<Utc>>,
    /// How many jobs may be leased at once.
    pub(super) limits: BTreeMap<Queue, u32>,
    /// How many jobs may wait or run.
    pub(super) capacities: BTreeMap<Queue, u32>,
    /// How many jobs may start in a time, and what was taken of that, by the name of the bucket.
    pub(super) rates: BTreeMap<Queue, Rate>,
    pub(super) taken: HashMap<String, Taken>,
    /// Queues whose names begin so are never pruned.
    pub(super) kept: BTreeSet<Queue>,
    pub(super) workers: BTreeMap<String, WorkerInfo>,
    pub(super) schedules: BTreeMap<String, StoredSchedule>,
}

pub(super) struct Row {
    pub(super) stored: StoredJob,
    fence: u64,
    until: DateTime<Utc>,
    /// It was asked to stop, which stays with it until it ends.
    stop: bool,
}

impl Row {
    /// When it is due.
    pub(super) fn due(&self) -> DateTime<Utc> {
        self.stored.job.parts.scheduled_at.unwrap_or(self.stored.created_at)
    }

    /// Where it is among the jobs that can be leased.
    pub(super) fn place(&self, seq: i64) -> (Queue, u8, DateTime<Utc>, i64) {
        let parts = &self.stored.job.parts;
        (parts.queue.clone(), parts.priority, self.due(), seq)
    }
}

impl Table {
    pub(super) fn insert(&mut self, job: NewJob, now: DateTime<Utc>) -> Inserted {
        let id = job.parts.id;
        if self.by_id.contains_key(&id) {
            return Inserted::Duplicate(id);
        }
        let seq = self.rows.last_key_value().map_or(1, |(seq, _)| seq + 1);
        let claim = job.parts.unique.as_ref().map_or(Claim::Holds, |unique| self.claim(seq, unique, &job, now));
        if let Claim::HeldBy(holder) = claim {
            return Inserted::Duplicate(holder);
        }
        let scheduled_at = job.parts.scheduled_at.unwrap_or(now);
        let mut stored = StoredJob::new(job, now);
        stored.job.parts.max_attempts.get_or_insert(crate::DEFAULT_MAX_ATTEMPTS);
        stored.job.parts.scheduled_at = Some(scheduled_at);
        self.by_id.insert(id, seq);
        self.rows.insert(seq, Row { stored, fence: 0, until: now, stop: false });
        if claim == Claim::Holds {
            self.make_available(seq, scheduled_at);
        }
        Inserted::New(id)
    }

    pub(super) fn find(&mut self, id: JobId) -> Option<(i64, &mut Row)> {
        let seq = *self.by_id.get(&id)?;
        self.rows.get_mut(&seq).map(|row| (seq, row))
    }

    pub(super) fn make_available(&mut self, seq: i64, at: DateTime<Utc>) {
        let Some(row) = self.rows.get_mut(&seq) else { return };
        self.leases.remove(&(row.until, seq));
        row.stored.state = JobState::Available;
        row.stored.lease_until = None;
        row.stored.progress = None;
        row.stored.progress_at = None;
        row.stored.stopping = false;
        self.stopping.remove(&seq);
        let parts = &mut row.stored.job.parts;
        parts.scheduled_at = Some(at);
        self.ready.insert((parts.queue.clone(), parts.priority, at, seq));
    }

    pub(super) fn end(&mut self, seq: i64, state: JobState, status: Status, now: DateTime<Utc>) {
        let Some(row) = self.rows.get_mut(&seq) else { return };
        let parts = &row.stored.job.parts;
        self.leases.remove(&(row.until, seq));
        self.stopping.remove(&seq);
        self.ready.remove(&row.place(seq));
        let unique = parts.unique.as_ref().filter(|unique| unique.scope() == UniqueScope::WhileActive).cloned();
        row.stored.state = state;
        row.stored.status = Some(status);
        row.stored.finished_at = Some(now);
        row.stored.lease_until = None;
        row.stored.stopping = false;
        row.stop = false;
        if let Some(unique) = unique {
            self.let_go(seq, &unique);
        }
    }

    /// Makes a dead letter of a job whose runner does not say so itself.
    fn dead(&mut self, seq: i64, status: Status, error: ErrorRecord, now: DateTime<Utc>) {
        let Some(row) = self.rows.get(&seq) else { return };
        let follow = on_error_job(&row.stored.job.parts, status, row.stored.attempt, &error);
        self.record(seq, status, error, now);
        self.end(seq, JobState::Discarded, status, now);
        if let Some(job) = follow {
            self.insert(job, now);
        }
    }

    pub(super) fn record(&mut self, seq: i64, status: Status, error: ErrorRecord, at: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(&seq) {
            let attempt = row.stored.attempt;
            row.stored.attempts.push(AttemptRecord { attempt, status, error, at });
        }
    }

    /// The next job of a queue that is due: of the first priority that has one, or with aging, of the one whose first job
    /// comes first.
    pub(super) fn next_due(&self, queue: &Queue, now: DateTime<Utc>, aging: Option<Duration>) -> Option<i64> {
        let mut due = (0..=crate::MAX_PRIORITY).filter_map(|priority| {
            let from = (queue.clone(), priority, DateTime::<Utc>::MIN_UTC, i64::MIN);
            let to = (queue.clone(), priority, now, i64::MAX);
            self.ready.range(from..=to).next().map(|(_, _, at, seq)| (priority, *at, *seq))
        });
        let found = match aging {
            None => due.next(),
            Some(step) => {
                due.min_by_key(|(priority, at, seq)| (later(*at, step.saturating_mul(u32::from(*priority))), *seq))
            }
        };
        found.map(|(.., seq)| seq)
    }

    /// How many jobs of a queue may be leased.
    pub(super) fn room(&self, queue: &Queue) -> usize {
        let Some(at_most) = self.limits.get(queue) else { return usize::MAX };
        let of_queue = |seq: &i64| self.rows.get(seq).is_some_and(|row| row.stored.job.parts.queue == *queue);
        let leased = self.leases.iter().filter(|(_, seq)| of_queue(seq)).count();
        (*at_most as usize).saturating_sub(leased)
    }

    /// When the next job of a queue that is not paused is due: one look a priority, however many jobs wait elsewhere.
    pub(super) fn next_at(&self, queue: &Queue) -> Option<DateTime<Utc>> {
        let first = |priority| {
            let from = (queue.clone(), priority, DateTime::<Utc>::MIN_UTC, i64::MIN);
            let to = (queue.clone(), priority, DateTime::<Utc>::MAX_UTC, i64::MAX);
            self.ready.range(from..=to).next().map(|(_, _, at, _)| *at)
        };
        if self.paused.contains_key(queue) { None } else { (0..=crate::MAX_PRIORITY).filter_map(first).min() }
    }

    pub(super) fn lease(&mut self, want: &Want, now: DateTime<Utc>) -> Vec<Lease> {
        let mut leased = Vec::new();
        for (queue, at_most) in want.turns() {
            if self.paused.contains_key(queue) {
                continue;
            }
            let (first, room) = (leased.len(), self.room(queue).min(self.permits(queue, now)));
            let most = first + at_most.min(room).min(want.limit - first);
            while leased.len() < most {
                let Some(seq) = self.next_due(queue, now, want.aging) else { break };
                leased.extend(self.take(seq, now, want));
            }
            self.take_permits(queue, now, leased.len() - first);
        }
        leased
    }

    pub(super) fn take(&mut self, seq: i64, now: DateTime<Utc>, want: &Want) -> Option<Lease> {
        let row = self.rows.get_mut(&seq)?;
        self.ready.remove(&row.place(seq));
        if row.stored.job.parts.expires_at.is_some_and(|at| at <= now) {
            self.dead(seq, Status::BAD_REQUEST, ErrorRecord::new("it expired before it started"), now);
            return None;
        }
        let (attempt, most) = (row.stored.attempt + 1, RetryPolicy::max_attempts(&row.stored.job));
        if attempt > most {
            let why = format!("this would be attempt {attempt} of at most {most}");
            self.dead(seq, Status::BAD_REQUEST, ErrorRecord::new(why), now);
            return None;
        }
        row.stored.state = JobState::Running;
        row.stored.attempt += 1;
        row.fence += 1;
        row.until = later(now, want.lease_for);
        row.stored.lease_until = Some(row.until);
        row.stored.worker = Some(want.worker.clone());
        row.stored.stopping = row.stop;
        if row.stop {
            self.stopping.insert(seq);
        }
        self.leases.insert((row.until, seq));
        Some(Lease {
            key: LeaseKey { id: row.stored.job.parts.id, fence: Fence(row.fence), row: seq },
            job: row.stored.job.clone(),
            attempt: row.stored.attempt,
            until: row.until,
            created_at: row.stored.created_at,
        })
    }

    /// The row of a lease that is current. The id is compared too: the number of the last row is given again when that is gone.
    pub(super) fn held(&mut self, key: &LeaseKey) -> Option<&mut Row> {
        let row = self.rows.get_mut(&key.row)?;
        let is_it = row.stored.job.parts.id == key.id && row.fence == key.fence.0;
        (row.stored.state == JobState::Running && is_it).then_some(row)
    }

    pub(super) fn is_completed(&self, key: &LeaseKey) -> bool {
        let row = self.rows.get(&key.row);
        row.is_some_and(|row| row.stored.state == JobState::Completed && row.fence == key.fence.0)
    }

    pub(super) fn extend(&mut self, key: &LeaseKey, until: DateTime<Utc>) -> bool {
        let Some(row) = self.held(key).filter(|row| !row.stored.stopping) else { return false };
        row.stored.lease_until = Some(until);
        let before = std::mem::replace(&mut row.until, until);
        self.leases.remove(&(before, key.row));
        self.leases.insert((until, key.row));
        true
    }

    pub(super) fn stop_requests(&self) -> Vec<LeaseKey> {
        let key =
            |(seq, row): (&i64, &Row)| LeaseKey { id: row.stored.job.parts.id, fence: Fence(row.fence), row: *seq };
        self.stopping.iter().filter_map(|seq| self.rows.get_key_value(seq)).map(key).collect()
    }

    pub(super) fn set_progress(&mut self, key: &LeaseKey, done: f32, now: DateTime<Utc>) {
        if let Some(row) = self.held(key) {
            row.stored.progress = Some(done);
            row.stored.progress_at = Some(now);
        }
    }

    /// All of them end before anything that follows is inserted.
    pub(super) fn settle(&mut self, done: Vec<Settle>, now: DateTime<Utc>) -> Vec<Settled> {
        let mut follow = Vec::new();
        let answers = done.into_iter().map(|mut done| {
            let then = std::mem::take(&mut done.then);
            let answer = self.settle_one(done, now);
            if answer == Settled::Done {
                follow.extend(then);
            }
            answer
        });
        let answers = answers.collect();
        follow.into_iter().for_each(|job| _ = self.insert(job, now));
        answers
    }

    fn settle_one(&mut self, done: Settle, now: DateTime<Utc>) -> Settled {
        let seq = done.key.row;
        let Some(row) = self.held(&done.key) else { return Settled::Lost };
        row.stored.status = Some(done.status);
        if let Settlement::Complete { output } = &done.settlement {
            row.stored.output.clone_from(output);
        }
        if matches!(done.settlement, Settlement::Snooze { .. }) {
            row.stored.attempt -= 1;
        }
        if let Some(error) = done.error {
            self.record(seq, done.status, error, now);
        }
        match done.settlement {
            Settlement::Retry { at } | Settlement::Snooze { at } => self.make_available(seq, at),
            Settlement::Complete { .. } => self.end(seq, JobState::Completed, done.status, now),
            Settlement::Discard => self.end(seq, JobState::Discarded, done.status, now),
            Settlement::Cancel => self.end(seq, JobState::Cancelled, done.status, now),
        }
        Settled::Done
    }

    pub(super) fn rescue(&mut self, limit: usize, max_crashes: u32, now: DateTime<Utc>) -> Rescued {
        let expired: Vec<i64> = self.leases.range(..(now, i64::MIN)).take(limit).map(|(_, seq)| *seq).collect();
        let mut rescued = Rescued::default();
        for seq in expired {
            let Some(row) = self.rows.get_mut(&seq) else { continue };
            row.stored.crashes += 1;
            let (crashes, at, cancelled) = (row.stored.crashes, row.due(), row.stored.stopping);
            let error = ErrorRecord::new("crashed: the attempt ended without a report");
            let group = row.stored.job.parts.kind.as_str() == GROUP_KIND;
            if !cancelled && !group && crashes >= max_crashes {
                self.dead(seq, Status::INTERNAL_ERROR, error, now);
                rescued.discarded += 1;
                continue;
            }
            self.record(seq, Status::INTERNAL_ERROR, error, now);
            if cancelled {
                self.end(seq, JobState::Cancelled, Status::CANCELLED, now);
            } else {
                if let Some(row) = self.rows.get_mut(&seq) {
                    row.stored.attempt -= 1;
                }
                self.make_available(seq, at);
                rescued.available += 1;
            }
        }
        rescued
    }

    pub(super) fn take_back(&mut self, worker: &str, held: &[LeaseKey]) -> u64 {
        let is_lost = |row: &Row| row.stored.worker.as_deref() == Some(worker) && !row.stored.stopping;
        let running = self.leases.iter().filter_map(|(_, seq)| Some((*seq, self.rows.get(seq)?)));
        let lost: Vec<(i64, DateTime<Utc>)> = running
            .filter(|(_, row)| is_lost(row) && !held.iter().any(|key| key.id == row.stored.job.parts.id))
            .map(|(seq, row)| (seq, row.due()))
            .collect();
        for (seq, at) in &lost {
            if let Some(row) = self.rows.get_mut(seq) {
                row.stored.attempt -= 1;
            }
            self.make_available(*seq, *at);
        }
        lost.len() as u64
    }

    pub(super) fn cancel(&mut self, id: JobId, now: DateTime<Utc>) -> CancelOutcome {
        let Some(seq) = self.by_id.get(&id).copied() else { return CancelOutcome::NotFound };
        let Some(row) = self.rows.get_mut(&seq) else { return CancelOutcome::NotFound };
        match row.stored.state {
            JobState::Available => {
                self.end(seq, JobState::Cancelled, Status::CANCELLED, now);
                CancelOutcome::Cancelled
            }
            JobState::Running => {
                row.stored.stopping = true;
                row.stop = true;
                self.stopping.insert(seq);
                CancelOutcome::Requested
            }
            _ => CancelOutcome::Ended,
        }
    }

    pub(super) fn retry(&mut self, id: JobId, now: DateTime<Utc>) -> bool {
        let Some(seq) = self.by_id.get(&id).copied() else { return false };
        let Some(row) = self.rows.get_mut(&seq) else { return false };
        if !matches!(row.stored.state, JobState::Discarded | JobState::Cancelled) {
            return false;
        }
        if let Some(unique) = &row.stored.job.parts.unique {
            let holder = *self.by_key.entry(unique.key().to_owned()).or_insert(seq);
            if holder != seq {
                return false;
            }
        }
        let attempts = RetryPolicy::max_attempts(&row.stored.job).max(row.stored.attempt + 1);
        row.stored.job.parts.max_attempts = Some(attempts);
        row.stored.finished_at = None;
        row.stored.crashes = 0;
        self.make_available(seq, now);
        true
    }
}
