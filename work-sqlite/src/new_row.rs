//! New jobs as rows.

use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::CachedStatement;
use work_core::store::NewJob;
use work_core::{DEFAULT_MAX_ATTEMPTS, UniqueScope};

use crate::insert::text_or_bytes;
use crate::row::millis;

const COLUMNS: [&str; 14] = [
    "id",
    "kind",
    "args",
    "queue",
    "priority",
    "scheduled_at",
    "created_at",
    "max_attempts",
    "timeout_ms",
    "expires_at",
    "unique_key",
    "unique_scope",
    "headers",
    "tags",
];

/// Rows of one statement: what a statement costs beside its rows is then little.
pub(crate) const AT_ONCE: usize = 16;

/// Inserts a row, which is left out if it is there already.
pub(crate) static ONE: LazyLock<String> = LazyLock::new(|| format!("{} ON CONFLICT DO NOTHING", insert_sql(1)));

/// Inserts [`AT_ONCE`] rows, which are refused together if one is there already.
pub(crate) static MANY: LazyLock<String> = LazyLock::new(|| insert_sql(AT_ONCE));

fn insert_sql(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS.len()].join(", "));
    format!("INSERT INTO jobs ({}) VALUES {}", COLUMNS.join(", "), vec![row.as_str(); rows].join(", "))
}

/// Answers whether the job is new.
pub(crate) fn insert(
    one: &mut CachedStatement<'_>,
    job: &NewJob,
    key: Option<&str>,
    now: i64,
) -> rusqlite::Result<bool> {
    bind(one, 0, job, key, now)?;
    Ok(one.raw_execute()? == 1)
}

/// Binds one of the rows of a statement, the first of which is 0.
pub(crate) fn bind(
    statement: &mut CachedStatement<'_>,
    row: usize,
    job: &NewJob,
    key: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    let (parts, at) = (&job.parts, row * COLUMNS.len());
    // The defaults of most jobs cost nothing.
    let headers = if parts.headers.is_empty() { None } else { serde_json::to_string(&parts.headers).ok() };
    let tags = if parts.tags.is_empty() { None } else { serde_json::to_string(&parts.tags).ok() };
    let scope = parts.unique.as_ref().map(|unique| match unique.scope() {
        // What held longer than the window of a later job is let go by that one.
        UniqueScope::WhileKept | UniqueScope::Within(_) => 2,
        _ => 1,
    });
    statement.raw_bind_parameter(at + 1, parts.id.as_uuid().as_bytes().as_slice())?;
    statement.raw_bind_parameter(at + 2, parts.kind.as_str())?;
    statement.raw_bind_parameter(at + 3, text_or_bytes(&job.args))?;
    statement.raw_bind_parameter(at + 4, parts.queue.as_str())?;
    statement.raw_bind_parameter(at + 5, parts.priority)?;
    statement.raw_bind_parameter(at + 6, parts.scheduled_at.map_or(now, millis))?;
    statement.raw_bind_parameter(at + 7, now)?;
    statement.raw_bind_parameter(at + 8, parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS))?;
    statement.raw_bind_parameter(at + 9, parts.timeout.map(whole_millis))?;
    statement.raw_bind_parameter(at + 10, parts.expires_at.map(millis))?;
    statement.raw_bind_parameter(at + 11, key)?;
    statement.raw_bind_parameter(at + 12, scope)?;
    statement.raw_bind_parameter(at + 13, headers)?;
    statement.raw_bind_parameter(at + 14, tags)
}

/// Rounded up: a timeout is never zero.
pub(crate) fn whole_millis(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
