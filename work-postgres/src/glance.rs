//! Counts that stop: how many jobs there are, as far as so many rows tell.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use work_core::store::{BoxFuture, JobFilter, QueueInfo, Queues, Tally};
use work_core::{JobState, Queue};

use crate::call::{Param, Session};
use crate::instant::Instant;
use crate::queues::{base, info};
use crate::search::{BY_INDEX, Search, search, states};

/// All jobs in the order of arrival, from `$1` on.
const PART: &str = "SELECT queue, state, count(*), max(seq) FROM (SELECT seq, queue, state FROM (
        (SELECT seq, queue, state FROM (SELECT seq, queue, state FROM work.jobs WHERE state = 'running' OFFSET 0) AS running
            WHERE seq > $1 ORDER BY seq LIMIT $2)
        UNION ALL (SELECT seq, queue, state FROM work.jobs WHERE state = 'available' AND seq > $1 ORDER BY seq LIMIT $2)
        UNION ALL (SELECT seq, queue, state FROM work.history WHERE seq > $1 ORDER BY seq LIMIT $2)
    ) AS arms ORDER BY seq LIMIT $2) AS part GROUP BY queue, state";

/// A part of a count.
pub(crate) fn tally<'c>(session: &'c Session, wanted: &'c Search) -> BoxFuture<'c, Result<Tally, Error>> {
    Box::pin(async move {
        if wanted.filter == JobFilter::all() {
            return session.transaction(part(session, wanted)).await;
        }
        let mut tally = Tally::default();
        if wanted.filter.args.is_empty() {
            let (rows, next) = states(session, wanted).await?;
            rows.iter().try_for_each(|row| count(&mut tally, row))?;
            tally.next = next;
            return Ok(tally);
        }
        let found = search(session, wanted).await?;
        found.jobs.into_iter().for_each(|job| tally.count(job.job.parts.queue, job.state, 1));
        tally.next = found.next;
        Ok(tally)
    })
}

async fn part(session: &Session, wanted: &Search) -> Result<Tally, Error> {
    session.execute(BY_INDEX).await?;
    let (from, look) = (wanted.after.unwrap_or(i64::MIN), number(wanted.look));
    let sql = session.shared.sql.schema.in_sql(PART);
    let rows = session.query_anew(&sql, &[(&from, Type::INT8), (&look, Type::INT8)]).await?;
    let mut tally = Tally::default();
    rows.iter().try_for_each(|row| count(&mut tally, row))?;
    if tally.total() >= wanted.look as u64 {
        let last = rows.iter().map(|row| row.try_get::<_, i64>(3)).collect::<Result<Vec<_>, _>>()?;
        tally.next = last.into_iter().max();
    }
    Ok(tally)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A row of queue, state and number.
fn count(tally: &mut Tally, row: &Row) -> Result<(), Error> {
    let state = row.try_get::<_, &str>(1)?.parse().unwrap_or(JobState::Discarded);
    let jobs = u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
    tally.count(Queue::from(row.try_get::<_, String>(0)?), state, jobs);
    Ok(())
}

/// The names of queues that have such jobs, each by one place in the index.
fn names_sql(jobs: &str) -> String {
    format!(
        "WITH RECURSIVE names (queue) AS (
            (SELECT queue FROM {jobs} ORDER BY queue LIMIT 1)
            UNION ALL
            SELECT (SELECT j.queue FROM {jobs} AND j.queue > names.queue ORDER BY j.queue LIMIT 1)
            FROM names WHERE names.queue IS NOT NULL
        ) SELECT queue FROM names WHERE queue IS NOT NULL LIMIT $1"
    )
}

/// What waits in these queues, and when the first of them was due: one place in the index for each priority. The order is
/// that of the index which leads to a queue: any other would be gone through to its end for a queue of few jobs.
const READY: &str = "SELECT q.queue, 'available',
        (SELECT count(*) FROM (SELECT FROM work.jobs j WHERE j.state = 'available' AND j.queue = q.queue
            ORDER BY j.priority, j.scheduled_at LIMIT $2) AS part),
        (SELECT min(first.at) FROM generate_series(0, 9) AS p (n) CROSS JOIN LATERAL (
            SELECT j.scheduled_at AS at FROM work.jobs j
            WHERE j.state = 'available' AND j.queue = q.queue AND j.priority = p.n::smallint
            ORDER BY j.scheduled_at LIMIT 1) AS first)
    FROM unnest($1::text[]) AS q (queue)";

