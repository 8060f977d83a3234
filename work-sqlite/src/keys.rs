//! Queues of keys: jobs of each key wait in a queue of their own.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use work_core::Queue;
use work_core::store::Want;

const NEXT: &str = "SELECT min(queue) FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue > ?1 AND queue < ?2";

const FIRST: &str = "SELECT priority, scheduled_at FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND scheduled_at <= ?2 ORDER BY priority, scheduled_at LIMIT 1";

/// With the queues of keys by their names, the one whose job is due first first.
pub(crate) fn named(connection: &Connection, want: &Want, now: i64) -> rusqlite::Result<Want> {
    want.with_keys(|keys| {
        let prefix = keys.keys_of().unwrap_or_default();
        // The sign after the colon.
        let end = format!("{};", prefix.trim_end_matches(':'));
        let (mut found, mut from) = (Vec::new(), prefix.as_bytes().to_vec());
        while let Some(queue) = next(connection, &from, &end)? {
            from.clone_from(&queue);
            // No job of it is leased, and the others are.
            let Ok(queue) = String::from_utf8(queue) else { continue };
            let mut first = connection.prepare_cached(FIRST)?;
            let place = first.query_row(params![queue, now], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            found.push((place.unwrap_or((i64::MAX, i64::MAX)), Queue::from(queue)));
        }
        found.retain(|(_, queue)| queue.is_key_of(keys));
        found.sort_unstable();
        let queues: Vec<Queue> = found.into_iter().map(|(_, queue)| queue).collect();
        share_limits(connection, keys, &queues)?;
        Ok(queues)
    })
}

/// The bytes of the name: a row that came by hand may have one that is no text.
fn next(connection: &Connection, from: &[u8], end: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let from = ToSqlOutput::Borrowed(ValueRef::Text(from));
    let name = |row: &Row<'_>| row.get_ref(0).map(|name| name.as_bytes_or_null().ok().flatten().map(<[u8]>::to_vec));
    connection.prepare_cached(NEXT)?.query_row(params![from, end], name)
}

/// Each gets the limits of all, unless it has its own.
fn share_limits(connection: &Connection, keys: &Queue, queues: &[Queue]) -> rusqlite::Result<()> {
    for table in [
        "INSERT OR IGNORE INTO limits (queue, at_most) SELECT ?1, at_most FROM limits WHERE queue = ?2",
        "INSERT OR IGNORE INTO rates (queue, shape, count, per_ns, burst, name)
            SELECT ?1, shape, count, per_ns, burst, name FROM rates WHERE queue = ?2",
    ] {
        let mut statement = connection.prepare_cached(table)?;
        for queue in queues {
            statement.execute([queue.as_str(), keys.as_str()])?;
        }
    }
    Ok(())
}

/// Those of single keys are made anew.
pub(crate) fn forget_limits(connection: &Connection, table: &str, keys: &Queue) -> rusqlite::Result<()> {
    if let Some(prefix) = keys.keys_of() {
        let sql = format!(
            "DELETE FROM {table} WHERE substr(queue, 1, length(?1)) = ?1 AND queue <> ?2
            AND instr(substr(queue, length(?1) + 1), ':') = 0"
        );
        connection.execute(&sql, [prefix, keys.as_str()])?;
    }
    Ok(())
}
