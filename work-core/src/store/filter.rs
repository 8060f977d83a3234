use std::ops::{Bound, RangeBounds};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::StoredJob;
use crate::{JobId, JobState, Kind, Queue};

/// Which jobs to look at: those that meet every condition. Without any, all jobs.
///
/// ```
/// use work_core::{JobState, store::JobFilter};
///
/// let failed = JobFilter::all().queue("mail").state(JobState::Discarded).error_contains("timed out");
/// let of_ann = failed.args("user.name", "Ann").tag("eu");
/// assert_eq!(of_ann.queues.len(), 1);
/// assert_eq!(of_ann.args[0].path, ["user", "name"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobFilter {
    /// One of these; none are all.
    pub ids: Vec<JobId>,
    /// In one of these queues; none are all.
    pub queues: Vec<Queue>,
    /// Of one of these kinds; none are all.
    pub kinds: Vec<Kind>,
    /// In one of these states; none are all.
    pub states: Vec<JobState>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// When it was accepted.
    pub created: TimeRange,
    /// When it is due, or was.
    pub due: TimeRange,
    /// When it ended; a job that has not is in no bounded range.
    pub finished: TimeRange,
    /// The text of the last error contains this; A–Z and a–z are the same.
    pub error_contains: Option<String>,
    /// All of these fields of the arguments have these values.
    pub args: Vec<ArgsField>,
}

/// Instants from one to another, to the millisecond; by default all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Where it starts.
    pub from: Bound<DateTime<Utc>>,
    /// Where it ends.
    pub to: Bound<DateTime<Utc>>,
}

/// A field of the arguments, and the value it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgsField {
    /// The way to it: names of an object's fields, or numbers of an array's items from 0.
    pub path: Vec<String>,
    /// What it must be. Numbers are compared by value: 7 is 7.0.
    pub value: Value,
}

/// Which jobs come first in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those that were accepted last.
    NewestFirst,
    /// Those that were accepted first.
    #[default]
    OldestFirst,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::of(..)
    }
}

impl TimeRange {
    /// The instants of a range.
    pub fn of(range: impl RangeBounds<DateTime<Utc>>) -> Self {
        Self { from: range.start_bound().cloned(), to: range.end_bound().cloned() }
    }

    /// True if every instant is in it, and also none at all.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!((self.from, self.to), (Bound::Unbounded, Bound::Unbounded))
    }

    /// True if the instant is in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        (self.from, self.to).contains(&at)
    }
}

impl ArgsField {
    /// True if these arguments have it.
    #[must_use]
    pub fn fits(&self, args: &[u8]) -> bool {
        serde_json::from_slice::<Value>(args).is_ok_and(|args| self.fits_value(&args))
    }

    fn fits_value(&self, args: &Value) -> bool {
        let step = |at: &Value, name: &String| match at {
            Value::Object(fields) => fields.get(name).cloned(),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?).cloned(),
            _ => None,
        };
        let found = self.path.iter().try_fold(args.clone(), |at, name| step(&at, name));
        found.is_some_and(|found| same(&found, &self.value))
    }
}

/// Numbers by value, everything else as it is written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

impl JobFilter {
    /// All jobs.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// This job, or another one that was named.
    #[must_use]
    pub fn id(mut self, id: JobId) -> Self {
        self.ids.push(id);
        self
    }

