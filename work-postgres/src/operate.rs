//! What people do to jobs.

use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::store::{Act, Acted, BoxFuture, CancelOutcome, Change, DeleteOutcome, JobVersion};
use work_core::{JobId, MAX_ATTEMPTS};

use crate::call::{Param, Session};
use crate::change::{cancel, retry as retry_one};
use crate::inspect::get;

/// Answers the queue of the job, if it waits.
pub(crate) fn run_now<'c>(session: &'c Session, id: &'c JobId) -> BoxFuture<'c, Result<Option<String>, Error>> {
    Box::pin(async move {
        let now = session.shared.now();
        let params: [Param<'_>; 2] = [(id.as_uuid(), Type::UUID), (&now, Type::TIMESTAMPTZ)];
        let rows = session.query(&session.shared.sql.run_now, &params).await?;
        rows.first().map(|row| row.try_get(0)).transpose()
    })
}

pub(crate) fn edit<'c>(session: &'c Session, (id, args): &'c (JobId, Bytes)) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 2] = [(id.as_uuid(), Type::UUID), (&&**args, Type::BYTEA)];
        session.query(&session.shared.sql.edit, &params).await?[0].try_get(0)
    })
}

/// Nobody changes the job meanwhile. Answers its queue too, if it is available again.
pub(crate) fn act_if<'c>(
    session: &'c Session,
    (id, seen, act): &'c (JobId, JobVersion, Act),
) -> BoxFuture<'c, Result<(Acted, Option<String>), Error>> {
    Box::pin(session.transaction(async move {
        lock(session, *id).await?;
        match get(session, id).await? {
            None => return Ok((Acted::NotFound, None)),
            Some(stored) if JobVersion::of(&stored) != *seen => return Ok((Acted::Changed, None)),
            Some(_) => {}
        }
        let (done, queue) = act_on(session, *id, act).await?;
        Ok((if done { Acted::Done } else { Acted::Refused }, queue))
    }))
}

/// A job that moves between the two tables while we look is found by the next look.
async fn lock(session: &Session, id: JobId) -> Result<(), Error> {
    for _ in 0..3 {
        for table in ["jobs", "history"] {
            let sql = format!("SELECT FROM work.{table} WHERE id = $1 FOR UPDATE");
            let sql = session.shared.sql.schema.in_sql(&sql);
            if !session.query(&sql, &[(id.as_uuid(), Type::UUID)]).await?.is_empty() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn act_on(session: &Session, id: JobId, act: &Act) -> Result<(bool, Option<String>), Error> {
    let queue = match act {
        Act::Retry | Act::EditAndRetry(_) => retry_one(session, &id).await?,
        Act::RunNow => run_now(session, &id).await?,
        Act::Cancel => {
            let answers = cancel(session, &vec![id]).await?;
            return Ok((answers.into_iter().any(CancelOutcome::is_change), None));
        }
        Act::Delete => {
            return Ok((delete(session, &vec![id]).await?.contains(&DeleteOutcome::Deleted), None));
        }
        Act::Edit(args) => return Ok((edit(session, &(id, args.clone())).await?, None)),
        // What this version does not know.
        _ => return Ok((false, None)),
    };
    if let (Some(_), Act::EditAndRetry(args)) = (&queue, act) {
        edit(session, &(id, args.clone())).await?;
    }
    Ok((queue.is_some(), queue))
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn delete<'c>(
    session: &'c Session,
    ids: &'c Vec<JobId>,
) -> BoxFuture<'c, Result<Vec<DeleteOutcome>, Error>> {
    Box::pin(async move {
        let mut answers = HashMap::with_capacity(ids.len());
        let params: [Param<'_>; 1] = [(&sorted(ids), Type::UUID_ARRAY)];
        for row in session.query(&session.shared.sql.delete, &params).await? {
            let outcome = match row.try_get::<_, i32>(1)? {
                0 => DeleteOutcome::Deleted,
                1 => DeleteOutcome::Running,
                _ => DeleteOutcome::NotFound,
            };
            answers.insert(row.try_get::<_, Uuid>(0)?, outcome);
        }
        let answer = |id: &JobId| {
            let Some(answer) = answers.get_mut(id.as_uuid()) else { return DeleteOutcome::NotFound };
            let again = if *answer == DeleteOutcome::Deleted { DeleteOutcome::NotFound } else { *answer };
            std::mem::replace(answer, again)
        };
        Ok(ids.iter().map(answer).collect())
    })
}

/// Each once, in the order in which everything locks several rows.
fn sorted(ids: &[JobId]) -> Vec<Uuid> {
    let mut sorted: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// Changes these jobs, as far as the change still suits them. Answers how many, and the queues of those that are available
/// now.
pub(crate) fn change<'c>(
    session: &'c Session,
    (change, ids): &'c (Change, Vec<JobId>),
) -> BoxFuture<'c, Result<(u64, Vec<String>), Error>> {
    Box::pin(async move {
        match change {
            Change::Retry => retry(session, ids).await,
            Change::Cancel => {
                let answers = cancel(session, ids).await?;
                Ok((answers.into_iter().filter(|answer| CancelOutcome::is_change(*answer)).count() as u64, Vec::new()))
            }
            Change::Delete => {
                let answers = delete(session, ids).await?;
                let deleted = answers.into_iter().filter(|answer| *answer == DeleteOutcome::Deleted);
                Ok((deleted.count() as u64, Vec::new()))
            }
        }
    })
}

async fn retry(session: &Session, ids: &[JobId]) -> Result<(u64, Vec<String>), Error> {
    let (now, most) = (session.shared.now(), MAX_ATTEMPTS.cast_signed());
    let params: [Param<'_>; 3] = [(&sorted(ids), Type::UUID_ARRAY), (&most, Type::INT4), (&now, Type::TIMESTAMPTZ)];
    let rows = session.query(&session.shared.sql.retry_all, &params).await?;
    let mut queues = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    queues.sort_unstable();
    queues.dedup();
    Ok((rows.len() as u64, queues))
}
