use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use work_core::store::{ErrorRecord, Fence, Lease, LeaseKey, Leased, Want};
use work_core::{DEFAULT_MAX_ATTEMPTS, Queue, Status};

use crate::after::NEVER;
use crate::keys;
use crate::queues::{any_limits, is_paused, room};
use crate::rates::{Permits, any_rates};
use crate::row::{self, BadRow, COLUMNS, Stored, WIDTH, instant};
use crate::settle::give_up;
use crate::store::Shared;

/// The next level of priority that has jobs. With one level after the other, a million jobs that are due later cost
/// nothing: each level is one place in the index.
const NEXT_LEVEL: &str = "SELECT min(priority) FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND priority >= ?2";

const NEXT_DUE: &str = "SELECT scheduled_at FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND priority = ?2 AND scheduled_at < ?3 ORDER BY scheduled_at LIMIT 1";

const DUE_OF_LEVEL: &str = "SELECT scheduled_at, seq FROM jobs INDEXED BY jobs_ready
    WHERE state = 'available' AND queue = ?1 AND priority = ?2 AND scheduled_at <= ?3
    ORDER BY scheduled_at, seq LIMIT ?4";

/// With aging: when a job would have been due at the first level, to come at the same time.
fn aged_key(at: i64, priority: i64, step: i64) -> i64 {
    at.saturating_add(priority.saturating_mul(step))
}

/// What is due at a level, as it will be once it is taken.
///
/// A look and then a change of each row by its number cost a quarter less than one change of all that answers the rows.
static DUE: LazyLock<String> = LazyLock::new(|| {
    // `min`, since a sum that is no longer an integer would be no number, and the row none that can be refused.
    let columns = COLUMNS
        .replace("attempt,", "min(attempt, 9223372036854775806) + 1,")
        .replace("fence,", "min(fence, 9223372036854775806) + 1,")
        // What is too large is a dead letter that is never loaded.
        .replace("args", "CASE WHEN octet_length(args) <= ?5 THEN args END");
    format!(
        "SELECT {columns}, octet_length(args), scheduled_at FROM jobs INDEXED BY jobs_ready
         WHERE state = 'available' AND queue = ?1 AND priority = ?2 AND scheduled_at <= ?3
         ORDER BY scheduled_at, seq LIMIT ?4"
    )
});

const TAKE: &str = "UPDATE jobs SET state = 'running', attempt = ?2, fence = ?3, lease_until = ?4, worker = ?5
    WHERE seq = ?1";

/// From so many rows on they are taken at once.
const MANY: usize = 4;

/// All that was found, from the first to the last row: one change of many rows costs a quarter less than many of one. Nothing
/// else is there, since both are of one transaction. In two parts, each of which reads no row more than it takes.
pub(crate) static TAKE_ALL: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["scheduled_at < ?5", "scheduled_at = ?5 AND seq <= ?6"].map(|part| {
        format!(
            "UPDATE jobs INDEXED BY jobs_ready
             SET state = 'running', attempt = attempt + 1, fence = fence + 1, lease_until = ?3, worker = ?4
             WHERE state = 'available' AND queue = ?1 AND priority = ?2 AND {part}"
        )
    })
});

