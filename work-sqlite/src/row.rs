//! Rows as jobs. A row that came by `INSERT` may hold anything, so nothing here trusts one.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, ValueRef};
use uuid::Uuid;
use work_core::store::NewJob;
use work_core::{Job, JobId, Kind, Parts, Queue, Unique};

/// The columns that [`job`] reads, from the second one on; the first is `seq`.
pub(crate) const COLUMNS: &str =
    "seq, id, kind, args, queue, priority, coalesce(due_at, scheduled_at), created_at, attempt, max_attempts,
    fence, timeout_ms, expires_at, coalesce(unique_key, after_key), unique_scope, headers, tags";

/// The number of columns in [`COLUMNS`].
pub(crate) const WIDTH: usize = 17;

/// What a row holds that is no job, as a sentence.
#[derive(Debug)]
pub(crate) struct BadRow(pub(crate) String);

/// A job and what the store knows of it.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) job: NewJob,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) attempt: u32,
    pub(crate) fence: u64,
}

/// The outer error is the database's, the inner one the row's.
pub(crate) fn job(row: &Row<'_>) -> rusqlite::Result<Result<Stored, BadRow>> {
    let seq = row.get(0)?;
    let id = match id_of(row.get_ref(1)?) {
        Ok(id) => id,
        Err(_) => return Ok(Err(BadRow("the column `id` does not have 16 bytes".into()))),
    };
    let Some(args) = bytes(row.get_ref(3)?) else {
        return Ok(Err(BadRow("the column `args` is no text".into())));
    };
    let parts = parts(row, id)?;
    if let Err(error) = Job::validate_parts(&parts) {
        return Ok(Err(bad_number(row)?.unwrap_or_else(|| BadRow(error.to_string()))));
    }
    // The largest fence has no successor, so it is never handed out.
    let fence = u64::try_from(row.get::<_, i64>(10)?).ok().filter(|fence| *fence < i64::MAX as u64);
    let (Ok(attempt), Some(fence)) = (u32::try_from(row.get::<_, i64>(8)?), fence) else {
        return Ok(Err(bad_number(row)?.unwrap_or_else(|| BadRow("a number is out of range".into()))));
    };
    let created_at = instant(row.get(7)?);
    Ok(Ok(Stored { seq, job: NewJob { parts, args }, created_at, attempt, fence }))
}

/// Which number of a row is out of its range, as it is there. Asked only where something is wrong.
fn bad_number(row: &Row<'_>) -> rusqlite::Result<Option<BadRow>> {
    for (column, name, accepted, range) in [
        (5, "priority", "0 to 9", 0..=9),
        (8, "the next attempt", "0 to 4294967295", 0..=i64::from(u32::MAX)),
        (9, "max_attempts", "1 to 1000", 1..=1000),
        (10, "the next fence", "0 to 9223372036854775806", 0..=i64::MAX - 1),
        (11, "timeout_ms", "more than zero", 1..=i64::MAX),
    ] {
        let given = row.get::<_, Option<i64>>(column)?;
        if let Some(given) = given.filter(|given| !range.contains(given)) {
            return Ok(Some(BadRow(format!("{name} {given} is out of range; use {accepted}"))));
        }
    }
    Ok(None)
}

fn parts(row: &Row<'_>, id: JobId) -> rusqlite::Result<Parts> {
    // What is no UTF-8 is a name that nobody has, and no empty one.
    let text = |column| {
        let bytes = row.get_ref(column).map(|value| value.as_bytes().unwrap_or_default());
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let mut parts = Parts::new(id, Kind::from(text(2)?), Queue::from(text(4)?));
    parts.priority = u8::try_from(row.get::<_, i64>(5)?).unwrap_or(u8::MAX);
    parts.scheduled_at = Some(instant(row.get(6)?));
    parts.max_attempts = Some(u32::try_from(row.get::<_, i64>(9)?).unwrap_or(0));
    let timeout: Option<i64> = row.get(11)?;
    parts.timeout = timeout.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    parts.expires_at = row.get::<_, Option<i64>>(12)?.map(instant);
    if row.get_ref(13)? != ValueRef::Null {
        let key = text(13)?;
        let kept = row.get::<_, Option<i64>>(14)? == Some(2);
        parts.unique = Some(if kept { Unique::while_kept(key) } else { Unique::new(key) });
    }
    if let ValueRef::Text(json) = row.get_ref(15)? {
        // Headers that are no object of texts are none.
        parts.headers = serde_json::from_slice(json).unwrap_or_default();
    }
    if let ValueRef::Text(json) = row.get_ref(16)? {
        parts.tags = serde_json::from_slice(json).unwrap_or_default();
    }
    Ok(parts)
}

pub(crate) fn id_of(value: ValueRef<'_>) -> rusqlite::Result<JobId> {
    let uuid =
        value.as_blob().and_then(|bytes| Uuid::from_slice(bytes).map_err(|error| FromSqlError::Other(Box::new(error))));
    uuid.map(JobId::from)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, Box::new(error)))
}

/// The id of a row that is named to somebody, even if it cannot be read: the nil one.
pub(crate) fn id_or_nil(value: ValueRef<'_>) -> JobId {
    id_of(value).unwrap_or_else(|_| Uuid::nil().into())
}

pub(crate) fn bytes(value: ValueRef<'_>) -> Option<Bytes> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Bytes::copy_from_slice(bytes)),
        // A number is JSON as it is.
        ValueRef::Integer(number) => Some(number.to_string().into()),
        ValueRef::Real(number) => Some(number.to_string().into()),
        ValueRef::Null => None,
    }
}

/// A text, as far as it is one: what is no UTF-8 in it is replaced.
pub(crate) fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

pub(crate) fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// An instant that chrono cannot express is the nearest that it can.
pub(crate) fn instant(millis: i64) -> DateTime<Utc> {
    let edge = if millis < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_millis(millis).unwrap_or(edge)
}
