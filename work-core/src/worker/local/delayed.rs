use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::entry::{Entry, Promise};
use super::timers::Due;
use crate::args::Payload;
use crate::context::Run;
use crate::handle::{Completion, Ticket};
use crate::{Context, Job, JobId, Kind, Parts, Queue};

/// A job that is not due yet, as small as can be: a million of them is an ordinary day. Its handle shares it.
pub(crate) struct Delayed {
    id: JobId,
    due: Due,
    /// Taken out when it is due, cancelled or handed out.
    job: Mutex<Option<Small>>,
    completion: Completion,
}

/// What a job is made of, without what most jobs leave as it is.
struct Small {
    kind: Kind,
    args: SmallArgs,
    rest: Option<Box<Rest>>,
}

enum SmallArgs {
    Payload(Box<Payload>),
    Typed(Arc<dyn crate::args::ErasedArgs>),
}

struct Rest {
    parts: Parts,
    attempt: u32,
    /// Whom to tell, if that is not the handle of this: an earlier attempt's.
    promise: Option<Promise>,
}

impl Delayed {
    pub(crate) const fn completion(&self) -> &Completion {
        &self.completion
    }

    fn lock(&self) -> MutexGuard<'_, Option<Small>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one owner of a job that is not due. Dropped, it tells the handle that nothing will come.
pub(super) struct Pending(Arc<Delayed>);

impl Pending {
    /// A new job.
    pub(super) fn new(job: Job, due: Due) -> Self {
        Self::make(job, due, 1, None)
    }

    /// A job that runs again.
    pub(super) fn again(entry: Entry, due: Due) -> Self {
        let Entry { job, context, promise } = entry;
        Self::make(job, due, context.attempt(), Some(promise))
    }

    fn make(job: Job, due: Due, attempt: u32, promise: Option<Promise>) -> Self {
        let id = job.id();
        let (mut parts, args) = job.into_payload();
        // It is due when its timer says so.
        parts.scheduled_at = None;
        let kind = parts.kind.clone();
        let ordinary = attempt == 1 && promise.is_none() && is_ordinary(&parts);
        let rest = (!ordinary).then(|| Box::new(Rest { parts, attempt, promise }));
        let args = match args {
            Payload::Typed(args) => SmallArgs::Typed(args),
            other => SmallArgs::Payload(Box::new(other)),
        };
        let job = Mutex::new(Some(Small { kind, args, rest }));
        Self(Arc::new(Delayed { id, due, job, completion: Completion::default() }))
    }

    pub(super) fn id(&self) -> &JobId {
        &self.0.id
    }

    pub(super) fn due(&self) -> Due {
        self.0.due
    }

    /// Where its handle looks.
    pub(super) fn ticket(&self) -> Ticket {
        let job = self.0.lock();
        let earlier = job.as_ref().and_then(|small| small.rest.as_ref()?.promise.as_ref()).map(Promise::ticket);
        earlier.unwrap_or_else(|| Ticket::Delayed(self.0.clone()))
    }

    /// The job as it is executed; none if it was taken before. `now` is when it was due, if its timer does not say.
    pub(super) fn into_entry(self, now: DateTime<Utc>) -> Option<Entry> {
        let Small { kind, args, rest } = self.0.lock().take()?;
        let (mut parts, attempt, promise) = match rest {
            Some(rest) => (rest.parts, rest.attempt, rest.promise),
            None => (Parts::new(self.0.id, kind, Queue::DEFAULT), 1, None),
        };
        parts.scheduled_at = match self.0.due {
            Due::At(micros) => DateTime::from_timestamp_micros(micros),
            Due::In(_) => Some(now),
        };
        let args = match args {
            SmallArgs::Typed(args) => Payload::Typed(args),
            SmallArgs::Payload(args) => *args,
        };
        let promise = promise.unwrap_or_else(|| Promise::new(Ticket::Delayed(self.0.clone())));
        let job = Job::of(parts, args);
        let context = context_of(&job, attempt, Some(promise.ticket()));
        Some(Entry { job, context, promise })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.0.lock().take().is_some() {
            self.0.completion.abandon();
        }
    }
}

/// The context of an attempt.
pub(super) fn context_of(job: &Job, attempt: u32, origin: Option<Ticket>) -> Context {
    let max_attempts = job.parts().max_attempts.unwrap_or(1);
    Context::of(Run { job: Some((job.id(), job.kind().clone())), attempt, max_attempts, lease: None, origin })
}

/// True if nothing but the kind is as its author said.
fn is_ordinary(parts: &Parts) -> bool {
    let Parts {
        id: _,
        kind: _,
        queue,
        priority,
        max_attempts,
        timeout,
        scheduled_at,
        expires_at,
        unique,
        headers,
        tags,
        seal: _,
    } = parts;
    *queue == Queue::DEFAULT
        && *priority == crate::job::DEFAULT_PRIORITY
        && max_attempts.is_none()
        && timeout.is_none()
        && scheduled_at.is_none()
        && expires_at.is_none()
        && unique.is_none()
        && headers.is_empty()
        && tags.is_empty()
}
