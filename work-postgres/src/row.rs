//! Rows as jobs. A row that came by `INSERT` may hold anything, so nothing here trusts one.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::NewJob;
use work_core::{Job, JobId, Kind, Parts, Queue, Unique};

use crate::instant::Instant;

/// The number of columns that [`job`] reads.
pub(crate) const WIDTH: usize = 17;

/// What a row holds that is no job, as a sentence.
#[derive(Debug)]
pub(crate) struct BadRow(pub(crate) String);

/// A job and what the store knows of it.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) job: NewJob,
    pub(crate) scheduled_at: Instant,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) attempt: u32,
    pub(crate) fence: u64,
}

/// The outer error is the database's, the inner one the row's.
pub(crate) fn job(row: &Row) -> Result<Result<Stored, BadRow>, Error> {
    let parts = parts(row)?;
    let Some(args) = row.try_get::<_, Option<&[u8]>>(3)? else {
        return Ok(Err(BadRow("the column `args` is empty".into())));
    };
    if let Err(error) = Job::validate_parts(&parts) {
        return Ok(Err(bad_number(row)?.unwrap_or_else(|| BadRow(error.to_string()))));
    }
    // The largest fence has no successor, so it is never handed out.
    let fence = u64::try_from(row.try_get::<_, i64>(10)?).ok().filter(|fence| *fence < i64::MAX as u64);
    let (Ok(attempt), Some(fence)) = (u32::try_from(row.try_get::<_, i32>(8)?), fence) else {
        return Ok(Err(bad_number(row)?.unwrap_or_else(|| BadRow("a number is out of range".into()))));
    };
    Ok(Ok(Stored {
        seq: row.try_get(0)?,
        job: NewJob { parts, args: Bytes::copy_from_slice(args) },
        scheduled_at: row.try_get(6)?,
        created_at: row.try_get::<_, Instant>(7)?.into(),
        attempt,
        fence,
    }))
}

/// Which number of a row is out of its range, as it is there. Asked only where something is wrong.
fn bad_number(row: &Row) -> Result<Option<BadRow>, Error> {
    let int = |column| row.try_get::<_, i32>(column).map(i64::from);
    for (name, given, accepted, range) in [
        ("priority", row.try_get::<_, i16>(5)?.into(), "0 to 9", 0..=9),
        ("the next attempt", int(8)?, "0 to 2147483647", 0..=i64::from(i32::MAX)),
        ("max_attempts", int(9)?, "1 to 1000", 1..=1000),
        ("the next fence", row.try_get(10)?, "0 to 9223372036854775806", 0..=i64::MAX - 1),
        ("timeout_ms", row.try_get::<_, Option<i64>>(11)?.unwrap_or(1), "more than zero", 1..=i64::MAX),
    ] {
        if !range.contains(&given) {
            return Ok(Some(BadRow(format!("{name} {given} is out of range; use {accepted}"))));
        }
    }
    Ok(None)
}

pub(crate) fn id(row: &Row, column: usize) -> Result<JobId, Error> {
    Ok(JobId::from(row.try_get::<_, Uuid>(column)?))
}

/// What can be read of a row, valid or not.
pub(crate) fn parts(row: &Row) -> Result<Parts, Error> {
    let text = |column: usize| row.try_get::<_, &str>(column).map(str::to_owned);
    let mut parts = Parts::new(id(row, 1)?, Kind::from(text(2)?), queue(row.try_get(4)?));
    parts.priority = u8::try_from(row.try_get::<_, i16>(5)?).unwrap_or(u8::MAX);
    parts.scheduled_at = Some(row.try_get::<_, Instant>(6)?.into());
    parts.max_attempts = Some(u32::try_from(row.try_get::<_, i32>(9)?).unwrap_or(0));
    let timeout: Option<i64> = row.try_get(11)?;
    parts.timeout = timeout.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    parts.expires_at = row.try_get::<_, Option<Instant>>(12)?.map(Into::into);
    if let Some(key) = row.try_get::<_, Option<&str>>(13)? {
        let kept = row.try_get::<_, Option<i16>>(14)? == Some(KEPT);
        parts.unique = Some(if kept { Unique::while_kept(key) } else { Unique::new(key) });
    }
    if let Some(json) = row.try_get::<_, Option<&str>>(15)? {
        // Headers that are no object of texts are none.
        parts.headers = serde_json::from_str(json).unwrap_or_default();
    }
    if let Some(json) = row.try_get::<_, Option<&str>>(16)? {
        parts.tags = serde_json::from_str(json).unwrap_or_default();
    }
    Ok(parts)
}

/// The scope of a key that is held as long as the job is kept, as it stands in a row.
pub(crate) const KEPT: i16 = 2;

/// The commonest queue needs no allocation.
fn queue(name: &str) -> Queue {
    if name == Queue::DEFAULT.as_str() { Queue::DEFAULT } else { Queue::from(name.to_owned()) }
}

/// Whole milliseconds, rounded up: a timeout is never zero.
pub(crate) fn millis(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Microseconds, at most a century: more than that Postgres could not add to a date.
pub(crate) fn micros(time: Duration) -> i64 {
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    i64::try_from(time.min(century).as_micros()).unwrap_or(i64::MAX)
}

/// Text as Postgres takes it, which knows no U+0000.
pub(crate) fn text(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}
