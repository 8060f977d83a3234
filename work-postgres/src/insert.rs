use std::collections::HashSet;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::{BoxFuture, Inserted, Leased, NewJob, Want};
use work_core::{ArgsError, DEFAULT_MAX_ATTEMPTS, InvalidJob, Job, JobId, OnConflict, StoreError, Unique, UniqueScope};

use crate::call::{Ask, Param, Session};
use crate::instant::Instant;
use crate::lease;
use crate::row::{KEPT, millis};
use crate::settle::column;

/// Refuses what could not be leased again.
pub(crate) fn check(job: &NewJob, max_args: usize) -> Result<(), StoreError> {
    let size = job.args.len();
    let fits = if size > max_args { Err(ArgsError::TooLarge { size, limit: max_args }) } else { Ok(()) };
    let valid = fits.map_err(InvalidJob::from).and_then(|()| Job::validate_parts(&job.parts));
    valid.map_err(|error| StoreError::rejected(format!("job {} is invalid", job.parts.id), error))
}

#[expect(clippy::ptr_arg, reason = "what a call is given is a value of its own")]
pub(crate) fn insert<'c>(session: &'c Session, jobs: &'c Vec<NewJob>) -> BoxFuture<'c, Result<Vec<Inserted>, Error>> {
    Box::pin(async move {
        let jobs: Vec<&NewJob> = jobs.iter().collect();
        if pieces(&jobs).nth(1).is_none() {
            return send(session, &session.shared.sql.accept, &jobs).await;
        }
        session.transaction(send(session, &session.shared.sql.accept, &jobs)).await
    })
}

/// What follows from jobs that were accepted, and goes into any queue, as a part of their transaction.
pub(crate) async fn rows(session: &impl Ask, jobs: &[&NewJob]) -> Result<Vec<Inserted>, Error> {
    send(session, &session.shared().sql.insert, jobs).await
}

/// Which of these jobs there are.
pub(crate) fn known<'c>(session: &'c Session, ids: &'c Vec<Uuid>) -> BoxFuture<'c, Result<HashSet<Uuid>, Error>> {
    Box::pin(async move {
        let rows = session.query(&session.shared.sql.known, &[(ids, Type::UUID_ARRAY)]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    })
}

async fn send(session: &impl Ask, sql: &str, jobs: &[&NewJob]) -> Result<Vec<Inserted>, Error> {
    let mut all = Vec::with_capacity(jobs.len());
    for piece in pieces(jobs) {
        let now = session.shared().now();
        let columns = Columns::of(piece);
        let rows = session.query(sql, &columns.params(&now)).await?;
        all.extend(answers(piece.iter().copied(), &rows, 0)?);
    }
    Ok(all)
}

/// Whether jobs go into one request.
pub(crate) fn fits_one(jobs: &[NewJob]) -> bool {
    let bytes: usize = jobs.iter().map(|job| job.args.len() + 1).sum();
    jobs.len() <= PIECE_ROWS && bytes <= PIECE_BYTES
}

/// Inserts, and then leases: the rows of both.
pub(crate) async fn and_lease(session: &Session, jobs: &[NewJob], want: &Want) -> Result<Vec<Row>, Error> {
    let now = session.shared.now();
    let columns = Columns::of(&jobs.iter().collect::<Vec<_>>());
    let leased = Leased::default();
    let wanted = lease::Wanted::new(session, want, &leased);
    let params: Vec<Param<'_>> =
        columns.params(&now).into_iter().chain(wanted.params()).chain(wanted.turns()).collect();
    session.query(&session.shared.sql.insert_and_lease, &params).await
}

/// What became of each job, from rows that have, from column `first` on, the place and the holder of those that are not
/// stored.
pub(crate) fn answers<'j>(
    jobs: impl Iterator<Item = &'j NewJob>,
    rows: &[Row],
    first: usize,
) -> Result<Vec<Inserted>, Error> {
    let mut answers: Vec<Inserted> = jobs.map(|job| Inserted::New(job.parts.id)).collect();
    for row in rows {
        let place = usize::try_from(row.try_get::<_, i64>(first)?).unwrap_or_default();
        if let Some(answer) = answers.get_mut(place.saturating_sub(1)) {
            *answer = Inserted::Duplicate(JobId::from(row.try_get::<_, Uuid>(first + 1)?));
        }
    }
    Ok(answers)
}

/// What goes into one request, at most.
const PIECE_ROWS: usize = 10_000;
const PIECE_BYTES: usize = 32 * 1024 * 1024;

