use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use work_core::store::{BoxFuture, ErrorRecord, Fence, Lease, LeaseKey, Leased, Want};
use work_core::{DEFAULT_MAX_ATTEMPTS, Queue, Status};

use crate::call::{Param, Session};
use crate::dead::Dead;
use crate::instant::Instant;
use crate::row::{self, BadRow, Stored, WIDTH, micros};

/// Where to go on in a queue of which as much as wanted was taken a moment ago. What was taken leaves dead entries in the
/// index, and while some transaction anywhere stays open, nothing can remove them: without this, each lease would go over
/// all of them.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    queue: Queue,
    priority: i32,
    at: Instant,
    seq: i64,
    /// When the queue was last read from its start.
    since: Moment,
}

/// So long a floor is good for: what arrives below it, from a transaction that took its time, waits at most so long.
const FLOOR_FOR: Duration = Duration::from_millis(500);

pub(crate) fn lease<'c>(session: &'c Session, want: &'c Want) -> BoxFuture<'c, Result<Leased, Error>> {
    Box::pin(async move {
        let named = if want.has_keys() { Some(with_keys(session, want).await?) } else { None };
        let want = named.as_ref().unwrap_or(want);
        let mut leased = Leased::default();
        // Rows that are no jobs make room for others.
        while leased.jobs.len() < want.limit && take(session, want, &mut leased).await? > 0 {}
        Ok(leased)
    })
}

/// With the queues of keys by their names.
async fn with_keys(session: &Session, want: &Want) -> Result<Want, Error> {
    let mut found = HashMap::<&Queue, Vec<Queue>>::new();
    for queue in &want.queues {
        if let Some(prefix) = queue.keys_of() {
            let now = session.shared.now();
            let params: [Param<'_>; 2] = [(&prefix, Type::TEXT), (&now, Type::TIMESTAMPTZ)];
            let rows = session.query(&session.shared.sql.queues_of_keys, &params).await?;
            let queues = rows.iter().map(|row| row.try_get::<_, String>(0).map(Queue::from));
            found.insert(queue, queues.collect::<Result<_, _>>()?);
        }
    }
    want.with_keys(|keys| Ok(found.get(keys).cloned().unwrap_or_default()))
}

/// Leases once. Answers how many rows were no jobs.
async fn take(session: &Session, want: &Want, leased: &mut Leased) -> Result<usize, Error> {
    let (epoch, floor) = session.shared.floors.get();
    let fits = |floor: &Floor| floor.since.elapsed() < FLOOR_FOR && want.queues.contains(&floor.queue);
    let floor = floor.filter(|floor| want.aging.is_none() && fits(floor));
    let rows = ask(session, want, leased, floor.as_ref()).await?;
    let (found, bad) = read(session, want, &rows, leased).await?;
    // All of them jobs: a row more says when the next one is due.
    let last = found.filter(|_| leased.jobs.len() == want.limit && bad == 0 && want.aging.is_none());
    let next = last.map(|stored| Floor { since: floor.map_or_else(Moment::now, |floor| floor.since), ..stored });
    session.shared.floors.set(epoch, next);
    Ok(bad)
}

/// Adds the jobs of these rows, in their order, and keeps what is none as a dead letter. Answers the place of the last
/// one, and how many were none.
pub(crate) async fn read(
    session: &Session,
    want: &Want,
    rows: &[Row],
    leased: &mut Leased,
) -> Result<(Option<Floor>, usize), Error> {
    let (mut found, mut bad, mut follows) = (Vec::with_capacity(rows.len()), Vec::new(), false);
    leased.next_due_in = None;
    let mut limited = Vec::new();
    for row in rows {
        let Some(id) = row.try_get::<_, Option<Uuid>>(1)? else {
            match row.try_get::<_, Option<String>>(4)? {
                Some(queue) => limited.push(Queue::from(queue)),
                None => leased.next_due_in = next_due_in(row)?,
            }
            continue;
        };
        match check(row, session.shared.max_args)? {
            Ok(stored) => found.push(stored),
            Err(BadRow(why)) => {
                let headers: Option<&str> = row.try_get(15)?;
                follows |= headers.is_some_and(|headers| headers.contains(".on-error"));
                bad.push((id, row.try_get::<_, i64>(10)?, why));
            }
        }
    }
    refuse(session, &bad, follows).await?;
    session.shared.limited.note(&want.queues, limited);
    let place = |stored: &Stored| {
        let parts = &stored.job.parts;
        let queue = want.queues.iter().position(|queue| *queue == parts.queue);
        let (priority, at) = match want.aging {
            Some(step) => (0, aged(stored.scheduled_at, parts.priority, step)),
            None => (parts.priority, stored.scheduled_at),
        };
        (queue, priority, at, stored.seq)
    };
    // The order in which rows come back is nobody's promise.
    found.sort_unstable_by_key(place);
    let last = found.last().map(|stored| Floor {
        queue: stored.job.parts.queue.clone(),
        priority: i32::from(stored.job.parts.priority),
        at: stored.scheduled_at,
        seq: stored.seq,
        since: Moment::now(),
    });
    let until = rows.first().map(|row| row.try_get::<_, Instant>(WIDTH + 1)).transpose()?;
    if let Some(until) = until {
        leased.jobs.extend(found.into_iter().map(|stored| leased_job(stored, until)));
    }
    Ok((last, bad.len()))
}

async fn ask(session: &Session, want: &Want, leased: &Leased, floor: Option<&Floor>) -> Result<Vec<Row>, Error> {
    let wanted = Wanted::new(session, want, leased);
    let now = session.shared.now();
    let queue = floor.map(|floor| floor.queue.as_str());
    let (priority, at) = (floor.map(|floor| floor.priority), floor.map(|floor| floor.at));
    let seq = floor.map(|floor| floor.seq);
    let place: [Param<'_>; 5] = [
        (&now, Type::TIMESTAMPTZ),
        (&queue, Type::TEXT),
        (&priority, Type::INT4),
        (&at, Type::TIMESTAMPTZ),
        (&seq, Type::INT8),
    ];
    let params: Vec<Param<'_>> = wanted.params().into_iter().chain(place).chain(wanted.turns()).collect();
    session.query(&session.shared.sql.lease, &params).await
}

/// What each turn may still take, after what was leased.
fn left_of_turns(want: &Want, leased: &Leased) -> Vec<usize> {
    let mut had = HashMap::<&Queue, usize>::new();
    leased.jobs.iter().for_each(|lease| *had.entry(&lease.job.parts.queue).or_default() += 1);
    let left = |(queue, most): (&Queue, usize)| {
        let had = had.get_mut(queue).map_or(0, |had| {
            let now = most.min(*had);
            *had -= now;
            now
        });
        most - had
    };
    want.turns().map(left).collect()
}

/// What a runner wants, as parameters.
pub(crate) struct Wanted<'w> {
    queues: Vec<&'w str>,
    limit: i32,
    lease_us: i64,
    worker: Cow<'w, str>,
    max_args: i32,
    at_most: Option<Vec<i32>>,
    aging_us: Option<i64>,
}

