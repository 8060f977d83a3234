//! The jobs of a filter, a page at a time, however few of a million they are.

use std::ops::Bound;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::JobState;
use work_core::store::{JobFilter, Order, StoredJob, TimeRange};

use crate::call::{Param, Session};
use crate::candidates::candidates;
use crate::inspect::stored;
use crate::instant::Instant;
use crate::row::text;
use crate::sql::COLUMNS;

/// Rows that are looked at for one page, at most.
pub(crate) const ROWS: usize = 3_000;

/// Rows of one request, and if their arguments are looked at, which may be large.
const CHUNK: usize = 1_000;
const CHUNK_OF_ARGS: usize = 100;

/// A page ends after so many bytes of arguments.
const BYTES: usize = 64 * 1024 * 1024;

/// What a page is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) filter: JobFilter,
    pub(crate) order: Order,
    pub(crate) after: Option<i64>,
    pub(crate) limit: usize,
    /// Rows that are looked at, at most.
    pub(crate) look: usize,
}

/// A page, without the attempts.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) jobs: Vec<StoredJob>,
    pub(crate) next: Option<i64>,
}

impl Search {
    /// How many rows to look at first: as a rule these hold a page. Then the rest.
    fn parts(&self) -> [usize; 2] {
        let spare = if self.filter == JobFilter::all() { 1 } else { 200 };
        let first = self.limit.saturating_add(spare).min(self.look);
        [first, self.look - first]
    }
}

/// Statistics may be as old as the time when the tables were empty: the plans that were good then are forbidden.
/// One look at the store for all statements of a page: a job that starts meanwhile is missed by none of them.
pub(crate) const BY_INDEX: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
    SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off;
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

pub(crate) async fn search(session: &Session, search: &Search) -> Result<Found, Error> {
    session.transaction(search_in(session, search)).await
}

/// In a transaction that has just begun.
pub(crate) async fn search_in(session: &Session, search: &Search) -> Result<Found, Error> {
    session.execute(BY_INDEX).await?;
    look(session, search).await
}

async fn look(session: &Session, search: &Search) -> Result<Found, Error> {
    let (mut found, mut search, [first, rest]) = (Found::default(), search.clone(), search.parts());
    let all = search.limit;
    for part in [first, rest].into_iter().filter(|part| *part > 0) {
        search.limit = all - found.jobs.len();
        let more = look_at(session, &search, part).await?;
        found.jobs.extend(more.jobs);
        found.next = more.next;
        search.after = more.next;
        if search.after.is_none() || found.jobs.len() == all {
            break;
        }
    }
    Ok(found)
}

async fn look_at(session: &Session, search: &Search, look: usize) -> Result<Found, Error> {
    let candidates = candidates(session, search, look).await?;
    let mut by_args = JobFilter::all();
    by_args.args.clone_from(&search.filter.args);
    let size = if by_args.args.is_empty() { CHUNK } else { CHUNK_OF_ARGS };
    let (mut found, mut before, mut bytes) = (Found::default(), search.after, 0);
    for chunk in candidates.rows.chunks(size) {
        let room = if by_args.args.is_empty() { (search.limit - found.jobs.len()).saturating_add(1) } else { size };
        let running = candidates.any_runs(chunk);
        for row in rows(session, search, chunk, (room.min(size), running)).await? {
            let seq = row.try_get(0)?;
            if found.jobs.len() == search.limit || bytes > BYTES {
                found.next = before;
                return Ok(found);
            }
            let job = stored(&row)?;
            bytes += job.job.args.len();
            if by_args.args.is_empty() || by_args.fits(&job) {
                found.jobs.push(job);
            }
            before = Some(seq);
        }
        before = chunk.last().copied().or(before);
    }
    found.next = candidates.until;
    Ok(found)
}

/// How many jobs of a page are in each queue and state, and where the next one starts. For filters without arguments.
pub(crate) async fn states(session: &Session, search: &Search) -> Result<(Vec<Row>, Option<i64>), Error> {
    let counted = async {
        session.execute(BY_INDEX).await?;
        let candidates = candidates(session, search, search.look).await?;
        let jobs = chunk_of_jobs(candidates.any_runs(&candidates.rows));
        let sql = format!("SELECT queue, state, count(*) FROM {jobs} WHERE {CONDITIONS} GROUP BY queue, state");
        let rows = Conditions::of(&search.filter).ask(session, &sql, &candidates.rows, search.look).await?;
        Ok((rows, candidates.until))
    };
    session.transaction(counted).await
}

/// Those of a chunk that fit, in order.
async fn rows(
    session: &Session,
    search: &Search,
    chunk: &[i64],
    (limit, running): (usize, bool),
) -> Result<Vec<Row>, Error> {
    let (_, direction) = comparison(search.order);
    let jobs = chunk_of_jobs(running);
    let sql = format!("SELECT {COLUMNS} FROM {jobs} WHERE {CONDITIONS} ORDER BY seq {direction} LIMIT $2");
    Conditions::of(&search.filter).ask(session, &sql, chunk, limit).await
}

/// The jobs whose numbers are in `$1`: one place in an index for each that waits or is over, and all that run, if any of
/// those is among them.
fn chunk_of_jobs(running: bool) -> String {
    let open = COLUMNS
        .replace("output", "NULL::bytea AS output")
        .replace("finished_at", "NULL::timestamptz AS finished_at")
        .replace("scheduled_at", "coalesce(due_at, scheduled_at) AS scheduled_at")
        .replace("unique_key", "coalesce(unique_key, after_key) AS unique_key");
    let ended = COLUMNS
        .replace("lease_until", "NULL::timestamptz AS lease_until")
        .replace("cancel_requested", "false AS cancel_requested");
    let each = "SELECT one.* FROM unnest($1::bigint[]) AS chunk (n) CROSS JOIN LATERAL";
    let running = if running {
        format!("UNION ALL SELECT {open} FROM work.jobs WHERE state = 'running' AND seq = ANY ($1)")
    } else {
        String::new()
    };
    format!(
        "({each} (SELECT {open} FROM work.jobs WHERE state = 'available' AND seq = chunk.n OFFSET 0) AS one
        {running}
        UNION ALL {each} (SELECT {ended} FROM work.history WHERE seq = chunk.n OFFSET 0) AS one) AS a"
    )
}

