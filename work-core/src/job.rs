use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::args::{ArgsError, Payload};
use crate::compose::{ON_ERROR, Packed};
use crate::cut;
use crate::error::{InvalidJob, MAX_HEADERS};
use crate::store::{NewJob, Seal};
use crate::{Context, Kind, Queue, Unique};

/// The identity of a job: a UUID of version 7, so ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A new id, later in order than every id this process made before.
    #[must_use]
    pub fn new() -> Self {
        Self(crate::id::next())
    }

    pub(crate) const fn nil() -> Self {
        Self(Uuid::nil())
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Uuid> for JobId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// A text that is the id of no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no id of a job; use a UUID, such as 01990000-0000-7000-8000-000000000000")]
pub struct InvalidJobId {
    given: String,
}

impl std::str::FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        text.parse().map(Self).map_err(|_| InvalidJobId { given: cut(text) })
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Everything about a job except its arguments, like the parts of an HTTP request.
///
/// Read it through [`Job::parts`]; the setters are on [`Job`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parts {
    /// Who it is.
    pub id: JobId,
    /// What it does: the name that a [`Router`](crate::Router) finds the handler by.
    pub kind: Kind,
    /// Where it waits.
    pub queue: Queue,
    /// Lower numbers are leased first: 0 to 9, default 5.
    pub priority: u8,
    /// How many attempts it may have; `None` leaves it to the worker: 1 in memory, 25 on a store.
    pub max_attempts: Option<u32>,
    /// How long one attempt may take, enforced by a timeout layer.
    pub timeout: Option<Duration>,
    /// When it is due; `None` is now.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// When it is no longer worth starting.
    pub expires_at: Option<DateTime<Utc>>,
    /// What makes another job the same job.
    pub unique: Option<Unique>,
    /// Text that travels with the job, such as W3C `traceparent`.
    pub headers: BTreeMap<String, String>,
    /// Names that people find it by; at most 16.
    pub tags: BTreeSet<String>,
    /// Set by a store that hands out something else than it keeps.
    pub(crate) seal: Option<Arc<dyn Seal>>,
}

impl Parts {
    /// Parts with the defaults; for authors of stores.
    #[must_use]
    pub const fn new(id: JobId, kind: Kind, queue: Queue) -> Self {
        Self {
            id,
            kind,
            queue,
            priority: DEFAULT_PRIORITY,
            max_attempts: None,
            timeout: None,
            scheduled_at: None,
            expires_at: None,
            unique: None,
            headers: BTreeMap::new(),
            tags: BTreeSet::new(),
            seal: None,
        }
    }
}

/// A job is a request: parts, and arguments.
///
/// ```
/// use std::time::Duration;
/// use work_core::Job;
///
/// let job = Job::new("welcome", "ann@example.org").queue("mail").max_attempts(5).timeout(Duration::from_secs(30));
/// assert_eq!(job.kind().as_str(), "welcome");
/// assert_eq!(job.parts().max_attempts, Some(5));
/// ```
#[derive(Debug, Clone)]
pub struct Job {
    /// Boxed, since a job is moved through many hands.
    body: Box<Body>,
    /// Made when first asked for; the worker puts a fresh one here for every execution.
    context: OnceLock<Context>,
}

#[derive(Debug, Clone)]
struct Body {
    parts: Parts,
    args: Payload,
}

/// The highest number that [`Job::priority`] takes.
pub const MAX_PRIORITY: u8 = 9;

/// In place of an on-error job that is none.
const REFUSED: char = '!';

pub(crate) const DEFAULT_PRIORITY: u8 = 5;

/// How many tags a job may have.
pub const MAX_TAGS: usize = 16;

/// The highest number that [`Job::max_attempts`] takes.
pub const MAX_ATTEMPTS: u32 = 1000;

impl Job {
    /// A job of this kind with these arguments, due now.
    ///
    /// The arguments stay typed in process; they become JSON only where a store keeps them.
    pub fn new<T>(kind: impl Into<Kind>, args: T) -> Self
    where
        T: Serialize + Send + Sync + 'static,
    {
        Self::from_payload(kind.into(), Payload::typed(args))
    }

    /// A job whose arguments are JSON already.
    pub fn from_json(kind: impl Into<Kind>, args: impl Into<Bytes>) -> Self {
        Self::from_payload(kind.into(), Payload::Json(args.into()))
    }

    fn from_payload(kind: Kind, args: Payload) -> Self {
        let parts = Parts::new(JobId::new(), kind, Queue::DEFAULT);
        Self::of(parts, args)
    }

