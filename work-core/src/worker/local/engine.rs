use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::book::Book;
use super::delayed::Pending;
use super::entry::{Entry, Promise};
use crate::compose::Following;
use crate::execution::Execution;
use crate::handle::Ticket;
use crate::pool::{Execute, Pool};
use crate::router::{LastRoute, Routes};
use crate::store::Settlement;
use crate::{Clock, Context, Job, Outcome, Parts, RetryPolicy, Status};

/// What the loops of a [`LocalWorker`](super::LocalWorker) share, and how a job goes through them.
pub(super) struct Engine {
    pub(super) routes: Routes,
    pub(super) capacity: usize,
    pub(super) retry: RetryPolicy,
    pub(super) clock: Clock,
    pub(super) keeps: Keeps,
    /// Fires when the worker stops: nothing more is accepted, recurring jobs end.
    pub(super) stopping: CancellationToken,
    /// What makes jobs: schedules and sources.
    pub(super) recurring: TaskTracker,
    /// Tells the task that watches the timers that one is due earlier.
    pub(super) earlier: Arc<Notify>,
}

/// What is kept of each job beyond what running it needs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keeps {
    /// A copy, so that a rescue hands out a running job whole.
    pub(super) args: bool,
    /// Where the time went.
    pub(super) timings: bool,
}

/// What remains of a job while it runs.
pub(super) struct Tag {
    pub(super) context: Context,
    /// Its unique key.
    key: Option<Box<str>>,
    /// The job, with its args if they are kept.
    copy: Option<Box<Job>>,
}

impl Tag {
    pub(super) fn take_copy(&mut self) -> Option<Box<Job>> {
        self.copy.take()
    }

    pub(super) fn key(&self) -> Option<Box<str>> {
        self.key.clone()
    }
}

/// What an execution came to.
pub(super) enum End {
    Over {
        outcome: Outcome,
        promise: Promise,
        then: Vec<Job>,
        /// The last of them is the next job of a chain.
        chained: bool,
    },
    Again {
        entry: Option<Box<Entry>>,
        delay: Duration,
        outcome: Outcome,
    },
    /// It had expired before it started.
    Expired {
        outcome: Outcome,
        promise: Promise,
        then: Vec<Job>,
    },
}

impl End {
    /// Nothing follows.
    const fn over(outcome: Outcome, promise: Promise) -> Self {
        Self::Over { outcome, promise, then: Vec::new(), chained: false }
    }
}

impl Execute for Engine {
    type Item = (Entry, Keeping);
    type Tag = Tag;
    type Book = Book;
    type End = End;
    type Local = LastRoute;

    fn tag((entry, keeping): &mut Self::Item) -> Tag {
        let key = entry.key().map(Into::into);
        let copy = keeping.copy.then(|| Box::new(entry.job.clone()));
        Tag { context: entry.context.clone(), key, copy }
    }

    async fn execute(&self, (entry, keeping): Self::Item, slot: u32, last: &mut LastRoute) -> End {
        let Entry { mut job, context, promise } = entry;
        if context.is_cancelled() {
            return End::over(Outcome::new(Status::CANCELLED), promise);
        }
        if job.parts().expires_at.is_some_and(|at| at <= self.clock.now()) {
            context.set_status(Status::BAD_REQUEST);
            return Self::expired(job.parts(), promise);
        }
        context.set_worker(slot);
        if let Some(due) = keeping.due {
            context.start_times(due.elapsed());
        }
        // Only a job that may run again is copied: the copy makes its args go through JSON.
        let following = Following::of(job.parts());
        let again = job.parts().max_attempts.map(|max| (max, job.clone()));
        let attempt = context.attempt();
        job.set_context(context);
        let mut outcome = Execution::run(&self.routes, job, last).await;
        let then = outcome.take_then();
        let decided =
            again.map(|(max, job)| (self.retry.decide(&outcome, attempt, max, self.clock.now()), job, attempt));
        match decided {
            Some((Settlement::Retry { at }, job, attempt)) => self.again(job, attempt + 1, at, promise, outcome),
            Some((Settlement::Snooze { at }, job, attempt)) => self.again(job, attempt, at, promise, outcome),
            _ => {
                let then = if outcome.status().is_complete() { then } else { Vec::new() };
                Self::over(outcome, promise, then, following.as_deref(), attempt)
            }
        }
    }