pub(crate) fn lease(connection: &Connection, shared: &Shared, want: &Want) -> rusqlite::Result<Leased> {
    let now = shared.now();
    let named = if want.has_keys() { Some(keys::named(connection, want, now)?) } else { None };
    let want = named.as_ref().unwrap_or(want);
    let due = connection.prepare_cached(&DUE)?;
    let mut leasing = Leasing { connection, shared, want, now, due };
    let mut leased = Leased::default();
    let (any_limits, any_rates) = (any_limits(connection)?, any_rates(connection)?);
    let permits_of = |queue: &Queue| if any_rates { Permits::of(connection, queue, now) } else { Ok(None) };
    let room_of = |queue: &Queue| if any_limits { room(connection, queue) } else { Ok(usize::MAX) };
    let mut open = Vec::with_capacity(want.queues.len());
    for (queue, at_most) in want.turns() {
        if !is_paused(connection, queue)? {
            let (permits, first) = (permits_of(queue)?, leased.jobs.len());
            let room = room_of(queue)?.min(permits.as_ref().map_or(usize::MAX, Permits::room));
            leasing.queue(queue, at_most.min(room), &mut leased)?;
            open.push(queue);
            if let Some(permits) = permits {
                permits.take(connection, leased.jobs.len() - first)?;
            }
        }
    }
    if leased.jobs.len() < want.limit {
        let mut next = None;
        for queue in open {
            if room_of(queue)? > 0 {
                let permit = permits_of(queue)?.and_then(|permits| permits.next());
                next = earlier(next, first_due(connection, queue)?.map(|at| at.max(permit.unwrap_or(at))));
            }
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
    due: CachedStatement<'c>,
}

impl Leasing<'_> {
    fn queue(&mut self, queue: &Queue, at_most: usize, leased: &mut Leased) -> rusqlite::Result<()> {
        let until = leased.jobs.len().saturating_add(at_most).min(self.want.limit);
        if let Some(step) = self.want.aging {
            return self.aged(queue, until, i64::try_from(step.as_millis()).unwrap_or(i64::MAX), leased);
        }
        // From the lowest number there is: a row with a priority out of range must be found to be refused.
        let mut from = Some(i64::MIN);
        while let Some(least) = from.filter(|_| leased.jobs.len() < until) {
            let Some(level) = next_level(self.connection, queue, least)? else { break };
            while leased.jobs.len() < until && self.level(queue, level, until, leased)? > 0 {}
            from = level.checked_add(1);
        }
        Ok(())
    }

    /// The levels of priority are merged by when a job would have been due at the first one.
    fn aged(&mut self, queue: &Queue, until: usize, step: i64, leased: &mut Leased) -> rusqlite::Result<()> {
        while leased.jobs.len() < until {
            let (first, levels) = (leased.jobs.len(), self.first_of_levels(queue, until - leased.jobs.len(), step)?);
            let mut touched = 0;
            for (level, jobs) in levels {
                touched += self.level(queue, level, leased.jobs.len() + jobs, leased)?;
            }
            let key = |lease: &Lease| {
                let parts = &lease.job.parts;
                let at = parts.scheduled_at.map_or(i64::MIN, |at| at.timestamp_millis());
                (aged_key(at, i64::from(parts.priority), step), lease.key.row)
            };
            leased.jobs[first..].sort_by_key(key);
            if touched == 0 {
                break;
            }
        }
        Ok(())
    }

    /// How many jobs of each level are among the first ones.
    fn first_of_levels(&self, queue: &Queue, limit: usize, step: i64) -> rusqlite::Result<Vec<(i64, usize)>> {
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let (mut levels, mut due, mut from) = (Vec::new(), Vec::new(), Some(i64::MIN));
        while let Some(least) = from {
            let Some(level) = next_level(self.connection, queue, least)? else { break };
            let mut statement = self.connection.prepare_cached(DUE_OF_LEVEL)?;
            let mut rows = statement.query(params![queue.as_str(), level, self.now, most])?;
            while let Some(row) = rows.next()? {
                due.push((aged_key(row.get(0)?, level, step), row.get::<_, i64>(1)?, levels.len()));
            }
            levels.push((level, 0));
            from = level.checked_add(1);
        }
        due.sort_unstable();
        due.iter().take(limit).for_each(|(.., at)| levels[*at].1 += 1);
        levels.retain(|(_, jobs)| *jobs > 0);
        Ok(levels)
    }

    /// Takes what is due at one level, until there are so many in all. Answers how many rows were touched: some may be no jobs.
    fn level(&mut self, queue: &Queue, level: i64, until: usize, leased: &mut Leased) -> rusqlite::Result<usize> {
        let limit = i64::try_from(until - leased.jobs.len()).unwrap_or(i64::MAX);
        let lease_for = i64::try_from(self.want.lease_for.as_millis()).unwrap_or(i64::MAX);
        let until = self.now.saturating_add(lease_for);
        let max_args = i64::try_from(self.shared.max_args).unwrap_or(i64::MAX);
        let mut rows = self.due.query(params![queue.as_str(), level, self.now, limit, max_args])?;
        let (mut found, mut bad, mut last_at) = (Vec::new(), Vec::new(), i64::MIN);
        while let Some(row) = rows.next()? {
            last_at = row.get(WIDTH + 1)?;
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
        match found.last() {
            Some(last) if bad.is_empty() && found.len() >= MANY => {
                let [before, at_last] = &*TAKE_ALL;
                let (queue, worker) = (queue.as_str(), &*self.want.worker);
                let before =
                    self.connection.prepare_cached(before)?.execute(params![queue, level, until, worker, last_at])?;
                let mut at_last = self.connection.prepare_cached(at_last)?;
                let taken = before + at_last.execute(params![queue, level, until, worker, last_at, last.seq])?;
                if taken != found.len() {
                    return Err(rusqlite::Error::StatementChangedRows(taken));
                }
            }
            _ => self.take_each(&found, until)?,
        }
        let touched = found.len() + bad.len();
        self.discard(bad)?;
        leased.jobs.extend(found.into_iter().map(|stored| leased_job(stored, until)));
        Ok(touched)
    }

    fn take_each(&self, found: &[Stored], until: i64) -> rusqlite::Result<()> {
        let mut take = self.connection.prepare_cached(TAKE)?;
        // What is the same for all of them is bound once: a text is copied each time.
        take.raw_bind_parameter(4, until)?;
        take.raw_bind_parameter(5, &*self.want.worker)?;
        for stored in found {
            take.raw_bind_parameter(1, stored.seq)?;
            take.raw_bind_parameter(2, stored.attempt)?;
            take.raw_bind_parameter(3, stored.fence.cast_signed())?;
            take.raw_execute()?;
        }
        Ok(())
    }

    /// Keeps what cannot be started as dead letters; they had no attempt.
    fn discard(&self, bad: Vec<(i64, BadRow)>) -> rusqlite::Result<()> {
        for (seq, BadRow(why)) in bad {
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
