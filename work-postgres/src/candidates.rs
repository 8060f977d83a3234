//! Jobs that a filter may mean, from the indexes that tell.

use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::JobState;
use work_core::store::{JobFilter, Order};

use crate::call::{Param, Session};
use crate::row::text;
use crate::search::{Search, comparison, names};

/// Jobs that may be meant, by their number and in order.
pub(crate) struct Candidates {
    pub(crate) rows: Vec<i64>,
    /// The last of them, if there may be more after it.
    pub(crate) until: Option<i64>,
    /// Those of all jobs that run, in order.
    running: Vec<i64>,
}

impl Candidates {
    /// True if one of these runs.
    pub(crate) fn any_runs(&self, rows: &[i64]) -> bool {
        rows.iter().any(|seq| self.running.binary_search(seq).is_ok())
    }
}

/// Waiting jobs of some queues that are put in order, at most: if there are more, the table is read in order.
const FEW: usize = 2_000;

/// More queues than this are not looked up one by one.
const MANY_QUEUES: usize = 20;

/// The first `look` jobs of a page that may be meant.
pub(crate) async fn candidates(session: &Session, search: &Search, look: usize) -> Result<Candidates, Error> {
    let filter = &search.filter;
    let mut rows = if !filter.ids.is_empty() {
        let ids: Vec<Uuid> = filter.ids.iter().map(|id| *id.as_uuid()).collect();
        let arms = [BY_ID.to_owned()];
        ask(session, search, look, &arms, &[(&ids, Type::UUID_ARRAY)]).await?
    } else if let Some(tag) = filter.tags.first() {
        let arms = ["SELECT seq FROM work.tags WHERE tag = $3 AND seq AFTER $1 ORDER BY seq WAY LIMIT $2".into()];
        ask(session, search, look, &arms, &[(&&*text(tag), Type::TEXT)]).await?
    } else {
        let few = few_waiting(session, search).await?;
        let arms = arms(filter, few.is_some());
        let queues: Vec<&str> = names(&filter.queues).unwrap_or_default();
        let queues: Vec<Param<'_>> = queues.iter().map(|queue| (queue as _, Type::TEXT)).collect();
        let more = if by_queue(filter) { &*queues } else { &[] };
        let mut rows = if arms.is_empty() { Vec::new() } else { ask(session, search, look, &arms, more).await? };
        if let Some(few) = few {
            rows.extend(few);
            in_order(search.order, &mut rows);
        }
        rows
    };
    let running = running(session, search, &mut rows).await?;
    rows.truncate(look);
    let until = rows.last().copied().filter(|_| rows.len() == look);
    rows.dedup();
    Ok(Candidates { rows, until, running })
}

fn in_order(order: Order, rows: &mut [i64]) {
    match order {
        Order::OldestFirst => rows.sort_unstable(),
        Order::NewestFirst => rows.sort_unstable_by(|a, b| b.cmp(a)),
    }
}

/// Where a page starts: jobs that come after this.
fn edge(search: &Search) -> i64 {
    search.after.unwrap_or(match search.order {
        Order::OldestFirst => i64::MIN,
        Order::NewestFirst => i64::MAX,
    })
}

