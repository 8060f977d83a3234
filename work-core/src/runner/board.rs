use std::collections::{HashMap, HashSet};
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ramp::Tally;
use super::sync::{Arc, AtomicBool, AtomicU64, CancellationToken, Mutex, MutexGuard, Notify, Ordering, PoisonError};
use super::{Report, Settings};
use crate::store::{Inspect, LeaseKey, Settle, Settlement};
use crate::{Context, JobId, Kind, Outcome, Status, Store};

/// What the loops of a runner share: the leases that are held, and the ends that are to be reported.
pub(super) struct Board {
    pub(super) store: Arc<dyn Store>,
    /// The same, if it can be looked into.
    pub(super) inspect: Option<Arc<dyn Inspect>>,
    pub(super) settings: Settings,
    /// Fires when nothing more is to be leased.
    pub(super) stopping: CancellationToken,
    /// Fires when the last end is on the board, so that the settle loop can finish.
    pub(super) closed: CancellationToken,
    pub(super) waiters: Arc<Waiters>,
    /// Always in the same order, so that a simulation can be repeated.
    held: Mutex<HashMap<JobId, Held, FixedState>>,
    ends: Mutex<Vec<End>>,
    /// Told when `ends` gets its first entry.
    pub(super) ended: Notify,
    /// Told when this process asked a running job to stop.
    pub(super) cancelled: Arc<Notify>,
    /// The store has heard that we live.
    pub(super) is_known: AtomicBool,
    performed: AtomicU64,
    stale: AtomicU64,
    released: AtomicU64,
    interrupted: Mutex<Vec<(JobId, Kind)>>,
    left: Mutex<Vec<(JobId, Kind)>>,
    /// What ended, for a ramp.
    pub(super) tally: Tally,
}

/// A lease that is ours until it is settled.
struct Held {
    key: LeaseKey,
    kind: Kind,
    context: Context,
    /// When the lease ends at the latest: counted from before it was asked for.
    until: Instant,
    ending: Option<Ending>,
}

/// Why an execution was told to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody cancelled the job, or its lease passed to someone else: the store knows which.
    Lost,
    /// Its lease is about to end and could not be extended: the job goes back, with its attempt, if it still can. Nobody wanted
    /// it to be cancelled.
    Overdue,
    /// The runner stops: the job goes back, with its attempt.
    Shutdown,
}

/// One end on its way to the store, and the outcome for those who wait for it.
pub(super) struct End {
    pub(super) settle: Settle,
    pub(super) outcome: Option<Outcome>,
    /// Whose handler may have completed the job itself.
    pub(super) context: Context,
    /// The handler ended well, whatever is told to the store.
    pub(super) is_well: bool,
    /// The job was given back.
    pub(super) released: bool,
}

/// Who waits for the outcome of a job that this process may settle.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<JobId, Vec<oneshot::Sender<Outcome>>>>);

impl Waiters {
    pub(crate) fn wait(&self, id: JobId) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.0);
        let senders = waiting.entry(id).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        receiver
    }

    /// True if nobody waits for anything: the common case, so that outcomes need not be kept.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(super) fn resolve(&self, id: JobId, outcome: &Outcome) {
        for sender in lock(&self.0).remove(&id).unwrap_or_default() {
            let _ = sender.send(outcome.clone());
        }
    }
}