    pub(crate) fn of(parts: Parts, args: Payload) -> Self {
        Self { body: Box::new(Body { parts, args }), context: OnceLock::new() }
    }

    pub(crate) fn into_payload(self) -> (Parts, Payload) {
        let Body { parts, args } = *self.body;
        (parts, args)
    }

    /// Puts together what a store kept.
    #[must_use]
    pub fn from_stored(stored: NewJob) -> Self {
        Self::of(stored.parts, Payload::Json(stored.args))
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.body.parts.id
    }

    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.body.parts.kind
    }

    /// Everything but the arguments.
    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.body.parts
    }

    /// The context of this execution. Clones of the job share it.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.context.get_or_init(Context::new)
    }

    /// The arguments as a value of type `T`, moved out of the job.
    ///
    /// A value given to [`Job::new`] comes back as it is while no clone of the job exists; otherwise it goes through JSON.
    ///
    /// # Errors
    ///
    /// [`ArgsError`] if they are of another shape or were taken before.
    pub fn take_args<T: DeserializeOwned + Send + Sync + 'static>(&mut self) -> Result<T, ArgsError> {
        self.body.args.take()
    }

    /// How many bytes the arguments have as JSON, if they are that: those of a store are, typed ones in memory are not.
    #[must_use]
    pub fn args_bytes(&self) -> Option<usize> {
        self.body.args.json_len()
    }

    /// The arguments as JSON, if they have such a form and were not taken.
    #[cfg(feature = "testing")]
    pub(crate) fn args_json(&self) -> Option<Bytes> {
        self.body.args.to_json().ok()
    }

    /// The job as a store keeps it.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names the part that no store would take: a name, an option out of its range, arguments that
    /// have no JSON form, are nested too deep, or have more bytes than `limit`.
    pub fn into_stored(self, limit: usize) -> Result<NewJob, InvalidJob> {
        self.validate()?;
        let args = self.body.args.to_json()?;
        crate::args::check_json(&args, limit)?;
        Ok(NewJob { parts: self.body.parts, args })
    }

    /// Checks every part but the arguments.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names the part, what was given, and what is accepted.
    pub fn validate(&self) -> Result<(), InvalidJob> {
        if let (Some(due), Some(expires)) = (self.body.parts.scheduled_at, self.body.parts.expires_at)
            && expires <= due
        {
            let given = format!("{expires}, when it is due {due},");
            return Err(InvalidJob::out_of_range("expires_at", given, "an instant after it is due"));
        }
        Self::validate_parts(&self.body.parts)
    }

    /// Checks parts that came from elsewhere; for authors of stores.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn validate_parts(parts: &Parts) -> Result<(), InvalidJob> {
        parts.kind.validate()?;
        parts.queue.validate()?;
        if parts.priority > MAX_PRIORITY {
            return Err(InvalidJob::out_of_range("priority", parts.priority, "0 to 9"));
        }
        if let Some(n) = parts.max_attempts.filter(|n| *n == 0 || *n > MAX_ATTEMPTS) {
            return Err(InvalidJob::out_of_range("max_attempts", n, "1 to 1000"));
        }
        if let Some(timeout) = parts.timeout.filter(Duration::is_zero) {
            return Err(InvalidJob::out_of_range("timeout", format!("{timeout:?}"), "more than zero"));
        }
        if let Some(unique) = &parts.unique {
            unique.validate()?;
        }
        if parts.tags.len() > MAX_TAGS {
            return Err(InvalidJob::out_of_range("tags", format!("of {} names", parts.tags.len()), "at most 16"));
        }
        parts.tags.iter().try_for_each(|tag| crate::name::check("tag", tag))?;
        if parts.headers.len() > MAX_HEADERS {
            let given = format!("of {} names", parts.headers.len());
            return Err(InvalidJob::out_of_range("headers", given, "at most 64"));
        }
        parts.headers.iter().try_for_each(|(name, value)| InvalidJob::check_header(name, value))?;
        match parts.headers.get(ON_ERROR).and_then(|job| job.strip_prefix(REFUSED)) {
            Some(why) => Err(InvalidJob::out_of_range("on-error job", format!("({why})"), "a job that a store takes")),
            None => Ok(()),
        }
    }

    /// The same job as another execution of it starts: with no context yet.
    pub(crate) fn fresh(mut self) -> Self {
        self.context = OnceLock::new();
        self
    }

    /// The same job once more, under an id of its own.
    pub(crate) fn another(&self) -> Self {
        self.clone().with_id(JobId::new()).fresh()
    }

    pub(crate) fn set_context(&mut self, context: Context) {
        self.context = OnceLock::from(context);
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($value:ident: $type:ty) => $body:expr;)*) => {
        /// Options. A value out of range is refused by the verb that takes the job, with the range in the message.
        impl Job {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $value: $type) -> Self {
                self.body.parts.$name = $body;
                self
            })*
        }
    };
}