    /// In this queue, or another one that was named.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<Queue>) -> Self {
        self.queues.push(queue.into());
        self
    }

    /// Of this kind, or another one that was named.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Kind>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// In this state, or another one that was named.
    #[must_use]
    pub fn state(mut self, state: JobState) -> Self {
        self.states.push(state);
        self
    }

    /// With this tag, beside the others that were named.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Accepted in this range.
    #[must_use]
    pub fn created(mut self, range: impl RangeBounds<DateTime<Utc>>) -> Self {
        self.created = TimeRange::of(range);
        self
    }

    /// Due in this range.
    #[must_use]
    pub fn due(mut self, range: impl RangeBounds<DateTime<Utc>>) -> Self {
        self.due = TimeRange::of(range);
        self
    }

    /// Ended in this range.
    #[must_use]
    pub fn finished(mut self, range: impl RangeBounds<DateTime<Utc>>) -> Self {
        self.finished = TimeRange::of(range);
        self
    }

    /// With this text in the last error.
    #[must_use]
    pub fn error_contains(mut self, text: impl Into<String>) -> Self {
        self.error_contains = Some(text.into());
        self
    }

    /// With this value in a field of the arguments, named by its path: `user.id`, `items.0`. An empty path is all of them.
    #[must_use]
    pub fn args(mut self, path: &str, value: impl Into<Value>) -> Self {
        let path = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        self.args.push(ArgsField { path, value: value.into() });
        self
    }

    /// True if the filter asks for nothing but queues, kinds and states: what stores count quickly.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        let Self { queues, kinds, states, .. } = self.clone();
        *self == Self { queues, kinds, states, ..Self::default() }
    }

    /// True if the job is one of these; for stores that look at rows themselves.
    #[must_use]
    pub fn fits(&self, stored: &StoredJob) -> bool {
        let parts = &stored.job.parts;
        let at =
            |range: &TimeRange, at: Option<DateTime<Utc>>| range.is_all() || at.is_some_and(|at| range.contains(at));
        one_of(&self.states, &stored.state)
            && one_of(&self.queues, &parts.queue)
            && one_of(&self.kinds, &parts.kind)
            && one_of(&self.ids, &parts.id)
            && at(&self.created, Some(stored.created_at))
            && at(&self.due, parts.scheduled_at)
            && at(&self.finished, stored.finished_at)
            && self.tags.iter().all(|tag| parts.tags.contains(tag))
            && self.error_contains.as_ref().is_none_or(|text| {
                stored.last_error().is_some_and(|error| contains_ignoring_case(&error.message, text))
            })
            && self.fits_args(&stored.job.args)
    }

    fn fits_args(&self, args: &[u8]) -> bool {
        if self.args.is_empty() {
            return true;
        }
        serde_json::from_slice(args).is_ok_and(|args| self.args.iter().all(|field| field.fits_value(&args)))
    }
}

fn one_of<T: PartialEq>(any: &[T], value: &T) -> bool {
    any.is_empty() || any.contains(value)
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    part.is_empty() || text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_args_is_found_by_its_path_and_compared_by_value() {
        let args = br#"{"user":{"id":7,"big":9007199254740993},"items":[{"sku":"x"}],"none":null,"a.b":1}"#;
        let fits = |path: &str, value: Value| JobFilter::all().args(path, value).args[0].fits(args);
        for (path, value) in [
            ("user.id", Value::from(7)),
            ("user.id", Value::from(7.0)),
            ("items.0.sku", Value::from("x")),
            ("none", Value::Null),
            ("user.big", Value::from(9_007_199_254_740_993_u64)),
        ] {
            assert!(fits(path, value.clone()), "{path} = {value}");
        }
        for (path, value) in [
            ("user.id", Value::from("7")),
            ("user.missing", Value::Null),
            ("items.1.sku", Value::from("x")),
            ("items.sku", Value::from("x")),
            ("user.id.more", Value::from(7)),
            ("user.big", Value::from(9_007_199_254_740_992_u64)),
        ] {
            assert!(!fits(path, value.clone()), "{path} = {value}");
        }
        assert!(!JobFilter::all().args("", 7).args[0].fits(b"{ not json"));
        assert!(JobFilter::all().args("", 7).args[0].fits(b" 7 "));
    }

    #[test]
    fn only_queues_kinds_and_states_are_coarse() {
        assert!(JobFilter::all().queue("a").kind("k").state(JobState::Running).is_coarse());
        for filter in [JobFilter::all().tag("t"), JobFilter::all().created(DateTime::<Utc>::MIN_UTC..)] {
            assert!(!filter.is_coarse(), "{filter:?}");
        }
    }
}
