//! Each call, to the store and to the model.

use std::time::Duration;

use super::both::{Both, Difference, failed, queue, same, schedule_name};
use super::op::{Ending, Filter, How, Op, Spec, Which};
use super::reference::{Entry, Held};
use super::seen::Seen;
use crate::clock::later;
use crate::store::{
    Change, ErrorRecord, Firing, JobFilter, LeaseKey, NewJob, Order, Retention, Settle, Settlement, StoredJob,
    StoredSchedule, Want,
};
use crate::{JobId, JobState, QueueFull, Schedule, Status};

impl Both {
    pub(super) async fn call(&mut self, op: &Op) -> Result<(), Difference> {
        match op {
            Op::Insert(jobs) => {
                let jobs = jobs.iter().map(|spec| self.job(spec)).collect();
                self.insert(jobs).await
            }
            Op::Repeat(which) => self.repeat(*which).await,
            Op::Lease { queues, limit, lease_for } => self.lease_some(queues, *limit, *lease_for).await,
            Op::Extend { leases, lease_for } => self.extend(leases, *lease_for).await,
            Op::Settle(endings) => self.settle(endings).await,
            Op::Progress(of) => self.set_progress(of).await,
            Op::Rescue { limit, max_crashes } => self.rescue(*limit, *max_crashes).await,
            Op::Prune { after, limit } => self.prune(*after, *limit).await,
            Op::Wait(seconds) => {
                self.wait(*seconds);
                Ok(())
            }
            Op::PutSchedule { .. }
            | Op::Fire { .. }
            | Op::PauseSchedule(_)
            | Op::ResumeSchedule(_)
            | Op::RemoveSchedule(_) => self.call_schedule(op).await,
            _ => self.call_inspect(op).await,
        }
    }

    async fn insert(&mut self, jobs: Vec<NewJob>) -> Result<(), Difference> {
        let full = |full: &QueueFull| (full.queue.clone(), full.capacity, full.given);
        let answers = match self.store.insert(jobs.clone()).await {
            Err(error) => Err(error.queue_full().map(full).ok_or_else(|| failed(error))?),
            Ok(answers) => Ok(answers),
        };
        same("insert", &answers, &self.model.insert_within(jobs).as_ref().map_err(full).cloned())
    }

    async fn repeat(&mut self, which: Which) -> Result<(), Difference> {
        let id = self.id(which);
        let Some(job) = self.jobs.iter().find(|job| job.parts.id == id).cloned() else { return Ok(()) };
        if self.model.find(id).is_none() {
            // It may be stored anew, and begin with the numbers of leases that it had before.
            self.leases.retain(|(key, _)| key.id != id);
        }
        self.insert(vec![job]).await
    }

    async fn lease_some(&mut self, queues: &[u8], limit: usize, lease_for: u64) -> Result<(), Difference> {
        let queues: Vec<_> = queues.iter().copied().map(queue).collect();
        let lease_for = Duration::from_secs(lease_for);
        let want =
            Want { queues: queues.clone(), limit, lease_for, worker: super::WORKER.to_owned(), ..Want::default() };
        let leased = self.store.lease(want).await.map_err(failed)?;
        let until = later(self.model.now, lease_for);
        let (held, next) = self.model.lease(&queues, limit, until);
        let ids = |(id, _): &Held| *id;
        let taken: Vec<JobId> = leased.jobs.iter().map(|lease| lease.key.id).collect();
        same("leased", &taken, &held.iter().map(ids).collect())?;
        same("the time until the next job is due", &leased.next_due_in, &next)?;
        for (lease, held) in leased.jobs.into_iter().zip(held) {
            let kept = self.model.find(held.0).map(|job| job.stored.clone()).ok_or("the model lost a job")?;
            let expected = (kept.job.args.clone(), kept.attempt, Some(until), kept.created_at);
            let found = (lease.job.args.clone(), lease.attempt, Some(lease.until), lease.created_at);
            same("a lease", &found, &expected)?;
            let mut told = StoredJob { job: lease.job, ..kept.clone() };
            told.job.parts.max_attempts = told.job.parts.max_attempts.or(kept.job.parts.max_attempts);
            same("the job of a lease", &Seen::of(&told), &Seen::of(&kept))?;
            let earlier = self.leases.iter().filter(|(key, _)| key.id == held.0).map(|(key, _)| key.fence).max();
            if earlier.is_some_and(|fence| fence >= lease.key.fence) {
                return Err(format!("{:?} comes after {earlier:?}", lease.key));
            }
            self.leases.push((lease.key, held));
        }
        Ok(())
    }

