//! Schedules: each slot is dealt with in one transaction with the jobs that it makes.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::{
    BoxFuture, Bytes, Fired, Firing, Inserted, NewJob, StoredSchedule, options_from_json, options_to_json,
};
use work_core::{CatchUp, JobId, Kind, Overlap, Parts, Queue};

use crate::call::{Param, Session};
use crate::change::cancel;
use crate::insert;
use crate::instant::Instant;
use crate::row::text;

pub(crate) fn put<'c>(session: &'c Session, new: &'c StoredSchedule) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let parts = &new.job.parts;
        let now = session.shared.now();
        let params: [Param<'_>; 9] = [
            (&&*text(&new.name), Type::TEXT),
            (&parts.kind.as_str(), Type::TEXT),
            (&&*new.job.args, Type::BYTEA),
            (&parts.queue.as_str(), Type::TEXT),
            (&options_to_json(parts), Type::TEXT),
            (&&*text(&new.schedule), Type::TEXT),
            (&new.overlap.name(), Type::TEXT),
            (&new.catch_up.to_string(), Type::TEXT),
            (&now, Type::TIMESTAMPTZ),
        ];
        session.query(&session.shared.sql.put_schedule, &params).await.map(drop)
    })
}

pub(crate) fn schedules<'c>(session: &'c Session, (): &'c ()) -> BoxFuture<'c, Result<Vec<StoredSchedule>, Error>> {
    Box::pin(async move {
        let rows = session.query(&session.shared.sql.schedules, &[]).await?;
        rows.iter().map(schedule).collect()
    })
}

/// What a row does not say in words that are known is as if it were not there.
fn schedule(row: &Row) -> Result<StoredSchedule, Error> {
    let name = |column| row.try_get::<_, String>(column);
    let mut parts = Parts::new(JobId::new(), Kind::from(name(1)?), Queue::from(name(3)?));
    options_from_json(&mut parts, row.try_get(4)?);
    let job = NewJob { parts, args: Bytes::copy_from_slice(row.try_get(2)?) };
    let at = |column| row.try_get::<_, Option<Instant>>(column).map(|at| at.map(DateTime::<Utc>::from));
    let mut stored = StoredSchedule::new(name(0)?, job, name(5)?, at(9)?.unwrap_or_default());
    stored.overlap = row.try_get::<_, &str>(6)?.parse::<Overlap>().unwrap_or_default();
    stored.catch_up = row.try_get::<_, &str>(7)?.parse::<CatchUp>().unwrap_or_default();
    stored.paused_at = at(8)?;
    stored.last_slot = at(10)?;
    stored.last_job = row.try_get::<_, Option<Uuid>>(11)?.map(JobId::from);
    Ok(stored)
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn fire<'c>(session: &'c Session, due: &'c Vec<Firing>) -> BoxFuture<'c, Result<Vec<Fired>, Error>> {
    Box::pin(session.transaction(async move {
        // In the order of names, so that two batches never wait for each other.
        let mut order: Vec<usize> = (0..due.len()).collect();
        order.sort_by_key(|n| &due[*n].schedule);
        let mut answers = vec![Fired::Lost; due.len()];
        for n in order {
            answers[n] = fire_one(session, &due[n]).await?;
        }
        Ok(answers)
    }))
}

async fn fire_one(session: &Session, due: &Firing) -> Result<Fired, Error> {
    let name = text(&due.schedule);
    let (after, slot) = (due.planned_after.map(Instant::from), Instant::from(due.slot));
    let params: [Param<'_>; 3] = [(&&*name, Type::TEXT), (&after, Type::TIMESTAMPTZ), (&slot, Type::TIMESTAMPTZ)];
    let rows = session.query(&session.shared.sql.pass, &params).await?;
    let Some(row) = rows.first() else { return Ok(Fired::Lost) };
    let overlap = row.try_get::<_, &str>(0)?.parse::<Overlap>().unwrap_or_default();
    let last = row.try_get::<_, Option<Uuid>>(1)?.map(JobId::from);
    if let Some(id) = last.filter(|_| !due.jobs.is_empty())
        && row.try_get::<_, bool>(2)?
    {
        match overlap {
            Overlap::Allow => {}
            Overlap::Cancel => drop(cancel(session, &vec![id]).await?),
            _ => return Ok(Fired::Done(Vec::new())),
        }
    }
    let made = insert::rows(session, &due.jobs.iter().collect::<Vec<_>>()).await?;
    if let Some(last) = made.last().map(|last| last.id()) {
        let params: [Param<'_>; 2] = [(&&*name, Type::TEXT), (last.as_uuid(), Type::UUID)];
        session.query(&session.shared.sql.note_last, &params).await?;
    }
    Ok(Fired::Done(made.into_iter().filter(|made| matches!(made, Inserted::New(_))).map(Inserted::id).collect()))
}

/// Answers whether it was at work before.
#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn pause<'c>(session: &'c Session, name: &'c String) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(by_name_and_time(session, &session.shared.sql.pause_schedule, name))
}

/// Answers whether it was paused.
#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn resume<'c>(session: &'c Session, name: &'c String) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(by_name_and_time(session, &session.shared.sql.resume_schedule, name))
}

async fn by_name_and_time(session: &Session, sql: &str, name: &str) -> Result<bool, Error> {
    let now = session.shared.now();
    let params: [Param<'_>; 2] = [(&&*text(name), Type::TEXT), (&now, Type::TIMESTAMPTZ)];
    Ok(!session.query(sql, &params).await?.is_empty())
}

/// Answers whether there was one.
#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn remove<'c>(session: &'c Session, name: &'c String) -> BoxFuture<'c, Result<bool, Error>> {
    Box::pin(async move {
        let params: [Param<'_>; 1] = [(&&*text(name), Type::TEXT)];
        Ok(!session.query(&session.shared.sql.remove_schedule, &params).await?.is_empty())
    })
}