impl<'w> Wanted<'w> {
    pub(crate) fn new(session: &Session, want: &'w Want, leased: &Leased) -> Self {
        let number = |jobs: usize| i32::try_from(jobs).unwrap_or(i32::MAX);
        let left = || left_of_turns(want, leased).into_iter().map(number).collect();
        Self {
            queues: want.queues.iter().map(Queue::as_str).collect(),
            limit: number(want.limit - leased.jobs.len()),
            lease_us: micros(want.lease_for),
            worker: row::text(&want.worker),
            max_args: number(session.shared.max_args),
            at_most: (!want.at_most.is_empty()).then(left),
            aging_us: want.aging.map(micros),
        }
    }

    pub(crate) fn params(&self) -> [Param<'_>; 5] {
        [
            (&self.queues, Type::TEXT_ARRAY),
            (&self.limit, Type::INT4),
            (&self.lease_us, Type::INT8),
            (&self.worker, Type::TEXT),
            (&self.max_args, Type::INT4),
        ]
    }

    /// What each turn may take, and how priorities rise: the last parameters.
    pub(crate) fn turns(&self) -> [Param<'_>; 2] {
        [(&self.at_most, Type::INT4_ARRAY), (&self.aging_us, Type::INT8)]
    }
}

/// The row that is no job says when the next one is due, and what time it is.
fn next_due_in(row: &Row) -> Result<Option<Duration>, Error> {
    let (next, now): (Instant, Instant) = (row.try_get(6)?, row.try_get(WIDTH + 1)?);
    let wait = chrono::DateTime::from(next) - chrono::DateTime::from(now);
    Ok(Some(wait.to_std().unwrap_or_default()))
}