    async fn extend(&mut self, leases: &[Which], lease_for: u64) -> Result<(), Difference> {
        let lease_for = Duration::from_secs(lease_for);
        let leases: Vec<_> = leases.iter().map(|which| self.lease(*which)).collect();
        let keys = leases.iter().map(|(key, _)| *key).collect();
        let answers = self.store.extend(keys, lease_for).await.map_err(failed)?;
        let until = later(self.model.now, lease_for);
        let held = leases.into_iter().filter(|(_, held)| held.is_some_and(|held| self.model.extend(held, until)));
        same("extended", &answers, &held.map(|(key, _)| key).collect())
    }

    async fn settle(&mut self, endings: &[Ending]) -> Result<(), Difference> {
        let done: Vec<_> = endings.iter().map(|ending| self.ending(ending)).collect();
        let answers = self.store.settle(done.iter().map(|(_, done)| done.clone()).collect()).await.map_err(failed)?;
        same("settled", &answers, &self.model.settle(done))
    }

    fn ending(&mut self, ending: &Ending) -> (Option<Held>, Settle) {
        let (key, held) = self.lease(ending.lease);
        let (status, settlement) = match ending.how {
            How::Complete => (Status::SUCCESS, Settlement::Complete { output: Some("7".into()) }),
            How::Retry(at) => (Status::INTERNAL_ERROR, Settlement::Retry { at: self.after(at) }),
            How::Snooze(at) => (Status::TOO_MANY, Settlement::Snooze { at: self.after(at) }),
            How::Discard => (Status::BAD_REQUEST, Settlement::Discard),
            How::Cancel => (Status::CANCELLED, Settlement::Cancel),
        };
        let error = ending.error.then(|| ErrorRecord::new("it broke").with_backtrace("here"));
        let then = ending.then.iter().map(|spec| self.job(spec)).collect();
        (held, Settle { key, status, settlement, error, then })
    }

    async fn set_progress(&mut self, of: &[(Which, u8)]) -> Result<(), Difference> {
        let mut given: Vec<((LeaseKey, Option<Held>), f32)> = Vec::new();
        for (which, percent) in of {
            let lease = self.lease(*which);
            // Two of one lease at once have no order.
            if given.iter().all(|(other, _)| other.0 != lease.0) {
                given.push((lease, f32::from(*percent) / 100.0));
            }
        }
        let of = given;
        self.store.set_progress(of.iter().map(|((key, _), done)| (*key, *done)).collect()).await.map_err(failed)?;
        for ((_, held), done) in of {
            held.into_iter().for_each(|held| self.model.set_progress(held, done));
        }
        Ok(())
    }

    /// The store may choose among those whose leases ended at the same time.
    async fn rescue(&mut self, limit: usize, max_crashes: u32) -> Result<(), Difference> {
        let mut expired = self.model.expired();
        let answer = self.store.rescue(limit, max_crashes).await.map_err(failed)?;
        if expired.len() > limit {
            let kept = self.all().await?;
            let runs = |id| kept.iter().any(|job| job.job.parts.id == id && job.state == JobState::Running);
            let (left, taken): (Vec<_>, Vec<_>) = expired.into_iter().partition(|(_, id)| runs(*id));
            same("how many were rescued", &taken.len(), &limit)?;
            if let (Some((last, _)), Some((first, _))) = (taken.last(), left.first())
                && last > first
            {
                return Err(format!("{last:?} was rescued, but not {first:?}"));
            }
            expired = taken;
        }
        let ids: Vec<JobId> = expired.into_iter().map(|(_, id)| id).collect();
        same("rescued", &answer, &self.model.rescue(&ids, max_crashes))
    }