setters! {
    /// The queue it waits in; by default `default`.
    queue(queue: impl Into<Queue>) => queue.into();
    /// 0 to 9, lower numbers first; by default 5.
    priority(priority: u8) => priority;
    /// How many attempts it may have, 1 to 1000; by default 1 in memory and 25 on a store.
    max_attempts(attempts: u32) => Some(attempts);
    /// How long one attempt may take, enforced by a timeout layer; by default the layer's own.
    timeout(timeout: Duration) => Some(timeout);
    /// When it is due; a time in the past is now.
    scheduled_at(at: DateTime<Utc>) => Some(at);
    /// When it is no longer worth starting.
    expires_at(at: DateTime<Utc>) => Some(at);
    /// What makes another job the same job.
    unique(unique: Unique) => Some(unique);
}

impl Job {
    /// Gives it an id that the caller chose, so that a repeated insert finds the first one.
    #[must_use]
    pub fn with_id(mut self, id: JobId) -> Self {
        self.body.parts.id = id;
        self
    }

    /// Adds a header; an earlier one of that name is replaced. At most [`MAX_HEADERS`](crate::MAX_HEADERS) of at most
    /// [`MAX_HEADER`](crate::MAX_HEADER) bytes.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.body.parts.headers.insert(name.into(), value.into());
        self
    }

    /// The job to perform if this one becomes a dead letter: its attempts are used up, or it was discarded. On a store it is
    /// inserted in the same transaction, and once: a job that is retried by hand and fails again makes no second one. A job
    /// that is cancelled makes none. Its handler finds out more through [`FailedJob`](crate::FailedJob).
    ///
    /// ```
    /// use work_core::{Classify, FailedJob, Job, JobHandle, LocalWorker, Router, Worker};
    ///
    /// async fn fails() -> Result<(), work_core::Classified> {
    ///     Err("no such account").discard()
    /// }
    ///
    /// async fn report(failed: FailedJob) {
    ///     assert_eq!((failed.kind.as_str(), failed.error.as_str()), ("fails", "no such account"));
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let worker = LocalWorker::new(Router::new().route("fails", fails).route("report", report));
    /// worker.perform(Job::new("fails", ()).on_error(Job::new("report", ()))).await?;
    /// worker.idle().await;
    /// assert_eq!(worker.counts().submitted, 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_error(self, job: Self) -> Self {
        self.header(ON_ERROR, job.into_on_error())
    }

    /// As it travels in the header of another one. One that no store would take is refused by the verb that takes the other,
    /// as every option is.
    pub(crate) fn into_on_error(self) -> String {
        let packed = Packed::of(self).and_then(|packed| {
            let json = serde_json::to_string(&packed);
            json.map_err(|error| InvalidJob::out_of_range("on-error job", error, "a job that has a JSON form"))
        });
        packed.unwrap_or_else(|error| format!("{REFUSED}{error}"))
    }

    /// Adds a name that people find it by: letters, digits and `_ . : -`, as in a kind; at most 16 of them.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.body.parts.tags.insert(tag.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_out_of_range_is_named_with_the_range() {
        for (job, part) in [
            (Job::new("k", ()).priority(10), "priority 10 is out of range; use 0 to 9"),
            (Job::new("k", ()).max_attempts(0), "max_attempts 0 is out of range; use 1 to 1000"),
            (Job::new("k", ()).max_attempts(1001), "max_attempts 1001"),
            (Job::new("k", ()).timeout(Duration::ZERO), "timeout 0ns"),
            (Job::new("k", ()).header("a", "b\nc"), "header"),
            (Job::new("k", ()).header("a", "x".repeat(4097)), "header \"a\" has 4097 bytes; at most 4096 are accepted"),
            ((0..65).fold(Job::new("k", ()), |job, n| job.header(n.to_string(), "")), "headers of 65 names"),
            (Job::new("k", ()).unique(Unique::new("")), "invalid unique key \"\": it is empty"),
            (Job::new("", ()), "kind name"),
            (Job::new("k", ()).tag("a b"), "invalid tag name"),
            ((0..17).fold(Job::new("k", ()), |job, n| job.tag(n.to_string())), "tags of 17 names"),
        ] {
            let error = job.validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }
}