    fn note(&self, book: &mut Book, tag: &Tag, end: Option<&mut End>) {
        let key = tag.key.as_deref();
        match end {
            None => {
                book.counts.dropped += u64::from(book.leave(&tag.context, key));
            }
            Some(End::Expired { then, .. }) => {
                if book.leave(&tag.context, key) {
                    book.counts.expired += 1;
                    book.reserved += then.len();
                } else {
                    then.clear();
                }
            }
            Some(End::Over { outcome, then, chained, .. }) => {
                if book.leave(&tag.context, key) {
                    book.counts.note(outcome.status());
                    book.reserved += then.len();
                } else {
                    // Somebody else has it now.
                    then.clear();
                    *chained = false;
                    *outcome = Outcome::new(Status::CANCELLED);
                }
            }
            Some(again @ End::Again { .. }) => self.note_again(book, tag, again),
        }
    }

    fn tell(&self, pool: &Pool<Self>, end: End) {
        match end {
            End::Over { mut outcome, promise, then, chained } => {
                let last = then.into_iter().map(|job| self.follow(pool, job)).last();
                outcome.set_next(last.flatten().filter(|_| chained));
                promise.keep(outcome);
            }
            End::Expired { outcome, promise, then } => {
                then.into_iter().for_each(|job| drop(self.follow(pool, job)));
                promise.keep(outcome);
            }
            End::Again { .. } => super::alarm::watch(pool),
        }
    }

    fn load(book: &Book, _: usize) -> usize {
        book.len()
    }
}

/// How an item is to be run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keeping {
    copy: bool,
    /// When it was due, if times are taken.
    due: Option<Instant>,
}

impl Engine {
    pub(super) fn item(&self, entry: Entry) -> (Entry, Keeping) {
        let due = self.keeps.timings.then(Instant::now);
        (entry, Keeping { copy: self.keeps.args, due })
    }

    fn expired(parts: &Parts, promise: Promise) -> End {
        let outcome = Outcome::discard("it expired before it started");
        let failed = |following: Box<Following>| following.failed(outcome.status(), 0, outcome.error());
        let then = Following::of(parts).and_then(failed).map(Job::from_stored).into_iter().collect();
        End::Expired { outcome, promise, then }
    }

    /// The last attempt has ended: what follows from that.
    fn over(
        mut outcome: Outcome,
        promise: Promise,
        mut then: Vec<Job>,
        following: Option<&Following>,
        attempt: u32,
    ) -> End {
        let Some(following) = following else { return End::Over { outcome, promise, then, chained: false } };
        let mut chained = false;
        if outcome.is_completed() {
            match following.next(outcome.output_json()) {
                Ok(next) => {
                    chained = next.is_some();
                    then.extend(next.map(Job::from_stored));
                }
                Err(error) => {
                    outcome = Outcome::discard(error.to_string());
                    then.clear();
                }
            }
        }
        if !outcome.is_completed() && !outcome.is_cancelled() {
            let error = outcome.error().cloned();
            then.extend(following.failed(outcome.status(), attempt, error.as_ref()).map(Job::from_stored));
        }
        End::Over { outcome, promise, then, chained }
    }

    fn again(&self, job: Job, attempt: u32, at: DateTime<Utc>, promise: Promise, outcome: Outcome) -> End {
        let delay = (at - self.clock.now()).to_std().unwrap_or_default();
        End::Again { entry: Some(Box::new(Entry::again(job, attempt, promise))), delay, outcome }
    }

    fn note_again(&self, book: &mut Book, tag: &Tag, end: &mut End) {
        let End::Again { entry, delay, outcome } = end else { return };
        let Some(entry) = entry.take() else { return };
        if book.stopping || tag.context.is_cancelled() {
            // There will be no later: this attempt was the last.
            let mine = book.leave(&tag.context, tag.key.as_deref());
            let cancelled = !mine || tag.context.is_cancelled();
            let last =
                if cancelled { Outcome::new(Status::CANCELLED) } else { std::mem::replace(outcome, Outcome::done()) };
            if mine {
                book.counts.note(last.status());
            }
            *end = End::over(last, entry.promise);
            return;
        }
        if book.again(&tag.context, Pending::again(*entry, book.timers.after(*delay))) {
            self.earlier.notify_one();
        }
    }

    /// Takes a follow-up job whatever the capacity says: its parent was accepted.
    pub(super) fn follow(&self, pool: &Pool<Self>, job: Job) -> Option<Ticket> {
        let known = self.routes.check_kind(job.kind());
        if let Err(error) = &known {
            tracing::error!(job.kind = %job.kind(), %error, "a follow-up job was refused");
        }
        let mut ticket = None;
        pool.submit_all(|book| {
            book.reserved -= 1;
            let entry = known.is_ok().then(|| Entry::new(job));
            entry.map(|entry| {
                ticket = Some(entry.promise.ticket());
                book.enter(&entry);
                self.item(entry)
            })
        });
        ticket
    }
}
