//! A store as the runner of a state sees it: its queues are those of the runs at work, and a limit is asked first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use work_core::store::{
    BoxFuture, CancelOutcome, Inserted, Inspect, LeaseKey, Leased, NewJob, Rescued, Settle, Settled, Settlement, Store,
    Want,
};
use work_core::{JobId, Queue, StoreError};

use crate::envelope::Went;
use crate::live::{Live, LiveRun, lock};
use crate::step::StateLimit;

/// What a runner drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drains {
    /// The queues of one state.
    State(usize),
    /// Items that arrive in terminal states by hand, and signals.
    House,
}

pub(crate) struct StateStore {
    inner: Arc<dyn Inspect>,
    live: Arc<Live>,
    drains: Drains,
    limit: Option<StateLimit>,
    concurrency: usize,
    turn: AtomicUsize,
    /// What is leased: the run and state of each; signals have none.
    held: Mutex<HashMap<JobId, Option<(Arc<LiveRun>, usize)>>>,
    /// A limited state has nothing that is due before this, unless something arrives.
    empty_until: Mutex<Option<Instant>>,
}

/// Another process may bring items that nobody here hears of: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a limit lets through now.
struct Admitted {
    jobs: usize,
    /// When to ask again, if that is known.
    again: Option<Duration>,
}

impl StateStore {
    pub(crate) fn new(inner: Arc<dyn Inspect>, live: Arc<Live>, drains: Drains) -> Self {
        let def = match drains {
            Drains::State(state) => Some(&live.graph.defs[state]),
            Drains::House => None,
        };
        let (limit, concurrency) =
            (def.and_then(|def| def.limit.clone()), def.map_or(usize::MAX, |def| def.concurrency));
        Self {
            inner,
            live,
            drains,
            limit,
            concurrency,
            turn: AtomicUsize::new(0),
            held: Mutex::default(),
            empty_until: Mutex::default(),
        }
    }

