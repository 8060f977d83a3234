use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

/// A lease that ends later than this was taken while the clock was wrong.
const LONGEST: i64 = 60 * 60 * 1_000;

/// The right to deliver and to mark the rows of a table, which one relay has at a time.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) outbox: String,
    pub(super) owner: String,
    pub(super) time: Duration,
    /// The number of the lease that we hold. Any other holder, and a new lease of ours, has a larger one.
    pub(super) fence: Option<i64>,
}

impl Lease {
    /// Takes the lease, or extends it. Inside a transaction that writes. `None`: another relay has it.
    pub(super) fn take(&self, connection: &Connection, now: i64) -> rusqlite::Result<Option<i64>> {
        let until = now.saturating_add(i64::try_from(self.time.as_millis()).unwrap_or(LONGEST));
        // The name is made once: it tells the rows of this file from those of other files.
        let sql = "INSERT INTO work_outbox_leases AS held(outbox, name, owner, fence, expires_at) \
                   VALUES (?1, ?2, ?2, 1, ?3) ON CONFLICT(outbox) DO UPDATE \
                   SET owner = excluded.owner, expires_at = excluded.expires_at, \
                       fence = held.fence + (held.owner <> excluded.owner) \
                   WHERE held.owner = excluded.owner OR held.expires_at <= ?4 OR held.expires_at > ?4 + ?5 \
                   RETURNING fence";
        let mut statement = connection.prepare_cached(sql)?;
        let taken = statement.query_row((&self.outbox, &self.owner, until, now, LONGEST), |row| row.get(0));
        taken.optional()
    }

    /// Whether it would be in vain to try.
    pub(super) fn is_taken(&self, connection: &Connection, now: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) FROM work_outbox_leases \
                   WHERE outbox = ?1 AND owner <> ?2 AND expires_at > ?3 AND expires_at <= ?3 + ?4";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row((&self.outbox, &self.owner, now, LONGEST), |row| row.get::<_, i64>(0).map(|held| held > 0))
    }

    /// What tells the rows of this file from those of others, for as long as the file exists.
    pub(super) fn name(&self, connection: &Connection) -> rusqlite::Result<String> {
        let sql = "SELECT name FROM work_outbox_leases WHERE outbox = ?1";
        connection.prepare_cached(sql)?.query_row([&self.outbox], |row| row.get(0))
    }

    /// Gives it back, so that another relay need not wait for its end.
    pub(super) fn give_back(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE work_outbox_leases SET expires_at = 0 WHERE outbox = ?1 AND owner = ?2 AND fence = ?3";
        connection.execute(sql, (&self.outbox, &self.owner, self.fence)).map(drop)
    }
}
