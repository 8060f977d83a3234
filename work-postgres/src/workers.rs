//! Workers: that they live, and what they say of their jobs.

use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::store::{BoxFuture, Fence, LeaseKey, WorkerInfo};
use work_core::{JobId, Queue};

use crate::call::{Param, Session};
use crate::instant::Instant;
use crate::row::{micros, text};

const GONE_AFTER: Duration = WorkerInfo::GONE_AFTER;

pub(crate) fn beat<'c>(session: &'c Session, worker: &'c WorkerInfo) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let names: Vec<_> = worker.queues.iter().map(|queue| text(queue.as_str())).collect();
        let queues: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let now = session.shared.now();
        let params: [Param<'_>; 9] = [
            (&&*text(&worker.id), Type::TEXT),
            (&&*text(&worker.host), Type::TEXT),
            (&i64::from(worker.pid), Type::INT8),
            (&&*text(&worker.version), Type::TEXT),
            (&queues, Type::TEXT_ARRAY),
            (&number(worker.slots), Type::INT8),
            (&number(worker.running), Type::INT8),
            (&micros(GONE_AFTER), Type::INT8),
            (&now, Type::TIMESTAMPTZ),
        ];
        session.query(&session.shared.sql.beat, &params).await.map(drop)
    })
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn leave<'c>(session: &'c Session, worker: &'c String) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 1] = [(&&*text(worker), Type::TEXT)];
        session.query(&session.shared.sql.leave, &params).await.map(drop)
    })
}

pub(crate) fn workers<'c>(session: &'c Session, (): &'c ()) -> BoxFuture<'c, Result<Vec<WorkerInfo>, Error>> {
    Box::pin(async move {
        let now = session.shared.now();
        let params: [Param<'_>; 2] = [(&now, Type::TIMESTAMPTZ), (&micros(GONE_AFTER), Type::INT8)];
        let rows = session.query(&session.shared.sql.workers, &params).await?;
        let worker = |row: &tokio_postgres::Row| {
            let mut worker = WorkerInfo::new(row.try_get::<_, String>(0)?);
            worker.host = row.try_get(1)?;
            worker.pid = u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
            worker.version = row.try_get(3)?;
            worker.queues = row.try_get::<_, Vec<String>>(4)?.into_iter().map(Queue::from).collect();
            worker.slots = usize::try_from(row.try_get::<_, i64>(5)?).unwrap_or(usize::MAX);
            worker.running = usize::try_from(row.try_get::<_, i64>(6)?).unwrap_or(usize::MAX);
            worker.started_at = row.try_get::<_, Instant>(7)?.into();
            worker.last_beat = row.try_get::<_, Instant>(8)?.into();
            Ok(worker)
        };
        rows.iter().map(worker).collect()
    })
}

pub(crate) fn stop_requests<'c>(session: &'c Session, (): &'c ()) -> BoxFuture<'c, Result<Vec<LeaseKey>, Error>> {
    Box::pin(async move {
        let rows = session.query(&session.shared.sql.stop_requests, &[]).await?;
        let key = |row: &tokio_postgres::Row| {
            let fence = Fence(row.try_get::<_, i64>(2)?.cast_unsigned());
            Ok(LeaseKey { id: JobId::from(row.try_get::<_, Uuid>(1)?), fence, row: row.try_get(0)? })
        };
        rows.iter().map(key).collect()
    })
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn set_progress<'c>(session: &'c Session, of: &'c Vec<(LeaseKey, f32)>) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let mut sorted = of.clone();
        // In the order of ids, as everything that locks several rows.
        sorted.sort_by_key(|(key, _)| key.id);
        let ids: Vec<Uuid> = sorted.iter().map(|(key, _)| *key.id.as_uuid()).collect();
        let fences: Vec<i64> = sorted.iter().map(|(key, _)| key.fence.0.cast_signed()).collect();
        let done: Vec<f32> = sorted.iter().map(|(_, done)| *done).collect();
        let now = session.shared.now();
        let params: [Param<'_>; 4] = [
            (&ids, Type::UUID_ARRAY),
            (&fences, Type::INT8_ARRAY),
            (&done, Type::FLOAT4_ARRAY),
            (&now, Type::TIMESTAMPTZ),
        ];
        session.query(&session.shared.sql.set_progress, &params).await.map(drop)
    })
}