/// All conditions but those of the arguments, which only a parser can tell. `$2` is the limit.
const CONDITIONS: &str = "$2::bigint IS NOT NULL
    AND ($3::uuid[] IS NULL OR id = ANY ($3)) AND ($4::text[] IS NULL OR queue = ANY ($4))
    AND ($5::text[] IS NULL OR kind = ANY ($5)) AND ($6::text[] IS NULL OR state = ANY ($6))
    AND ($7::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest($7) AS wanted (tag)
        WHERE NOT EXISTS (SELECT FROM work.tags t WHERE t.tag = wanted.tag AND t.seq = a.seq)))
    AND ($8::timestamptz IS NULL OR created_at >= $8) AND ($9::timestamptz IS NULL OR created_at <= $9)
    AND ($10::timestamptz IS NULL OR scheduled_at >= $10) AND ($11::timestamptz IS NULL OR scheduled_at <= $11)
    AND ($12::timestamptz IS NULL OR finished_at >= $12) AND ($13::timestamptz IS NULL OR finished_at <= $13)
    AND ($14::text IS NULL OR position(lower($14 COLLATE \"C\") IN lower((SELECT e.message COLLATE \"C\"
        FROM work.attempts e WHERE e.job = a.id ORDER BY e.n DESC LIMIT 1))) > 0)";

/// The values of [`CONDITIONS`].
struct Conditions<'f> {
    ids: Option<Vec<Uuid>>,
    queues: Option<Vec<&'f str>>,
    kinds: Option<Vec<&'f str>>,
    states: Option<Vec<&'static str>>,
    tags: Option<Vec<&'f str>>,
    ranges: [[Option<Instant>; 2]; 3],
    error: Option<std::borrow::Cow<'f, str>>,
}

impl<'f> Conditions<'f> {
    fn of(filter: &'f JobFilter) -> Self {
        let ids: Vec<Uuid> = filter.ids.iter().map(|id| *id.as_uuid()).collect();
        Self {
            ids: Some(ids).filter(|ids| !ids.is_empty()),
            queues: names(&filter.queues),
            kinds: names(&filter.kinds),
            states: state_names(filter),
            tags: names(&filter.tags),
            ranges: [edges(&filter.created), edges(&filter.due), edges(&filter.finished)],
            error: filter.error_contains.as_deref().map(text),
        }
    }

    async fn ask(&self, session: &Session, sql: &str, seqs: &[i64], limit: usize) -> Result<Vec<Row>, Error> {
        let (limit, error) = (i64::try_from(limit).unwrap_or(i64::MAX), self.error.as_deref());
        let [[created_from, created_to], [due_from, due_to], [finished_from, finished_to]] = &self.ranges;
        let params: [Param<'_>; 14] = [
            (&seqs, Type::INT8_ARRAY),
            (&limit, Type::INT8),
            (&self.ids, Type::UUID_ARRAY),
            (&self.queues, Type::TEXT_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.states, Type::TEXT_ARRAY),
            (&self.tags, Type::TEXT_ARRAY),
            (created_from, Type::TIMESTAMPTZ),
            (created_to, Type::TIMESTAMPTZ),
            (due_from, Type::TIMESTAMPTZ),
            (due_to, Type::TIMESTAMPTZ),
            (finished_from, Type::TIMESTAMPTZ),
            (finished_to, Type::TIMESTAMPTZ),
            (&error, Type::TEXT),
        ];
        session.query_anew(&session.shared.sql.schema.in_sql(sql), &params).await
    }
}

/// The names, unless there are none. One with U+0000 is nobody's, as the empty one.
pub(crate) fn names<T: AsRef<str>>(names: &[T]) -> Option<Vec<&str>> {
    let known = |name: &'_ T| !name.as_ref().contains('\0');
    let all = names.iter().map(|name| if known(name) { name.as_ref() } else { "" });
    (!names.is_empty()).then(|| all.collect())
}

pub(crate) fn state_names(filter: &JobFilter) -> Option<Vec<&'static str>> {
    (!filter.states.is_empty()).then(|| filter.states.iter().copied().map(JobState::name).collect())
}

/// The first and the last instant of a range, in the microseconds of the database.
fn edges(range: &TimeRange) -> [Option<Instant>; 2] {
    let floor =
        |at: DateTime<Utc>, nanos| Instant::from(at.checked_add_signed(TimeDelta::nanoseconds(nanos)).unwrap_or(at));
    let from = match range.from {
        Bound::Included(at) => Some(floor(at, 999)),
        Bound::Excluded(at) => Some(floor(at, 0).plus(1)),
        Bound::Unbounded => None,
    };
    let to = match range.to {
        Bound::Included(at) => Some(floor(at, 0)),
        Bound::Excluded(at) => Some(floor(at, 999).plus(-1)),
        Bound::Unbounded => None,
    };
    [from, to]
}

pub(crate) const fn comparison(order: Order) -> (&'static str, &'static str) {
    match order {
        Order::OldestFirst => (">", "ASC"),
        Order::NewestFirst => ("<", "DESC"),
    }
}