    /// The store may choose which ones it forgets first, and go on where it was the last time: after two calls that got to
    /// the end, nothing is left.
    async fn prune(&mut self, after: u64, limit: usize) -> Result<(), Difference> {
        let keep = Duration::from_secs(after);
        let retention = Retention::default().completed(keep).discarded(keep.saturating_mul(2)).cancelled(keep);
        let old = self.model.old(retention);
        let (mut forgotten, mut at_end) = (0, 0);
        while at_end < 2 {
            let answer = self.store.prune(retention, limit).await.map_err(failed)?;
            if answer > limit as u64 {
                return Err(format!("{answer} were forgotten; the limit is {limit}"));
            }
            forgotten += answer;
            at_end += usize::from(answer < limit as u64);
        }
        same("how many were forgotten", &forgotten, &(old.len() as u64))?;
        old.into_iter().for_each(|id| _ = self.model.delete(id));
        Ok(())
    }

    async fn call_inspect(&mut self, op: &Op) -> Result<(), Difference> {
        let store = self.store.clone();
        match op {
            Op::Cancel(which) => {
                let ids: Vec<JobId> = which.iter().map(|which| self.id(*which)).collect();
                let answers = store.cancel(ids.clone()).await.map_err(failed)?;
                same("cancelled", &answers, &ids.into_iter().map(|id| self.model.cancel(id)).collect())
            }
            Op::Delete(which) => {
                let ids: Vec<JobId> = which.iter().map(|which| self.id(*which)).collect();
                let answers = store.delete(ids.clone()).await.map_err(failed)?;
                same("deleted", &answers, &ids.into_iter().map(|id| self.model.delete(id)).collect())
            }
            Op::Retry(which) => {
                let id = self.id(*which);
                same("retried", &store.retry(id).await.map_err(failed)?, &self.model.retry(id))
            }
            Op::RunNow(which) => {
                let id = self.id(*which);
                same("due now", &store.run_now(id).await.map_err(failed)?, &self.model.run_now(id))
            }
            Op::Edit(which) => {
                let id = self.id(*which);
                let answer = store.edit(id, "[\"edited\"]".into()).await.map_err(failed)?;
                same("edited", &answer, &self.model.edit(id, b"[\"edited\"]"))
            }
            Op::Get(which) => {
                let found = store.get(self.id(*which)).await.map_err(failed)?;
                let kept = self.model.find(self.id(*which)).map(|job| Seen::of(&job.stored));
                same("one job", &found.as_ref().map(Seen::of), &kept)
            }
            Op::ChangeAll { change, of, limit } => self.change_all(*change, of, *limit).await,
            Op::List { of, newest_first, limit } => self.list_some(of, *newest_first, *limit).await,
            Op::Pause(n) => {
                let worked = !self.model.paused.contains_key(&queue(*n));
                self.model.paused.entry(queue(*n)).or_insert(self.model.now);
                same("paused", &store.pause(queue(*n)).await.map_err(failed)?, &worked)
            }
            Op::Bound(n, jobs) => {
                let before = match jobs {
                    Some(jobs) => self.model.capacities.insert(queue(*n), *jobs),
                    None => self.model.capacities.remove(&queue(*n)),
                };
                same("capacity", &store.bound_queue(queue(*n), *jobs).await.map_err(failed)?, &before)
            }
            Op::Resume(n) => {
                let paused = self.model.paused.remove(&queue(*n)).is_some();
                same("resumed", &store.resume(queue(*n)).await.map_err(failed)?, &paused)
            }
            _ => Err("nobody makes this call".to_owned()),
        }
    }