    fn queues(&self) -> Vec<Queue> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.drains {
            Drains::State(state) => self.live.leasable(state, turn),
            Drains::House => {
                let terminal = |(state, def): (usize, &crate::graph::Def)| def.terminal.then_some(state);
                let states = self.live.graph.defs.iter().enumerate().filter_map(terminal);
                states.flat_map(|state| self.live.leasable(state, turn)).chain(self.live.signals()).collect()
            }
        }
    }

    /// Takes permits for as many jobs as may start at once. A permit that finds no job is lost: so none is taken while
    /// nothing is due, and never more than there are jobs.
    fn admit(&self, want: usize) -> Admitted {
        let (Some(limit), Drains::State(state)) = (&self.limit, self.drains) else {
            return Admitted { jobs: want, again: None };
        };
        let (now, pulse) = (Instant::now(), &self.live.pulses[state]);
        if let Some(closed) = pulse.closed_for(now) {
            return Admitted { jobs: 0, again: Some(closed) };
        }
        let mut empty_until = lock(&self.empty_until);
        if pulse.arrived.swap(false, Ordering::AcqRel) {
            *empty_until = None;
        }
        if let Some(until) = empty_until.filter(|until| *until > now) {
            return Admitted { jobs: 0, again: Some(until.duration_since(now)) };
        }
        drop(empty_until);
        let free = self.concurrency.saturating_sub(lock(&self.held).len());
        let waiting = self.live.runs().iter().map(|run| run.tallies()[state].waiting).sum::<i64>();
        let most = want.min(free).min(usize::try_from(waiting).unwrap_or(0).max(1));
        let mut admitted = Admitted { jobs: 0, again: None };
        while admitted.jobs < most {
            match limit.limit().try_acquire(now) {
                Ok(()) => admitted.jobs += 1,
                Err(again) => {
                    admitted.again = Some(again);
                    break;
                }
            }
        }
        admitted
    }

    async fn lease_some(&self, want: Want) -> Result<Leased, StoreError> {
        let queues = self.queues();
        if queues.is_empty() {
            return Ok(Leased::default());
        }
        let admitted = self.admit(want.limit);
        if admitted.jobs == 0 {
            return Ok(Leased { jobs: Vec::new(), next_due_in: admitted.again });
        }
        let limit = admitted.jobs;
        let mut leased = self.inner.lease(Want { queues, limit, ..want }).await?;
        for lease in &leased.jobs {
            let found = self.live.find(&lease.job.parts.queue);
            if let Some((run, state)) = &found {
                run.tally(*state, |tally| {
                    tally.waiting -= 1;
                    tally.executing += 1;
                });
            }
            lock(&self.held).insert(lease.key.id, found);
        }
        if self.limit.is_some() && leased.jobs.len() < limit {
            let pause = leased.next_due_in.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
            *lock(&self.empty_until) = Some(Instant::now() + pause);
        } else if let Some(again) = admitted.again {
            leased.next_due_in = Some(leased.next_due_in.map_or(again, |due| due.min(again)));
        }
        Ok(leased)
    }

    async fn settle_all(&self, done: Vec<Settle>) -> Result<Vec<Settled>, StoreError> {
        let notes: Vec<Note> = done.iter().map(|settle| self.note(settle)).collect();
        let answers = self.inner.settle(done).await?;
        let mut moved = false;
        for (note, answer) in notes.into_iter().zip(&answers) {
            moved |= self.count(&note, *answer);
        }
        if moved {
            self.live.changed();
        }
        if self.limit.is_some() {
            self.live.wake.notify_waiters();
        }
        Ok(answers)
    }

    fn note(&self, settle: &Settle) -> Note {
        let end = match &settle.settlement {
            Settlement::Complete { output } => {
                let went = output.as_ref().and_then(|output| serde_json::from_slice::<Went<'_>>(output).ok());
                let to = |went: Went<'_>| Some((self.live.graph.index(went.to)?, went.context.is_some()));
                End::Completed(went.and_then(to))
            }
            Settlement::Discard => End::Failed,
            Settlement::Cancel => End::Cancelled,
            _ => End::Again,
        };
        let then = settle.then.iter().filter_map(|job| self.live.find(&job.parts.queue)).collect();
        Note { id: settle.key.id, end, then }
    }

    /// Counts one end. Answers whether an item has moved, and not only come back to where it was.
    fn count(&self, note: &Note, answer: Settled) -> bool {
        let Some(held) = lock(&self.held).remove(&note.id) else { return false };
        if answer == Settled::Done {
            for (run, state) in &note.then {
                self.live.arrive(run, *state, 1);
            }
        }
        let Some((run, state)) = held else { return answer == Settled::Done };
        run.tally(state, |tally| {
            tally.executing -= 1;
            match note.end {
                _ if answer == Settled::Lost => {}
                End::Completed(_) => tally.completed += 1,
                End::Failed => tally.failed += 1,
                End::Cancelled => tally.cancelled += 1,
                End::Again => tally.waiting += 1,
            }
        });
        match note.end {
            _ if answer == Settled::Lost => false,
            End::Again => {
                self.live.pulses[state].arrived.store(true, Ordering::Release);
                false
            }
            End::Completed(Some((to, ended))) => {
                if to != state && ended {
                    run.tally(to, |tally| tally.completed += 1);
                }
                to != state || note.then.len() != 1
            }
            _ => true,
        }
    }
}

/// An end on its way to the store.
struct Note {
    id: JobId,
    end: End,
    then: Vec<(Arc<LiveRun>, usize)>,
}

enum End {
    /// And on to this state; true if the item ended there.
    Completed(Option<(usize, bool)>),
    Failed,
    Cancelled,
    /// In the same state.
    Again,
}

impl Store for StateStore {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.inner.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(self.lease_some(want))
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.inner.extend(leases, lease_for)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(self.settle_all(done))
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        self.inner.rescue(limit, max_crashes)
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        self.inner.cancel(ids)
    }

    /// Resolves with the store's own, or when a run comes, goes on, or a limited state has room again.
    fn ready<'a>(&'a self, _: &'a [Queue]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let queues = self.queues();
            let mut woken = std::pin::pin!(self.live.wake.notified());
            let mut arrived = self.inner.ready(&queues);
            std::future::poll_fn(|cx| {
                let told = woken.as_mut().poll(cx).is_ready() | arrived.as_mut().poll(cx).is_ready();
                if told { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        })
    }
}
