//! A store and the model, side by side.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::op::{Key, Op, Scope, Spec, UNKNOWN, Which};
use super::reference::{Entry, Held, Reference};
use super::seen::{self, Seen};
use crate::store::{Counts, GROUP_KIND, Inspect, JobFilter, LeaseKey, NewJob, Order, StoredJob};
use crate::testing::conformance::MakeStore;
use crate::{Clock, Job, JobId, OnConflict, Queue, StoreError, Unique};

/// The store, the model, and what was made so far.
pub(super) struct Both {
    pub(super) store: Arc<dyn Inspect>,
    pub(super) clock: Clock,
    pub(super) model: Reference,
    pub(super) jobs: Vec<NewJob>,
    pub(super) leases: Vec<(LeaseKey, Held)>,
    made: u32,
}

/// What differs.
pub(super) type Difference = String;

/// Does all calls, and answers the first difference.
pub(super) async fn compare(make: &impl MakeStore, ops: &[Op]) -> Result<(), Difference> {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    let clock = Clock::manual(start);
    let store = make.make(clock.clone()).await;
    let model = Reference { now: start, ..Reference::default() };
    let mut both = Both { store, clock, model, jobs: Vec::new(), leases: Vec::new(), made: 0 };
    for (n, op) in ops.iter().enumerate() {
        let done = both.call(op).await;
        let done = match done {
            Ok(()) => both.contents().await,
            failed => failed,
        };
        done.map_err(|why| format!("call {n}, {op:?}:\n{why}"))?;
    }
    Ok(())
}

/// Compares what the store said with what the model says.
pub(super) fn same<T: Debug + PartialEq>(what: &str, store: &T, model: &T) -> Result<(), Difference> {
    if store == model { Ok(()) } else { Err(format!("{what}\n  store: {store:?}\n  model: {model:?}")) }
}

/// No call of a test is to fail.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn failed(error: StoreError) -> Difference {
    format!("the call failed: {error}")
}

pub(super) fn queue(n: u8) -> Queue {
    Queue::from(format!("q{n}"))
}

pub(super) fn schedule_name(n: u8) -> String {
    format!("s{n}")
}

impl Both {
    pub(super) fn after(&self, seconds: i64) -> DateTime<Utc> {
        self.model.now + TimeDelta::seconds(seconds)
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.model.now = self.clock.now();
    }

    /// A new number, and the id that has it.
    fn next_id(&mut self) -> (u32, JobId) {
        self.made += 1;
        (self.made, Uuid::from_u128(0x7000_8000_0000_0000_0000 + u128::from(self.made)).into())
    }

    pub(super) fn job(&mut self, spec: &Spec) -> NewJob {
        let (n, id) = self.next_id();
        let kind = if spec.group { GROUP_KIND } else { "test" };
        let mut job = Job::new(kind, n).with_id(id).queue(queue(spec.queue)).priority(spec.priority);
        if let Some(due) = spec.due {
            job = job.scheduled_at(self.after(due));
        }
        if let Some(expires) = spec.expires {
            job = job.expires_at(self.after(spec.due.unwrap_or_default() + expires));
        }
        if let Some(most) = spec.max_attempts {
            job = job.max_attempts(most);
        }
        if let Some(key) = &spec.unique {
            job = job.unique(unique(key));
        }
        if spec.tag {
            job = job.tag("t");
        }
        if spec.on_error {
            let (n, id) = self.next_id();
            // In a queue that nobody asks for: a store may also lease what it makes while it leases.
            job = job.on_error(Job::new("on-error", n).with_id(id).queue(queue(3)));
        }
        let job = job.into_stored(crate::DEFAULT_MAX_ARGS).expect("the test makes valid jobs");
        self.jobs.push(job.clone());
        job
    }

    /// A job that was made, or the id of none.
    pub(super) fn id(&self, which: Which) -> JobId {
        let job = from_end(&self.jobs, which).map(|job| job.parts.id);
        job.unwrap_or_else(|| Uuid::from_u128(u128::MAX).into())
    }