    async fn change_all(&mut self, change: Change, of: &Filter, limit: usize) -> Result<(), Difference> {
        let filter = self.filter(of);
        let answer = self.store.change_all(change, filter.clone(), limit).await.map_err(failed)?;
        same("changed", &answer, &self.model.change_all(change, &filter, limit))
    }

    async fn list_some(&mut self, of: &Filter, newest_first: bool, limit: usize) -> Result<(), Difference> {
        let filter = self.filter(of);
        let order = if newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let listed = self.list(filter.clone(), order, limit).await?;
        let listed: Vec<JobId> = listed.iter().map(|job| job.job.parts.id).collect();
        let mut kept: Vec<JobId> =
            self.model.jobs.iter().filter(|job| filter.fits(&job.stored)).map(Entry::id).collect();
        let count = self.store.counts(filter).await.map_err(failed)?.total();
        same("how many are of a filter", &count, &(kept.len() as u64))?;
        if newest_first {
            kept.reverse();
        }
        same("listed", &listed, &kept)
    }

    fn filter(&self, of: &Filter) -> JobFilter {
        let mut filter = JobFilter::all();
        filter.queues.extend(of.queue.map(queue));
        filter.states.extend(of.state);
        filter.tags.extend(of.tag.then(|| "t".to_owned()));
        filter.error_contains = of.error.then(|| "BROKE".to_owned());
        let since = |seconds: u64| self.after(-i64::try_from(seconds).unwrap_or_default());
        if let Some(seconds) = of.created {
            filter = filter.created(since(seconds)..);
        }
        if let Some(seconds) = of.finished {
            filter = filter.finished(since(seconds)..=self.model.now);
        }
        filter
    }

    async fn call_schedule(&mut self, op: &Op) -> Result<(), Difference> {
        let store = self.store.clone();
        match op {
            Op::PutSchedule { name, every, overlap, job } => {
                let times = Schedule::every(Duration::from_secs(*every)).expect("an interval").overlap(*overlap);
                // What a schedule does not keep of its job.
                let spec = Spec { due: None, expires: None, ..job.clone() };
                let job = self.job(&spec);
                self.jobs.pop();
                let schedule = StoredSchedule::of(schedule_name(*name), job, &times);
                store.put_schedule(schedule.clone()).await.map_err(failed)?;
                self.model.put_schedule(schedule);
                Ok(())
            }
            Op::Fire { name, stale, jobs } => {
                let jobs = jobs.iter().map(|spec| self.job(spec)).collect();
                let name = schedule_name(*name);
                let last = self.model.schedules.get(&name).and_then(|schedule| schedule.last_slot);
                let planned_after = if *stale { Some(self.after(-1_000)) } else { last };
                let due = Firing { schedule: name, planned_after, slot: self.model.now, jobs };
                let fired = store.fire(vec![due.clone()]).await.map_err(failed)?;
                same("fired", &fired, &vec![self.model.fire(due)])
            }
            Op::PauseSchedule(n) => {
                let now = self.model.now;
                let answer = store.pause_schedule(schedule_name(*n)).await.map_err(failed)?;
                let schedule = self.model.schedules.get_mut(&schedule_name(*n));
                let schedule = schedule.filter(|schedule| schedule.paused_at.is_none());
                same("paused", &answer, &schedule.map(|schedule| schedule.paused_at = Some(now)).is_some())
            }
            Op::ResumeSchedule(n) => {
                let answer = store.resume_schedule(schedule_name(*n)).await.map_err(failed)?;
                same("resumed", &answer, &self.model.resume_schedule(&schedule_name(*n)))
            }
            Op::RemoveSchedule(n) => {
                let answer = store.remove_schedule(schedule_name(*n)).await.map_err(failed)?;
                same("removed", &answer, &self.model.schedules.remove(&schedule_name(*n)).is_some())
            }
            _ => Err("nobody makes this call".to_owned()),
        }
    }
}