/// A request has a limit, a batch has none.
fn pieces<'j, 'p>(mut jobs: &'p [&'j NewJob]) -> impl Iterator<Item = &'p [&'j NewJob]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = jobs.iter().take(PIECE_ROWS).take_while(|job| {
            let first = bytes == 0;
            bytes += job.args.len() + 1;
            first || bytes <= PIECE_BYTES
        });
        let (piece, rest) = jobs.split_at(fits.count());
        jobs = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Jobs, column by column. A column of nothing but defaults is not sent.
struct Columns<'j> {
    ids: Vec<Uuid>,
    kinds: Vec<&'j str>,
    args: Vec<&'j [u8]>,
    queues: Option<Vec<Option<&'j str>>>,
    priorities: Option<Vec<Option<i16>>>,
    scheduled: Option<Vec<Option<Instant>>>,
    max_attempts: Option<Vec<Option<i32>>>,
    timeouts: Option<Vec<Option<i64>>>,
    expires: Option<Vec<Option<Instant>>>,
    keys: Option<Vec<Option<&'j str>>>,
    scopes: Option<Vec<Option<i16>>>,
    windows: Option<Vec<Option<i64>>>,
    ways: Option<Vec<Option<i16>>>,
    headers: Option<Vec<Option<String>>>,
    tags: Option<Vec<Option<String>>>,
}

impl<'j> Columns<'j> {
    fn of(jobs: &[&'j NewJob]) -> Self {
        let parts = jobs.iter().map(|job| &job.parts);
        Self {
            ids: parts.clone().map(|parts| *parts.id.as_uuid()).collect(),
            kinds: parts.clone().map(|parts| parts.kind.as_str()).collect(),
            args: jobs.iter().map(|job| &*job.args).collect(),
            queues: column(parts.clone().map(|p| Some(p.queue.as_str()).filter(|name| *name != "default"))),
            priorities: column(parts.clone().map(|p| Some(i16::from(p.priority)).filter(|level| *level != 5))),
            scheduled: column(parts.clone().map(|p| p.scheduled_at.map(Instant::from))),
            max_attempts: column(
                parts.clone().map(|p| p.max_attempts.filter(|n| *n != DEFAULT_MAX_ATTEMPTS).map(u32::cast_signed)),
            ),
            timeouts: column(parts.clone().map(|p| p.timeout.map(millis))),
            expires: column(parts.clone().map(|p| p.expires_at.map(Instant::from))),
            keys: column(parts.clone().map(|p| p.unique.as_ref().map(Unique::key))),
            scopes: column(parts.clone().map(|p| p.unique.as_ref().map(scope))),
            windows: column(parts.clone().map(|p| p.unique.as_ref().and_then(Unique::window).map(millis))),
            ways: column(parts.clone().map(|p| p.unique.as_ref().and_then(way))),
            headers: column(
                parts.clone().map(|p| if p.headers.is_empty() { None } else { serde_json::to_string(&p.headers).ok() }),
            ),
            tags: column(parts.map(|p| if p.tags.is_empty() { None } else { serde_json::to_string(&p.tags).ok() })),
        }
    }

    fn params<'p>(&'p self, now: &'p Option<Instant>) -> [Param<'p>; 16] {
        [
            (&self.ids, Type::UUID_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.args, Type::BYTEA_ARRAY),
            (&self.queues, Type::TEXT_ARRAY),
            (&self.priorities, Type::INT2_ARRAY),
            (&self.scheduled, Type::TIMESTAMPTZ_ARRAY),
            (&self.max_attempts, Type::INT4_ARRAY),
            (&self.timeouts, Type::INT8_ARRAY),
            (&self.expires, Type::TIMESTAMPTZ_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.scopes, Type::INT2_ARRAY),
            (&self.windows, Type::INT8_ARRAY),
            (&self.ways, Type::INT2_ARRAY),
            (&self.headers, Type::TEXT_ARRAY),
            (&self.tags, Type::TEXT_ARRAY),
            (now, Type::TIMESTAMPTZ),
        ]
    }
}

fn scope(unique: &Unique) -> i16 {
    match unique.scope() {
        // What held longer than the window of a later job is let go by that one.
        UniqueScope::WhileKept | UniqueScope::Within(_) => KEPT,
        _ => 1,
    }
}

/// What is done where another job holds the key, unless that one just stays.
const fn way(unique: &Unique) -> Option<i16> {
    match unique.conflict() {
        OnConflict::ReplaceArgs => Some(1),
        OnConflict::RunAfter => Some(2),
        _ => None,
    }
}