    /// A lease that was taken, or none.
    pub(super) fn lease(&self, which: Which) -> (LeaseKey, Option<Held>) {
        let none = LeaseKey { id: self.id(UNKNOWN), fence: crate::store::Fence(1), row: 1 };
        from_end(&self.leases, which).map_or((none, None), |(key, held)| (*key, Some(*held)))
    }

    /// All jobs that the store holds, in the order of their arrival.
    pub(super) async fn all(&self) -> Result<Vec<StoredJob>, Difference> {
        self.list(JobFilter::all(), Order::OldestFirst, 1_000).await
    }

    /// Page by page.
    pub(super) async fn list(
        &self,
        filter: JobFilter,
        order: Order,
        limit: usize,
    ) -> Result<Vec<StoredJob>, Difference> {
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(filter.clone(), order, after, limit).await.map_err(failed)?;
            if page.jobs.len() > limit {
                return Err(format!("a page of {} jobs; {limit} were asked for", page.jobs.len()));
            }
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                return Ok(jobs);
            }
        }
    }

    /// On-error jobs that a store makes in one call have no order among them: the model takes that of the store.
    fn arrive_as(&mut self, kept: &[StoredJob]) {
        let now = self.model.now;
        let jobs = &mut self.model.jobs;
        let is_new = |job: &&Entry| job.stored.created_at == now && job.stored.job.parts.kind.as_str() == "on-error";
        let new = jobs.iter().rev().take_while(is_new).count();
        let from = jobs.len() - new;
        jobs[from..].sort_by_key(|job| kept.iter().position(|kept| kept.job.parts.id == job.id()));
    }

    /// Compares everything that the store holds.
    async fn contents(&mut self) -> Result<(), Difference> {
        let kept = self.all().await?;
        self.arrive_as(&kept);
        let ids = |jobs: &mut dyn Iterator<Item = &StoredJob>| jobs.map(|job| job.job.parts.id).collect::<Vec<_>>();
        let model = &self.model;
        same("the jobs", &ids(&mut kept.iter()), &ids(&mut model.jobs.iter().map(|job| &job.stored)))?;
        for (store, model) in kept.iter().zip(&model.jobs) {
            same("a job", &Seen::of(store), &Seen::of(&model.stored))?;
        }
        let counts = self.store.counts(JobFilter::all()).await.map_err(failed)?;
        let mut expected = Counts::default();
        model.jobs.iter().for_each(|job| *expected.0.entry(job.stored.state).or_default() += 1);
        same("the counts", &counts, &expected)?;
        same("the queues", &self.store.queues().await.map_err(failed)?, &model.queues())?;
        let mut stops = ids_of(&self.store.stop_requests().await.map_err(failed)?);
        let stopping = model.jobs.iter().filter(|job| job.stored.stopping).map(Entry::id);
        let mut stopping: Vec<JobId> = stopping.collect();
        stops.sort_unstable();
        stopping.sort_unstable();
        same("who is to stop", &stops, &stopping)?;
        let schedules = self.store.schedules().await.map_err(failed)?;
        let schedules: Vec<String> = schedules.iter().map(seen::schedule).collect();
        same("the schedules", &schedules, &model.schedules.values().map(seen::schedule).collect())
    }
}

fn ids_of(keys: &[LeaseKey]) -> Vec<JobId> {
    keys.iter().map(|key| key.id).collect()
}

/// Counted from the end, and round.
fn from_end<T>(all: &[T], which: Which) -> Option<&T> {
    if which >= UNKNOWN || all.is_empty() {
        return None;
    }
    all.get(all.len() - 1 - usize::from(which) % all.len())
}

fn unique(key: &Key) -> Unique {
    let name = format!("k{}", key.name);
    let unique = match key.scope {
        Scope::Active => Unique::new(name),
        Scope::Kept => Unique::while_kept(name),
        Scope::Within(seconds) => Unique::new(name).within(Duration::from_secs(seconds)),
    };
    if key.replaces { unique.on_conflict(OnConflict::ReplaceArgs) } else { unique }
}
