use rusqlite::Connection;
use work_core::{Clock, Status};

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

/// What a final status says about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Published,
    Dead,
    /// Deliver it again; it counts as a failure.
    Failed,
    /// Deliver it again; nobody has found anything wrong with it.
    NotNow,
}

/// The decisions are those of [`RetryPolicy`](work_core::RetryPolicy), but for 499: a worker that stops says nothing about
/// the row.
pub(super) fn meaning(status: Option<Status>) -> Meaning {
    let Some(status) = status else {
        return Meaning::NotNow;
    };
    match status.code() {
        _ if status.is_complete() => Meaning::Published,
        429 | 499 => Meaning::NotNow,
        408 => Meaning::Failed,
        400..=499 => Meaning::Dead,
        _ => Meaning::Failed,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning_for_a_row() {
        assert_eq!(meaning(None), Meaning::NotNow);
        for code in 100..=999 {
            let expected = match code {
                200..=299 | 444 => Meaning::Published,
                429 | 499 => Meaning::NotNow,
                400..=498 if code != 408 => Meaning::Dead,
                _ => Meaning::Failed,
            };
            assert_eq!(meaning(Status::new(code).ok()), expected, "{code}");
        }
    }
}
