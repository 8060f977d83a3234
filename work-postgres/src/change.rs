//! Everything that changes a job between its lease and its settlement.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::store::{BoxFuture, CancelOutcome, ErrorRecord, GROUP_KIND, LeaseKey, Rescued};
use work_core::{JobId, MAX_ATTEMPTS, Status};

use crate::call::{Param, Session};
use crate::dead::Dead;
use crate::row::{self, micros};

pub(crate) fn extend<'c>(
    session: &'c Session,
    (leases, lease_for): &'c (Vec<LeaseKey>, Duration),
) -> BoxFuture<'c, Result<Vec<LeaseKey>, Error>> {
    Box::pin(async move {
        let mut sorted = leases.clone();
        sorted.sort_unstable_by_key(|key| key.id);
        let ids: Vec<Uuid> = sorted.iter().map(|key| *key.id.as_uuid()).collect();
        let fences: Vec<i64> = sorted.iter().map(|key| key.fence.0.cast_signed()).collect();
        let now = session.shared.now();
        let params: [Param<'_>; 4] = [
            (&ids, Type::UUID_ARRAY),
            (&fences, Type::INT8_ARRAY),
            (&micros(*lease_for), Type::INT8),
            (&now, Type::TIMESTAMPTZ),
        ];
        let rows = session.query(&session.shared.sql.extend, &params).await?;
        let held = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let held: HashSet<(Uuid, i64)> = held.collect::<Result<_, Error>>()?;
        let is_held = |key: &&LeaseKey| held.contains(&(*key.id.as_uuid(), key.fence.0.cast_signed()));
        Ok(leases.iter().filter(is_held).copied().collect())
    })
}

pub(crate) fn rescue<'c>(
    session: &'c Session,
    (limit, max_crashes): &'c (usize, u32),
) -> BoxFuture<'c, Result<(Rescued, Vec<String>), Error>> {
    Box::pin(async move {
        let limit = i32::try_from(*limit).unwrap_or(i32::MAX);
        let max_crashes = i32::try_from(*max_crashes).unwrap_or(i32::MAX);
        let error = ErrorRecord::new("crashed: the attempt ended without a report");
        let now = session.shared.now();
        let params: [Param<'_>; 5] = [
            (&limit, Type::INT4),
            (&max_crashes, Type::INT4),
            (&GROUP_KIND, Type::TEXT),
            (&error.message, Type::TEXT),
            (&now, Type::TIMESTAMPTZ),
        ];
        let (mut rescued, mut queues, mut dead) = (Rescued::default(), Vec::new(), Dead::default());
        let taken_back = async {
            for row in session.query(&session.shared.sql.rescue, &params).await? {
                if let Some(queue) = row.try_get::<_, Option<String>>(0)? {
                    rescued.available += 1;
                    queues.push(queue);
                } else {
                    rescued.discarded += 1;
                    dead.note(&row, 1, Status::INTERNAL_ERROR, &error)?;
                }
            }
            dead.insert(session).await
        };
        session.transaction(taken_back).await?;
        dead.tell(session);
        queues.sort_unstable();
        queues.dedup();
        Ok((rescued, queues))
    })
}

/// Answers the queue of each job.
pub(crate) fn take_back<'c>(
    session: &'c Session,
    (worker, held): &'c (String, Vec<LeaseKey>),
) -> BoxFuture<'c, Result<Vec<String>, Error>> {
    Box::pin(async move {
        let (worker, ids) = (row::text(worker), held.iter().map(|key| *key.id.as_uuid()).collect::<Vec<Uuid>>());
        let params: [Param<'_>; 2] = [(&worker, Type::TEXT), (&ids, Type::UUID_ARRAY)];
        let rows = session.query(&session.shared.sql.take_back, &params).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    })
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn cancel<'c>(
    session: &'c Session,
    ids: &'c Vec<JobId>,
) -> BoxFuture<'c, Result<Vec<CancelOutcome>, Error>> {
    Box::pin(async move {
        let mut sorted: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let now = session.shared.now();
        let params: [Param<'_>; 2] = [(&sorted, Type::UUID_ARRAY), (&now, Type::TIMESTAMPTZ)];
        let mut answers = HashMap::with_capacity(sorted.len());
        for row in session.query(&session.shared.sql.cancel, &params).await? {
            let outcome = match row.try_get::<_, i32>(1)? {
                0 => CancelOutcome::Cancelled,
                1 => CancelOutcome::Requested,
                2 => CancelOutcome::Ended,
                _ => CancelOutcome::NotFound,
            };
            answers.insert(row.try_get::<_, Uuid>(0)?, outcome);
        }
        let answer = |id: &JobId| {
            let Some(answer) = answers.get_mut(id.as_uuid()) else { return CancelOutcome::NotFound };
            let again = if *answer == CancelOutcome::Cancelled { CancelOutcome::Ended } else { *answer };
            std::mem::replace(answer, again)
        };
        Ok(ids.iter().map(answer).collect())
    })
}

/// Answers the queue of the job that is available again.
pub(crate) fn retry<'c>(session: &'c Session, id: &'c JobId) -> BoxFuture<'c, Result<Option<String>, Error>> {
    Box::pin(async move {
        let now = session.shared.now();
        let most = MAX_ATTEMPTS.cast_signed();
        let params: [Param<'_>; 3] = [(id.as_uuid(), Type::UUID), (&most, Type::INT4), (&now, Type::TIMESTAMPTZ)];
        let rows = session.query(&session.shared.sql.retry, &params).await?;
        rows.first().map(|row| row.try_get(0)).transpose()
    })
}