/// Why a row is not started.
fn check(row: &Row, max_args: usize) -> Result<Result<Stored, BadRow>, Error> {
    let size = usize::try_from(row.try_get::<_, i32>(WIDTH)?).unwrap_or_default();
    if size > max_args {
        return Ok(Err(BadRow(format!("args have {size} bytes; at most {max_args} are accepted"))));
    }
    let stored = match row::job(row)? {
        Ok(stored) => stored,
        Err(why) => return Ok(Err(why)),
    };
    let most = stored.job.parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS);
    Ok(if row.try_get::<_, Option<bool>>(WIDTH + 2)? == Some(true) {
        Err(BadRow("it expired before it started".into()))
    } else if stored.attempt > most {
        Err(BadRow(format!("this would be attempt {} of at most {most}", stored.attempt)))
    } else {
        Ok(stored)
    })
}

/// Keeps what cannot be started as dead letters; they had no attempt. `follows` if a job may have to be made of one of them.
async fn refuse(session: &Session, bad: &[(Uuid, i64, String)], follows: bool) -> Result<(), Error> {
    if bad.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = bad.iter().map(|(id, ..)| *id).collect();
    let fences: Vec<i64> = bad.iter().map(|(_, fence, _)| *fence).collect();
    let reasons: Vec<_> = bad.iter().map(|(.., why)| row::text(why)).collect();
    let reasons: Vec<&str> = reasons.iter().map(AsRef::as_ref).collect();
    let now = session.shared.now();
    let params: [Param<'_>; 4] = [
        (&ids, Type::UUID_ARRAY),
        (&fences, Type::INT8_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&now, Type::TIMESTAMPTZ),
    ];
    let mut dead = Dead::default();
    let refused = async {
        for row in session.query(&session.shared.sql.refuse, &params).await? {
            let id = row.try_get::<_, Uuid>(0)?;
            let why = bad.iter().find(|(bad, ..)| *bad == id).map_or("", |(.., why)| why);
            dead.note(&row, 0, Status::BAD_REQUEST, &ErrorRecord::new(why))?;
        }
        dead.insert(session).await
    };
    // Most want nothing to be made of them, and then one statement does it.
    if follows {
        session.transaction(refused).await?;
    } else {
        refused.await?;
    }
    dead.tell(session);
    Ok(())
}

fn leased_job(stored: Stored, until: Instant) -> Lease {
    Lease {
        key: LeaseKey { id: stored.job.parts.id, fence: Fence(stored.fence), row: stored.seq },
        job: stored.job,
        attempt: stored.attempt,
        until: until.into(),
        created_at: stored.created_at,
    }
}

/// When a job would have been due with priority 0, to come at the same time.
fn aged(at: Instant, priority: u8, step: Duration) -> Instant {
    let by = chrono::TimeDelta::from_std(step * u32::from(priority)).unwrap_or(chrono::TimeDelta::MAX);
    let at = chrono::DateTime::from(at);
    at.checked_add_signed(by).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC).into()
}

/// The queues with a limit, as far as they were leased from: when a job of theirs ends, others may have room.
#[derive(Debug, Default)]
pub(crate) struct Limited(Mutex<BTreeSet<Queue>>);

impl Limited {
    fn note(&self, asked: &[Queue], limited: Vec<Queue>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_empty() || !limited.is_empty() {
            known.retain(|queue| !asked.contains(queue));
            known.extend(limited);
        }
    }

    pub(crate) fn all(&self) -> Vec<Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The floor of a store, which every change that may put a job below it takes away.
#[derive(Debug, Default)]
pub(crate) struct Floors(Mutex<(u64, Option<Floor>)>);

impl Floors {
    fn get(&self) -> (u64, Option<Floor>) {
        self.locked().clone()
    }

    /// Unless it was taken away since `epoch`.
    fn set(&self, epoch: u64, floor: Option<Floor>) {
        let mut locked = self.locked();
        if locked.0 == epoch {
            locked.1 = floor;
        }
    }

    pub(crate) fn clear(&self) {
        let mut locked = self.locked();
        *locked = (locked.0 + 1, None);
    }

    fn locked(&self) -> MutexGuard<'_, (u64, Option<Floor>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