/// The same: one queue is a range of them, so that the order asks for the index which begins with it.
const ENDED: &str = "SELECT q.queue, s.state,
        (SELECT count(*) FROM (SELECT FROM work.history h WHERE h.state = s.state AND h.queue >= q.queue
            AND h.queue <= q.queue AND h.state IN ('discarded', 'cancelled') ORDER BY h.queue, h.seq LIMIT $2) AS part),
        NULL::timestamptz
    FROM unnest($1::text[]) AS q (queue) CROSS JOIN (VALUES ('discarded'), ('cancelled')) AS s (state)";

/// They are in the order in which their leases end: if there are more, each queue may have more.
const RUNNING: &str = "SELECT queue, 'running', count(*), NULL::timestamptz
    FROM (SELECT queue FROM work.jobs WHERE state = 'running' LIMIT $1) AS part GROUP BY queue";

/// The queues, with counts that stop.
pub(crate) fn queues_up_to<'c>(session: &'c Session, entries: &'c usize) -> BoxFuture<'c, Result<Queues, Error>> {
    Box::pin(async move {
        let (queues, now) = base(session).await?;
        let looked = async {
            session.execute(BY_INDEX).await?;
            let mut look = Look { session, queues, now, complete: true };
            // A quarter each: for the names of queues, for what runs; the rest for all else.
            let quarter = (entries / 4).max(1);
            let waiting = look.names("work.jobs j WHERE j.state = 'available'", quarter).await?;
            let ended = "work.history j WHERE j.state IN ('discarded', 'cancelled')";
            let ended = look.names(ended, quarter).await?;
            let each = (2 * quarter / (waiting.len() + 2 * ended.len()).max(1)).max(1);
            look.counts(READY, &waiting, each).await?;
            look.counts(ENDED, &ended, each).await?;
            look.running(quarter).await?;
            Ok(Queues { queues: look.queues.into_values().collect(), complete: look.complete })
        };
        session.transaction(looked).await
    })
}

struct Look<'l> {
    session: &'l Session,
    queues: BTreeMap<Queue, QueueInfo>,
    now: DateTime<Utc>,
    complete: bool,
}

impl Look<'_> {
    async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.session.query_anew(&self.session.shared.sql.schema.in_sql(sql), params).await
    }

    async fn names(&mut self, jobs: &str, most: usize) -> Result<Vec<String>, Error> {
        let rows = self.ask(&names_sql(jobs), &[(&number(most + 1), Type::INT8)]).await?;
        let mut names = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<_>, _>>()?;
        self.complete &= names.len() <= most;
        names.truncate(most);
        Ok(names)
    }

    async fn counts(&mut self, sql: &str, queues: &[String], each: usize) -> Result<(), Error> {
        let params: [Param<'_>; 2] = [(&queues, Type::TEXT_ARRAY), (&number(each + 1), Type::INT8)];
        for row in self.ask(sql, &params).await? {
            self.group(&row, each as u64)?;
        }
        Ok(())
    }

    async fn running(&mut self, most: usize) -> Result<(), Error> {
        let mut running = 0;
        for row in self.ask(RUNNING, &[(&number(most + 1), Type::INT8)]).await? {
            running += self.group(&row, u64::MAX)?;
        }
        if running > most as u64 {
            self.queues.values_mut().for_each(|info| _ = info.at_least.insert(JobState::Running));
        }
        Ok(())
    }

    fn group(&mut self, row: &Row, each: u64) -> Result<u64, Error> {
        let state = row.try_get::<_, &str>(1)?.parse().unwrap_or(JobState::Discarded);
        let jobs = u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
        if jobs == 0 {
            return Ok(0);
        }
        let info = info(&mut self.queues, Queue::from(row.try_get::<_, String>(0)?));
        info.counts.0.insert(state, jobs.min(each));
        if jobs > each {
            info.at_least.insert(state);
        }
        if let Some(at) = row.try_get::<_, Option<Instant>>(3)? {
            info.oldest_ready_for = (self.now - DateTime::from(at)).to_std().ok();
        }
        Ok(jobs)
    }
}
