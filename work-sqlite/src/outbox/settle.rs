use rusqlite::Connection;
use work_core::Clock;

use super::keys::{Key, Value};
use super::table::{Table, Times};

/// What is to be written about a row.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) key: Key,
    pub(super) row: Value,
    /// Why it is dead; `None`: it is published.
    pub(super) dead: Option<String>,
}

/// Writes verdicts. Inside a transaction that writes.
pub(super) fn write(
    connection: &Connection,
    table: &Table,
    verdicts: &[Verdict],
    clock: &Clock,
) -> rusqlite::Result<()> {
    let now = clock.now();
    let published_at = match table.times {
        Times::Milliseconds => Value::Integer(now.timestamp_millis()),
        Times::Text => Value::Text(now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into()),
        Times::Flag => Value::Integer(1),
    };
    for Verdict { row, dead, .. } in verdicts {
        match dead {
            None => connection.prepare_cached(&table.publish)?.execute((row, &published_at))?,
            Some(reason) => connection.prepare_cached(&table.bury)?.execute((row, reason))?,
        };
    }
    Ok(())
}
