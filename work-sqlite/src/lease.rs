use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use work_core::store::{ErrorRecord, Fence, Lease, LeaseKey, Leased, Want};
use work_core::{DEFAULT_MAX_ATTEMPTS, Queue, Status};

use crate::after::NEVER;
use crate::queues::at_work;
use crate::row::{self, BadRow, COLUMNS, Stored, WIDTH, instant};
use crate::settle::give_up;
use crate::store::Shared;

/// The next level of priority that has jobs. With one level after the other, a million jobs that are due later cost
/// nothing: each level is one place in the index.
const NEXT_LEVEL: &str = "SELECT min(priority) FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND priority >= ?2";

const NEXT_DUE: &str = "SELECT scheduled_at FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND priority = ?2 AND scheduled_at < ?3 ORDER BY scheduled_at LIMIT 1";

fn lease_sql() -> String {
    format!(
        // `min`, since a sum that is no longer an integer would be refused, and with it every job beside this one.
        "UPDATE jobs SET state = 'running', attempt = min(attempt, 9223372036854775806) + 1,
            fence = min(fence, 9223372036854775806) + 1, lease_until = ?1, worker = ?2
         WHERE seq IN (
             SELECT seq FROM jobs INDEXED BY jobs_ready
             WHERE state = 'available' AND queue = ?3 AND priority = ?4 AND scheduled_at <= ?5
             ORDER BY scheduled_at, seq LIMIT ?6)
         RETURNING {}, octet_length(args)",
        // What is too large is a dead letter that is never loaded.
        COLUMNS.replace("args", "CASE WHEN octet_length(args) <= ?7 THEN args END")
    )
}

pub(crate) fn lease(connection: &Connection, shared: &Shared, want: &Want) -> rusqlite::Result<Leased> {
    let now = shared.now();
    let mut leasing = Leasing { connection, shared, want, now, statement: connection.prepare_cached(&lease_sql())? };
    let mut leased = Leased::default();
    let queues = at_work(connection, &want.queues)?;
    for queue in &queues {
        leasing.queue(queue, &mut leased)?;
    }
    if leased.jobs.len() < want.limit {
        let mut next = None;
        for queue in &queues {
            next = earlier(next, first_due(connection, queue)?);
        }
        leased.next_due_in = next.map(|at| Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0)));
    }
    Ok(leased)
}

struct Leasing<'c> {
    connection: &'c Connection,
    shared: &'c Shared,
    want: &'c Want,
    now: i64,
    statement: CachedStatement<'c>,
}

impl Leasing<'_> {
    fn queue(&mut self, queue: &Queue, leased: &mut Leased) -> rusqlite::Result<()> {
        // From the lowest number there is: a row with a priority out of range must be found to be refused.
        let mut from = Some(i64::MIN);
        while let Some(least) = from.filter(|_| leased.jobs.len() < self.want.limit) {
            let Some(level) = next_level(self.connection, queue, least)? else { break };
            while leased.jobs.len() < self.want.limit && self.level(queue, level, leased)? > 0 {}
            from = level.checked_add(1);
        }
        Ok(())
    }

    /// Takes what is due at one level. Answers how many rows were touched: some may be no jobs.
    fn level(&mut self, queue: &Queue, level: i64, leased: &mut Leased) -> rusqlite::Result<usize> {
        let lease_for = i64::try_from(self.want.lease_for.as_millis()).unwrap_or(i64::MAX);
        let until = self.now.saturating_add(lease_for);
        let limit = i64::try_from(self.want.limit - leased.jobs.len()).unwrap_or(i64::MAX);
        let max_args = i64::try_from(self.shared.max_args).unwrap_or(i64::MAX);
        let (queue, worker) = (queue.as_str(), self.want.worker.as_str());
        let mut rows = self.statement.query(params![until, worker, queue, level, self.now, limit, max_args])?;
        let (mut found, mut bad, mut touched) = (Vec::new(), Vec::new(), 0);
        while let Some(row) = rows.next()? {
            touched += 1;
            let size: Option<i64> = row.get(WIDTH)?;
            if size.is_some_and(|size| size > max_args) {
                let why = format!("args have {} bytes; at most {max_args} are accepted", size.unwrap_or_default());
                bad.push((row.get(0)?, BadRow(why)));
                continue;
            }
            match row::job(row)? {
                Ok(stored) => match refused(&stored, self.now) {
                    Some(why) => bad.push((stored.seq, why)),
                    None => found.push(stored),
                },
                Err(why) => bad.push((row.get(0)?, why)),
            }
        }
        drop(rows);
        self.discard(bad)?;
        // The order in which rows come back is nobody's promise.
        found.sort_unstable_by_key(|stored| (stored.scheduled_at, stored.seq));
        leased.jobs.extend(found.into_iter().map(|stored| leased_job(stored, until)));
        Ok(touched)
    }

    /// Keeps what cannot be started as dead letters; they had no attempt.
    fn discard(&self, bad: Vec<(i64, BadRow)>) -> rusqlite::Result<()> {
        for (seq, BadRow(why)) in bad {
            let mut refund = self.connection.prepare_cached("UPDATE jobs SET attempt = attempt - 1 WHERE seq = ?1")?;
            refund.execute([seq])?;
            give_up(self.connection, self.shared, seq, Status::BAD_REQUEST, &ErrorRecord::new(why))?;
        }
        Ok(())
    }
}

/// Why a job that can be read is not started all the same.
fn refused(stored: &Stored, now: i64) -> Option<BadRow> {
    let parts = &stored.job.parts;
    let most = parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS);
    if parts.expires_at.is_some_and(|at| at.timestamp_millis() <= now) {
        Some(BadRow("it expired before it started".into()))
    } else if stored.attempt > most {
        Some(BadRow(format!("this would be attempt {} of at most {most}", stored.attempt)))
    } else {
        None
    }
}

fn leased_job(stored: Stored, until: i64) -> Lease {
    Lease {
        key: LeaseKey { id: stored.job.parts.id, fence: Fence(stored.fence), row: stored.seq },
        job: stored.job,
        attempt: stored.attempt,
        until: instant(until),
        created_at: stored.created_at,
    }
}

fn next_level(connection: &Connection, queue: &Queue, least: i64) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(NEXT_LEVEL)?.query_row(params![queue.as_str(), least], |row| row.get(0))
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

/// When the first job of a queue that is available is due, or was.
pub(crate) fn first_due(connection: &Connection, queue: &Queue) -> rusqlite::Result<Option<i64>> {
    let mut earliest = None;
    let mut from = Some(i64::MIN);
    while let Some(least) = from {
        let Some(level) = next_level(connection, queue, least)? else { break };
        from = level.checked_add(1);
        let mut statement = connection.prepare_cached(NEXT_DUE)?;
        let at = statement.query_row(params![queue.as_str(), level, NEVER], |row| row.get(0)).optional()?;
        earliest = earlier(earliest, at);
    }
    Ok(earliest)
}
