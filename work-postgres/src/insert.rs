use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;
use work_core::store::{BoxFuture, Inserted, NewJob};
use work_core::{ArgsError, DEFAULT_MAX_ATTEMPTS, InvalidJob, Job, JobId, StoreError, Unique, UniqueScope};

use crate::call::{Param, Session};
use crate::instant::Instant;
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
            return rows(session, &jobs).await;
        }
        session.transaction(rows(session, &jobs)).await
    })
}

/// Part of a transaction that somebody else ends, or one request by itself.
pub(crate) async fn rows(session: &Session, jobs: &[&NewJob]) -> Result<Vec<Inserted>, Error> {
    let mut answers = Vec::with_capacity(jobs.len());
    for piece in pieces(jobs) {
        let before = answers.len();
        answers.extend(piece.iter().map(|job| Inserted::New(job.parts.id)));
        for row in Columns::of(piece).send(session).await? {
            let place = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
            if let Some(answer) = answers.get_mut((before + place).saturating_sub(1)) {
                *answer = Inserted::Duplicate(JobId::from(row.try_get::<_, Uuid>(1)?));
            }
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
            headers: column(
                parts.clone().map(|p| if p.headers.is_empty() { None } else { serde_json::to_string(&p.headers).ok() }),
            ),
            tags: column(parts.map(|p| if p.tags.is_empty() { None } else { serde_json::to_string(&p.tags).ok() })),
        }
    }

    async fn send(&self, session: &Session) -> Result<Vec<tokio_postgres::Row>, Error> {
        let now = session.shared.now();
        let params: [Param<'_>; 14] = [
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
            (&self.headers, Type::TEXT_ARRAY),
            (&self.tags, Type::TEXT_ARRAY),
            (&now, Type::TIMESTAMPTZ),
        ];
        session.query(&session.shared.sql.insert, &params).await
    }
}

fn scope(unique: &Unique) -> i16 {
    match unique.scope() {
        UniqueScope::WhileKept => KEPT,
        _ => 1,
    }
}
