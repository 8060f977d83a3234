//! A store as the runner of a state sees it: its queues are those of the runs at work, and a limit is asked first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use work_core::store::{
    BoxFuture, Inserted, Inspect, LeaseKey, Leased, NewJob, Settle, Settled, Settlement, Store, Want,
};
use work_core::{JobId, Queue, StoreError};

use crate::envelope::Went;
use crate::graph::Def;
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
    /// By a limit of this process, or by one of the store.
    is_limited: bool,
    concurrency: usize,
    turn: AtomicUsize,
    /// What is leased: the run and state of each; signals have none.
    held: Mutex<HashMap<JobId, Option<Place>>>,
    /// What a limited state knows of its queues.
    look: Mutex<Look>,
}

/// What the last look into the queues of a limited state found. A permit that finds no job is lost, so it is worth
/// knowing.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Option<Instant>,
    /// It found less than it might have, and the next job is due then, if there is one.
    empty: Option<Option<Instant>>,
    /// So many jobs were asked for and found: twice as many may be asked for the next time.
    found: usize,
}

/// A run, and one of its states.
type Place = (Arc<LiveRun>, usize);

/// Another process may bring items that nobody here hears of: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a limit lets through now.
struct Admitted {
    jobs: usize,
    /// When to ask again, if that is known.
    again: Option<Duration>,
    /// When they were taken.
    at: Instant,
}

impl StateStore {
    pub(crate) fn new(inner: Arc<dyn Inspect>, live: Arc<Live>, drains: Drains) -> Self {
        let def = match drains {
            Drains::State(state) => Some(&live.graph.defs[state]),
            Drains::House => None,
        };
        let (limit, concurrency) =
            (def.and_then(|def| def.limit.clone()), def.map_or(usize::MAX, |def| def.concurrency));
        let is_limited = def.is_some_and(Def::is_limited);
        Self {
            inner,
            live,
            drains,
            limit,
            is_limited,
            concurrency,
            turn: AtomicUsize::new(0),
            held: Mutex::default(),
            look: Mutex::new(Look { at: None, empty: None, found: 0 }),
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

    /// Takes permits for as many jobs as may start at once: what is leased must not wait here, or it would start when its
    /// permit counts no more.
    fn admit(&self, want: usize) -> Admitted {
        let now = Instant::now();
        let mut admitted = Admitted { jobs: 0, again: None, at: now };
        let Drains::State(state) = self.drains else { return Admitted { jobs: want, ..admitted } };
        if !self.is_limited {
            return Admitted { jobs: want, ..admitted };
        }
        let pulse = &self.live.pulses[state];
        if let Some(closed) = pulse.closed_for(now) {
            return Admitted { again: Some(closed), ..admitted };
        }
        let free = self.concurrency.saturating_sub(lock(&self.held).len());
        let Some(limit) = &self.limit else { return Admitted { jobs: want.min(free), ..admitted } };
        let waiting = self.live.runs().iter().map(|run| run.tallies()[state].waiting).sum::<i64>();
        let waiting = usize::try_from(waiting).unwrap_or(0);
        let mut look = lock(&self.look);
        if pulse.arrived.swap(false, Ordering::AcqRel) {
            look.empty = None;
        }
        let most = match look.empty {
            None if waiting > 0 => want.min(free).min(waiting).min((2 * look.found).max(1)),
            Some(Some(due)) if due <= now => 1,
            // Nothing is known to be due. Another process may have brought something: one permit is risked for that, and
            // only if none is out.
            _ if look.at.is_none_or(|at| now - at >= LOOK_AGAIN) && limit.limit().is_idle(now) => 1,
            empty => {
                let due = empty.flatten().map(|due| due - now);
                return Admitted { again: Some(due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)), ..admitted };
            }
        };
        look.at = Some(now);
        drop(look);
        let most = most.min(free);
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
        let mut leased = self.inner.lease(Want { queues, at_most: Vec::new(), limit, ..want }).await?;
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
        if let Some(limiting) = &self.limit {
            (leased.jobs.len()..limit).for_each(|_| limiting.limit().give_back(admitted.at));
            let mut look = lock(&self.look);
            let short = leased.jobs.len() < limit;
            look.empty = short.then(|| leased.next_due_in.map(|due| Instant::now() + due));
            look.found = if short { 0 } else { limit };
            if !short {
                // More may be due: look again as soon as there are permits.
                leased.next_due_in = Some(admitted.again.unwrap_or_default());
            }
        }
        Ok(leased)
    }

    async fn settle_all(&self, done: Vec<Settle>) -> Result<Vec<Settled>, StoreError> {
        let notes: Vec<Note> = done.iter().map(|settle| self.note(settle)).collect();
        let answers = self.inner.settle(done).await?;
        let (mut moved, mut wake) = (false, self.is_limited);
        for (note, answer) in notes.into_iter().zip(&answers) {
            moved |= self.count(&note, *answer);
            wake |= note.then.iter().any(|(_, state)| self.live.graph.defs[*state].limit.is_some());
        }
        if moved {
            self.live.changed();
        }
        if wake {
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
                self.live.arrived(state);
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
    then: Vec<Place>,
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

    work_core::forward_upkeep!(self => self.inner);

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