/// Every lock here guards single operations on maps and lists, which a panic cannot leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(super) fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        waiters: Arc<Waiters>,
        cancelled: Arc<Notify>,
        inspect: Option<Arc<dyn Inspect>>,
    ) -> Self {
        Self {
            store,
            inspect,
            settings,
            stopping: CancellationToken::new(),
            closed: CancellationToken::new(),
            waiters,
            held: Mutex::default(),
            ends: Mutex::default(),
            ended: Notify::new(),
            cancelled,
            is_known: AtomicBool::new(false),
            performed: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            released: AtomicU64::new(0),
            interrupted: Mutex::default(),
            left: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// Notes leases that were asked for at `asked`.
    pub(super) fn hold<'l>(&self, leases: impl Iterator<Item = (LeaseKey, &'l Kind, &'l Context)>, asked: Instant) {
        let until = asked + self.settings.lease_for;
        let mut held = lock(&self.held);
        for (key, kind, context) in leases {
            let (kind, context) = (kind.clone(), context.clone());
            held.insert(key.id, Held { key, kind, context, until, ending: None });
        }
    }

    /// Puts the end of an attempt on the board. It counts as held until the store has it.
    pub(super) fn end(&self, end: End) {
        let mut ends = lock(&self.ends);
        ends.push(end);
        if ends.len() == 1 {
            self.ended.notify_one();
        }
    }

    pub(super) fn take_ends(&self) -> Vec<End> {
        std::mem::take(&mut *lock(&self.ends))
    }

    /// Ends that the store has not got yet.
    pub(super) fn backlog(&self) -> usize {
        lock(&self.ends).len()
    }

    /// Gives a job back, with its attempt.
    pub(super) fn release(&self, key: LeaseKey, context: Context) {
        let at = self.settings.clock.now();
        let settlement = Settlement::Snooze { at };
        let settle = Settle { key, status: Status::CANCELLED, settlement, error: None, then: Vec::new() };
        self.released.fetch_add(1, Ordering::Relaxed);
        self.end(End { settle, outcome: None, context, is_well: false, released: true });
    }

    /// Why the execution of this lease was told to stop, if it was.
    pub(super) fn ending(&self, key: LeaseKey) -> Option<Ending> {
        lock(&self.held).get(&key.id).filter(|held| held.key == key)?.ending
    }

    pub(super) fn forget(&self, keys: impl Iterator<Item = LeaseKey>) {
        let mut held = lock(&self.held);
        for key in keys {
            if held.get(&key.id).is_some_and(|h| h.key == key) {
                held.remove(&key.id);
            }
        }
    }

    /// The leases that are to be extended. That of a job which is told to stop since the runner stops, or since it is overdue, is
    /// still ours until the job is given back: if it lapsed before, that would count as a crash. A row that a handler has locked in its own
    /// transaction would hold up all others.
    pub(super) fn held(&self) -> Vec<LeaseKey> {
        let extended = |held: &&Held| held.ending != Some(Ending::Lost) && !held.context.is_completing();
        lock(&self.held).values().filter(extended).map(|held| held.key).collect()
    }

    /// All leases that are not settled, whatever became of their jobs.
    pub(super) fn all_held(&self) -> Vec<LeaseKey> {
        lock(&self.held).values().map(|held| held.key).collect()
    }

    pub(super) fn holds_any(&self) -> bool {
        !lock(&self.held).is_empty()
    }

    pub(super) fn count_held(&self) -> usize {
        lock(&self.held).len()
    }

    /// Tells executions to stop whose jobs somebody cancelled. The keys may be other workers' as well.
    pub(super) fn stop(&self, keys: &[LeaseKey]) {
        if keys.is_empty() {
            return;
        }
        let mut held = lock(&self.held);
        for key in keys {
            // By job and fence: where the store finds the row may have two forms.
            if let Some(held) = held.get_mut(&key.id).filter(|held| held.key.fence == key.fence) {
                held.stop(Ending::Lost);
            }
        }
    }

    /// The progress of jobs, as far as it was set since this was last asked.
    pub(super) fn take_progress(&self) -> Vec<(LeaseKey, f32)> {
        let news = |held: &Held| held.context.take_news_of_progress().map(|done| (held.key, done));
        lock(&self.held).values().filter(|held| !held.context.is_completing()).filter_map(news).collect()
    }

    /// Notes that these leases were extended by a request of `asked`; those that were not are told to stop.
    pub(super) fn extended(&self, tried: &[LeaseKey], still: &[LeaseKey], asked: Instant) {
        let still: HashSet<&LeaseKey> = still.iter().collect();
        let mut held = lock(&self.held);
        for key in tried {
            let Some(held) = held.get_mut(&key.id).filter(|held| held.key == *key) else { continue };
            if still.contains(key) {
                held.until = asked + self.settings.lease_for;
            } else {
                held.stop(Ending::Lost);
            }
        }
    }

    /// Tells executions to stop whose lease ends within `margin` and could not be extended.
    pub(super) fn stop_overdue(&self, margin: Duration) {
        let limit = Instant::now() + margin;
        lock(&self.held).values_mut().filter(|held| held.until <= limit).for_each(|held| held.stop(Ending::Overdue));
    }

    /// Tells everything to stop that has not ended, since the runner stops.
    pub(super) fn interrupt_all(&self) {
        let settled = self.ended_ids();
        let mut interrupted = lock(&self.interrupted);
        for held in lock(&self.held).values_mut().filter(|held| !settled.contains(&held.key.id)) {
            interrupted.push((held.key.id, held.kind.clone()));
            held.stop(Ending::Shutdown);
        }
    }

    fn ended_ids(&self) -> HashSet<JobId> {
        lock(&self.ends).iter().map(|end| end.settle.key.id).collect()
    }

    /// Gives back what did not stop, and remembers its name.
    pub(super) fn give_up(&self) {
        let left: Vec<(LeaseKey, Kind, Context)> = {
            let settled = self.ended_ids();
            let held = lock(&self.held);
            let stuck = held.values().filter(|held| !settled.contains(&held.key.id));
            stuck.map(|held| (held.key, held.kind.clone(), held.context.clone())).collect()
        };
        for (key, kind, context) in left {
            tracing::warn!(job.id = %key.id, job.kind = %kind, "a job did not stop when it was told to");
            self.release(key, context);
            lock(&self.left).push((key.id, kind));
        }
    }

    pub(super) fn count_performed(&self, attempts: u64) {
        self.performed.fetch_add(attempts, Ordering::Relaxed);
    }

    /// A job that was given back, and had been completed by its handler.
    pub(super) fn was_not_released(&self) {
        self.released.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count_stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> Report {
        Report {
            performed: self.performed.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
            released: self.released.load(Ordering::Relaxed),
            interrupted: std::mem::take(&mut *lock(&self.interrupted)),
            left: std::mem::take(&mut *lock(&self.left)),
        }
    }
}

impl Held {
    fn stop(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
            self.context.cancel();
        }
    }
}