/// Merges parts that are in order, each from the place where the page starts.
async fn ask(
    session: &Session,
    search: &Search,
    look: usize,
    arms: &[String],
    more: &[Param<'_>],
) -> Result<Vec<i64>, Error> {
    let (comes_after, way) = comparison(search.order);
    let arms = arms.join(") UNION ALL (");
    let sql = format!("SELECT seq FROM (({arms})) AS arms ORDER BY seq WAY LIMIT $2");
    let sql = sql.replace("AFTER", comes_after).replace("WAY", way);
    let (from, look) = (edge(search), i64::try_from(look).unwrap_or(i64::MAX));
    let mut params: Vec<Param<'_>> = vec![(&from, Type::INT8), (&look, Type::INT8)];
    params.extend(more.iter().map(|(value, ty)| (*value, ty.clone())));
    let rows = session.query_anew(&session.shared.sql.schema.in_sql(&sql), &params).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// True if dead letters are looked up queue by queue.
fn by_queue(filter: &JobFilter) -> bool {
    let dead = |state: &JobState| matches!(state, JobState::Discarded | JobState::Cancelled);
    (1..=MANY_QUEUES).contains(&filter.queues.len())
        && !filter.states.contains(&JobState::Completed)
        && filter.states.iter().any(dead)
}

const BY_ID: &str = "SELECT seq FROM (SELECT seq FROM work.jobs WHERE id = ANY ($3)
    UNION ALL SELECT seq FROM work.history WHERE id = ANY ($3) OFFSET 0) AS named
    WHERE seq AFTER $1 ORDER BY seq WAY LIMIT $2";

/// Those that run are few.
const RUNNING: &str = "SELECT seq FROM work.jobs WHERE state = 'running'";

const WAITING: &str = "SELECT seq FROM work.jobs WHERE state = 'available' AND seq AFTER $1 ORDER BY seq WAY LIMIT $2";

const ENDED: &str = "SELECT seq FROM work.history WHERE seq AFTER $1 ORDER BY seq WAY LIMIT $2";

/// By state, where an index tells.
fn arms(filter: &JobFilter, waiting_are_known: bool) -> Vec<String> {
    let wanted = |state: JobState| filter.states.is_empty() || filter.states.contains(&state);
    let mut arms = Vec::new();
    if wanted(JobState::Available) && !waiting_are_known {
        arms.push(WAITING.to_owned());
    }
    if wanted(JobState::Completed) {
        arms.push(ENDED.to_owned());
        return arms;
    }
    for dead in [JobState::Discarded, JobState::Cancelled].into_iter().filter(|state| wanted(*state)) {
        let page = "AND seq AFTER $1 ORDER BY seq WAY LIMIT $2";
        let part = format!("SELECT seq FROM work.history WHERE state = '{dead}'");
        if by_queue(filter) {
            arms.extend((0..filter.queues.len()).map(|n| format!("{part} AND queue = ${} {page}", n + 3)));
        } else {
            arms.push(format!("{part} {page}"));
        }
    }
    arms
}

/// All that run, in the order of arrival; those of them that a page may mean come to its rows.
async fn running(session: &Session, search: &Search, rows: &mut Vec<i64>) -> Result<Vec<i64>, Error> {
    let filter = &search.filter;
    if !filter.states.is_empty() && !filter.states.contains(&JobState::Running) {
        return Ok(Vec::new());
    }
    let found = session.query_anew(&session.shared.sql.schema.in_sql(RUNNING), &[]).await?;
    let mut running = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    running.sort_unstable();
    if filter.ids.is_empty() && filter.tags.is_empty() {
        let after = edge(search);
        let comes = |seq: &&i64| if search.order == Order::OldestFirst { **seq > after } else { **seq < after };
        rows.extend(running.iter().filter(comes));
        in_order(search.order, rows);
    }
    Ok(running)
}

/// The jobs that wait in the queues of a filter, if only few of them may be meant.
async fn few_waiting(session: &Session, search: &Search) -> Result<Option<Vec<i64>>, Error> {
    let filter = &search.filter;
    let wanted = filter.states.contains(&JobState::Available) && !filter.states.contains(&JobState::Completed);
    let Some(queues) = names(&filter.queues).filter(|queues| wanted && queues.len() <= MANY_QUEUES) else {
        return Ok(None);
    };
    // In the order of the index that leads to a queue: any other would be gone through for a queue of few jobs.
    let sql =
        "SELECT seq FROM work.jobs WHERE state = 'available' AND queue = $1 ORDER BY priority, scheduled_at LIMIT $2";
    let sql = session.shared.sql.schema.in_sql(sql);
    let mut found = Vec::new();
    for queue in queues {
        let left = i64::try_from(FEW + 1 - found.len()).unwrap_or(i64::MAX);
        let rows = session.query_anew(&sql, &[(&queue, Type::TEXT), (&left, Type::INT8)]).await?;
        for row in &rows {
            found.push(row.try_get::<_, i64>(0)?);
        }
        if found.len() > FEW {
            return Ok(None);
        }
    }
    let after = edge(search);
    found.retain(|seq| if search.order == Order::OldestFirst { *seq > after } else { *seq < after });
    Ok(Some(found))
}
