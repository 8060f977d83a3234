use std::collections::HashSet;

use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::Status;
use work_core::store::{BoxFuture, LeaseKey, NewJob, Settle, Settled, Settlement};

use crate::call::{Ask, Param, Session};
use crate::insert;
use crate::instant::Instant;
use crate::row::text;

/// What settles at once, at most: a request of some hundred kilobytes.
const BATCH: usize = 10_000;

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn settle<'c>(session: &'c Session, done: &'c Vec<Settle>) -> BoxFuture<'c, Result<Vec<Settled>, Error>> {
    Box::pin(async move {
        let mut seen = HashSet::with_capacity(done.len());
        // In the order of ids, as everything that locks several rows: two batches never wait for each other.
        let mut open: Vec<usize> = (0..done.len()).filter(|n| seen.insert(done[*n].key)).collect();
        open.sort_unstable_by_key(|n| done[*n].key.id);
        // A second settlement of one lease is refused.
        let mut answers = vec![Settled::Lost; done.len()];
        let mut queues = Vec::new();
        if open.len() <= BATCH && done.iter().all(|done| done.then.is_empty()) {
            queues = end(session, done, &open, &mut answers).await?;
        } else {
            let all = async {
                for open in open.chunks(BATCH) {
                    queues.extend(end(session, done, open, &mut answers).await?);
                }
                follow(session, done, &answers).await
            };
            session.transaction(all).await?;
        }
        if !queues.is_empty() {
            session.shared.again_available(queues.iter().map(String::as_str));
        }
        Ok(answers)
    })
}

/// One settlement, in a transaction that somebody else ends. Answers also the queues of jobs that waited for it.
pub(crate) async fn settle_one(session: &impl Ask, done: &Settle) -> Result<(Settled, Vec<String>), Error> {
    let (done, mut answers) = (std::slice::from_ref(done), [Settled::Lost]);
    let queues = end(session, done, &[0], &mut answers).await?;
    follow(session, done, &answers).await?;
    Ok((answers[0], queues))
}

/// Those of these leases that ended by completing their job.
#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn completed<'c>(
    session: &'c Session,
    leases: &'c Vec<LeaseKey>,
) -> BoxFuture<'c, Result<Vec<LeaseKey>, Error>> {
    Box::pin(async move {
        let ids: Vec<Uuid> = leases.iter().map(|key| *key.id.as_uuid()).collect();
        let fences: Vec<i64> = leases.iter().map(|key| key.fence.0.cast_signed()).collect();
        let params: [Param<'_>; 2] = [(&ids, Type::UUID_ARRAY), (&fences, Type::INT8_ARRAY)];
        let rows = session.query(&session.shared.sql.completed, &params).await?;
        let found = rows.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
        Ok(leases.iter().filter(|key| found.contains(key.id.as_uuid())).copied().collect())
    })
}

async fn follow(session: &impl Ask, done: &[Settle], answers: &[Settled]) -> Result<(), Error> {
    let ended = done.iter().zip(answers).filter(|(_, answer)| **answer == Settled::Done);
    let then: Vec<&NewJob> = ended.flat_map(|(done, _)| &done.then).collect();
    if then.is_empty() {
        return Ok(());
    }
    insert::rows(session, &then).await.map(drop)
}

/// Answers the queues of jobs that waited for the end of one of these.
async fn end(
    session: &impl Ask,
    done: &[Settle],
    open: &[usize],
    answers: &mut [Settled],
) -> Result<Vec<String>, Error> {
    let given: Vec<&Settle> = open.iter().map(|n| &done[*n]).collect();
    let rows = Columns::of(&given).send(session).await?;
    for n in open {
        answers[*n] = Settled::Done;
    }
    let (mut lost, mut queues) = (HashSet::new(), Vec::new());
    for row in &rows {
        match row.try_get(2)? {
            Some(queue) => queues.push(queue),
            None => _ = lost.insert((row.try_get::<_, Uuid>(0)?, row.try_get::<_, i64>(1)?)),
        }
    }
    for n in open {
        let key = &done[*n].key;
        if lost.contains(&(*key.id.as_uuid(), key.fence.0.cast_signed())) {
            answers[*n] = Settled::Lost;
        }
    }
    Ok(queues)
}

/// Settlements, column by column. A column of nothing is not sent.
struct Columns<'s> {
    ids: Vec<Uuid>,
    fences: Vec<i64>,
    ends: Vec<i16>,
    statuses: Vec<i16>,
    outputs: Option<Vec<Option<&'s [u8]>>>,
    ats: Option<Vec<Option<Instant>>>,
    messages: Option<Vec<Option<String>>>,
    backtraces: Option<Vec<Option<String>>>,
}

impl<'s> Columns<'s> {
    fn of(given: &[&'s Settle]) -> Self {
        let ends: Vec<(i16, Option<Instant>)> = given.iter().map(|done| ending(&done.settlement)).collect();
        let backtraces = given.iter().map(|done| Some(text(done.error.as_ref()?.backtrace.as_ref()?).into_owned()));
        Self {
            ids: given.iter().map(|done| *done.key.id.as_uuid()).collect(),
            fences: given.iter().map(|done| done.key.fence.0.cast_signed()).collect(),
            statuses: given.iter().map(|done| code(done.status)).collect(),
            outputs: column(given.iter().map(|done| match &done.settlement {
                Settlement::Complete { output } => output.as_deref(),
                _ => None,
            })),
            messages: column(given.iter().map(|done| Some(text(&done.error.as_ref()?.message).into_owned()))),
            backtraces: column(backtraces),
            ats: column(ends.iter().map(|(_, at)| *at)),
            ends: ends.into_iter().map(|(end, _)| end).collect(),
        }
    }

    async fn send(&self, session: &impl Ask) -> Result<Vec<tokio_postgres::Row>, Error> {
        let now = session.shared().now();
        let params: [Param<'_>; 9] = [
            (&self.ids, Type::UUID_ARRAY),
            (&self.fences, Type::INT8_ARRAY),
            (&self.ends, Type::INT2_ARRAY),
            (&self.statuses, Type::INT2_ARRAY),
            (&self.outputs, Type::BYTEA_ARRAY),
            (&self.ats, Type::TIMESTAMPTZ_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
            (&self.backtraces, Type::TEXT_ARRAY),
            (&now, Type::TIMESTAMPTZ),
        ];
        session.query(&session.shared().sql.settle, &params).await
    }
}

/// The values, unless there is none.
pub(crate) fn column<T>(values: impl Iterator<Item = Option<T>> + Clone) -> Option<Vec<Option<T>>> {
    values.clone().any(|value| value.is_some()).then(|| values.collect())
}

fn code(status: Status) -> i16 {
    status.code().cast_signed()
}

/// The number of an end in the statement, and when the job is due again.
fn ending(settlement: &Settlement) -> (i16, Option<Instant>) {
    match settlement {
        Settlement::Complete { .. } => (0, None),
        Settlement::Cancel => (2, None),
        Settlement::Retry { at } => (3, Some((*at).into())),
        Settlement::Snooze { at } => (4, Some((*at).into())),
        // A settlement that this version does not know must not run again by itself.
        _ => (1, None),
    }
}
