//! Values of options, checked where they are read.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;
use work_core::store::MAX_CAPACITY;
use work_core::{Job, JobId, JobState, Kind, Queue};

/// A value that is not accepted, and what is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidValue {
    #[error("use the 36 characters of an id, as `work jobs list` shows it")]
    Id,
    #[error(transparent)]
    Name(#[from] work_core::InvalidJob),
    #[error("use path=value, as in user.id=7 or user.name=Ann")]
    Field,
    #[error("use name=value, as in traceparent=00-…")]
    Header,
    #[error("use a number from 1 to 4294967295, or none")]
    Limit,
    #[error("use a number from 1 to {MAX_CAPACITY}, or none")]
    Capacity,
}

/// A field of the arguments that jobs are looked for by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) path: String,
    pub(crate) value: Value,
}

/// How many jobs of a queue may run at once, or be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtMost(pub(crate) Option<u32>);

pub(crate) fn limit(text: &str) -> Result<AtMost, InvalidValue> {
    match text {
        "none" => Ok(AtMost(None)),
        number => number.parse().ok().filter(|n| *n > 0).map(|n| AtMost(Some(n))).ok_or(InvalidValue::Limit),
    }
}

pub(crate) fn capacity(text: &str) -> Result<AtMost, InvalidValue> {
    let fits = |AtMost(jobs): &AtMost| jobs.is_none_or(|jobs| jobs <= MAX_CAPACITY);
    limit(text).ok().filter(fits).ok_or(InvalidValue::Capacity)
}

pub(crate) fn state() -> impl TypedValueParser<Value = JobState> {
    let names = PossibleValuesParser::new(JobState::ALL.map(JobState::name));
    names.try_map(|name| name.parse::<JobState>())
}

pub(crate) fn id(text: &str) -> Result<JobId, InvalidValue> {
    let id = (text.len() == 36).then(|| text.parse().ok()).flatten();
    id.ok_or(InvalidValue::Id)
}

pub(crate) fn queue(text: &str) -> Result<Queue, InvalidValue> {
    let queue = Queue::from(text.to_owned());
    queue.validate().map_err(work_core::InvalidJob::from)?;
    Ok(queue)
}

pub(crate) fn kind(text: &str) -> Result<Kind, InvalidValue> {
    let kind = Kind::from(text.to_owned());
    kind.validate().map_err(work_core::InvalidJob::from)?;
    Ok(kind)
}

pub(crate) fn tag(text: &str) -> Result<String, InvalidValue> {
    Job::new("any", ()).tag(text).validate()?;
    Ok(text.to_owned())
}

/// What is no JSON is a text.
pub(crate) fn field(text: &str) -> Result<Field, InvalidValue> {
    let (path, value) = text.split_once('=').ok_or(InvalidValue::Field)?;
    if path.split('.').any(str::is_empty) {
        return Err(InvalidValue::Field);
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok(Field { path: path.to_owned(), value })
}

pub(crate) fn header(text: &str) -> Result<(String, String), InvalidValue> {
    let (name, value) = text.split_once('=').ok_or(InvalidValue::Header)?;
    Job::new("any", ()).header(name, value).validate()?;
    Ok((name.to_owned(), value.to_owned()))
}
