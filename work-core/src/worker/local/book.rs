use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use super::LocalCounts;
use super::delayed::Pending;
use super::entry::Entry;
use super::timers::{Due, Timers};
use crate::handle::Ticket;
use crate::{Clock, Context, Job, JobId, Kind};

/// What a worker knows of every job that it accepted and that has not ended. Lives under the pool's lock.
pub(super) struct Book {
    live: HashSet<Live, foldhash::fast::RandomState>,
    /// Which job holds a unique key.
    keys: HashMap<String, JobId>,
    pub(super) timers: Timers,
    delayed: usize,
    /// Follow-up jobs between their parent's end and their own start.
    pub(super) reserved: usize,
    /// True while a task watches the timers.
    pub(super) watched: bool,
    pub(super) stopping: bool,
    pub(super) counts: LocalCounts,
}

enum Live {
    /// It waits or runs.
    Active(Context),
    Delayed(Pending),
}

impl Borrow<JobId> for Live {
    fn borrow(&self) -> &JobId {
        static NOBODY: JobId = JobId::nil();
        match self {
            Self::Active(context) => context.job_id_ref().unwrap_or(&NOBODY),
            Self::Delayed(pending) => pending.id(),
        }
    }
}

impl Hash for Live {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<JobId>::borrow(self).hash(state);
    }
}

impl PartialEq for Live {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<JobId>::borrow(self) == Borrow::<JobId>::borrow(other)
    }
}

impl Eq for Live {}

/// Why a job is not taken.
pub(super) enum Refused {
    Full,
    Stopped,
    /// This one is the same job.
    Duplicate(JobId, Ticket),
}

impl Book {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            live: HashSet::default(),
            keys: HashMap::new(),
            timers: Timers::new(clock),
            delayed: 0,
            reserved: 0,
            watched: false,
            stopping: false,
            counts: LocalCounts::default(),
        }
    }

    /// Jobs that were accepted and have not ended.
    pub(super) fn len(&self) -> usize {
        self.live.len() + self.reserved
    }

    /// The same without follow-up jobs that are still on their way.
    pub(super) fn live(&self) -> usize {
        self.live.len()
    }

    pub(super) const fn delayed(&self) -> usize {
        self.delayed
    }

    /// Whether there is room, and nothing that is the same job.
    pub(super) fn check(&self, job: &Job, capacity: usize) -> Result<(), Refused> {
        if self.stopping {
            return Err(Refused::Stopped);
        }
        let key = job.parts().unique.as_ref().and_then(|unique| self.keys.get(unique.key()));
        if let Some(live) = self.live.get(key.unwrap_or(&job.id())) {
            return Err(Refused::Duplicate(*live.borrow(), live.ticket()));
        }
        if self.len() >= capacity { Err(Refused::Full) } else { Ok(()) }
    }

    /// Notes a job that waits or runs from now on.
    pub(super) fn enter(&mut self, entry: &Entry) {
        if let Some(unique) = &entry.job.parts().unique {
            self.keys.insert(unique.key().to_owned(), entry.job.id());
        }
        self.counts.submitted += 1;
        self.live.insert(Live::Active(entry.context.clone()));
    }

    /// Notes a job that is due later. Says whether the task that watches the timers must look again.
    pub(super) fn enter_later(&mut self, pending: Pending, unique: Option<String>) -> bool {
        if let Some(key) = unique {
            self.keys.insert(key, *pending.id());
        }
        self.counts.submitted += 1;
        self.delay(pending)
    }

    fn delay(&mut self, pending: Pending) -> bool {
        let first = self.timers.push(pending.due(), *pending.id());
        self.delayed += 1;
        self.live.replace(Live::Delayed(pending));
        first
    }

    /// A job runs again later. False if it was taken from us meanwhile.
    pub(super) fn again(&mut self, context: &Context, pending: Pending) -> bool {
        if !self.is(context) {
            return false;
        }
        self.delay(pending);
        true
    }

    /// Jobs that are due now, at most so many.
    pub(super) fn due(&mut self, at_most: usize) -> Vec<Entry> {
        let now = self.timers.now();
        let mut entries = Vec::new();
        while entries.len() < at_most
            && let Some((due, id)) = self.timers.pop(&now)
        {
            if let Some(entry) = self.fire(due, id) {
                entries.push(entry);
            }
        }
        entries
    }

    fn fire(&mut self, due: Due, id: JobId) -> Option<Entry> {
        let Some(Live::Delayed(pending)) = self.live.get(&id) else { return None };
        if pending.due() != due {
            return None;
        }
        let Some(Live::Delayed(pending)) = self.live.take(&id) else { return None };
        self.delayed -= 1;
        let entry = pending.into_entry(self.timers.clock().now())?;
        self.live.insert(Live::Active(entry.context.clone()));
        Some(entry)
    }

    /// True if this execution is still the job's own: it was not handed out meanwhile.
    fn is(&self, context: &Context) -> bool {
        let id = context.job_id_ref();
        matches!(id.and_then(|id| self.live.get(id)), Some(Live::Active(now)) if now.is_same(context))
    }

    /// Notes that a job has ended. False if it was taken from us meanwhile.
    pub(super) fn leave(&mut self, context: &Context, key: Option<&str>) -> bool {
        let Some(id) = context.job_id_ref().filter(|_| self.is(context)) else { return false };
        self.live.remove(id);
        self.forget_key(key, *id);
        true
    }

    fn forget_key(&mut self, key: Option<&str>, id: JobId) {
        if let Some(key) = key.filter(|key| self.keys.get(*key) == Some(&id)) {
            self.keys.remove(key);
        }
    }

    /// Takes out a job that is not due.
    pub(super) fn take_delayed(&mut self, id: &JobId) -> Option<Entry> {
        let Some(Live::Delayed(_)) = self.live.get(id) else { return None };
        let Some(Live::Delayed(pending)) = self.live.take(id) else { return None };
        self.delayed -= 1;
        let entry = pending.into_entry(self.timers.clock().now())?;
        self.forget_key(entry.key(), *id);
        // Its timer stays, and is swept when most timers are of jobs that are gone.
        if self.timers.len() > 2 * self.delayed + 1_000 {
            let Self { timers, live, .. } = self;
            timers.retain(|due, id| matches!(live.get(id), Some(Live::Delayed(pending)) if pending.due() == due));
        }
        Some(entry)
    }

    /// Takes out every job that is not due.
    pub(super) fn take_all_delayed(&mut self) -> Vec<Entry> {
        let is_delayed = |live: &Live| if let Live::Delayed(pending) = live { Some(*pending.id()) } else { None };
        let ids: Vec<JobId> = self.live.iter().filter_map(is_delayed).collect();
        ids.iter().filter_map(|id| self.take_delayed(id)).collect()
    }

    /// The context of a job that waits or runs.
    pub(super) fn active(&self, id: &JobId) -> Option<&Context> {
        match self.live.get(id) {
            Some(Live::Active(context)) => Some(context),
            _ => None,
        }
    }

    /// Every job that waits or runs.
    pub(super) fn actives(&self) -> impl Iterator<Item = (JobId, Kind, &Context)> {
        self.live.iter().filter_map(|live| match live {
            Live::Active(context) => Some((context.job_id()?, context.kind()?.clone(), context)),
            Live::Delayed(_) => None,
        })
    }
}

impl Live {
    /// Where another handle of the same job looks.
    fn ticket(&self) -> Ticket {
        match self {
            Self::Active(context) => context.origin().cloned().unwrap_or_else(|| Ticket::Context(context.clone())),
            Self::Delayed(pending) => pending.ticket(),
        }
    }
}
