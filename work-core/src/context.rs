use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::compose::Following;
use crate::handle::{Completion, Ticket};
use crate::store::{Fence, LeaseKey, Seal};
use crate::timings::{JobTimings, Times};
use crate::{JobId, Kind, Outcome, Status};

/// What belongs to one execution of a job. Cheap to clone; every clone is the same context.
///
/// Layers and the handler share it. It is fresh for every execution: nothing leaks from one attempt into the next.
///
/// ```
/// use work_core::{Context, Status};
///
/// let context = Context::new();
/// assert_eq!(context.status(), None);
/// context.set_status(Status::NO_RESPONSE);
/// context.set("tenant", 7_u32);
/// assert_eq!(context.status(), Some(Status::NO_RESPONSE));
/// assert_eq!(context.get::<u32>("tenant"), Some(7));
/// assert_eq!(context.get::<String>("tenant"), None);
/// ```
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
}

struct Shared {
    /// 0 while unknown.
    status: AtomicU16,
    run: Run,
    /// Which slot it runs in: known only when it starts.
    worker: AtomicU32,
    deadline: OnceLock<Instant>,
    /// Made when first needed: most jobs carry nothing.
    bag: Mutex<Option<Box<Bag>>>,
    cancelled: AtomicBool,
    /// What comes after the job in a store, if anything does.
    following: OnceLock<Box<Following>>,
    /// The handler completes the job in a transaction of its own.
    completing: AtomicBool,
    /// Wakes the execution itself; the token below wakes whoever the handler hands it to.
    execution: AtomicWaker,
    token: OnceLock<CancellationToken>,
    /// Where the handle of an in-process job finds its outcome.
    completion: Completion,
}

/// Which execution this is.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) job: Option<(JobId, Kind)>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) lease: Option<Leased>,
    /// Where the handle of the job looks, if not here.
    pub(crate) origin: Option<Ticket>,
}

/// What a job of a store is performed under.
#[derive(Debug, Clone)]
pub(crate) struct Leased {
    pub(crate) key: LeaseKey,
    /// How many bytes it may return.
    pub(crate) max_output: usize,
    /// What its settlement goes through on its way to the store.
    pub(crate) seal: Option<Arc<dyn Seal>>,
}

#[derive(Default)]
struct Bag {
    values: BTreeMap<String, Box<dyn Any + Send + Sync>>,
    extensions: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    progress: Option<f32>,
    /// The store has not been told of it.
    progress_is_news: bool,
    times: Option<Times>,
    /// How the handler completed the job in a transaction, which may be committed or not.
    completed: Option<Outcome>,
}

impl Context {
    /// A context of the first attempt of no particular job: for tests of layers and handlers.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Run { job: None, attempt: 1, max_attempts: 1, lease: None, origin: None })
    }

    pub(crate) fn of(run: Run) -> Self {
        let shared = Shared {
            status: AtomicU16::new(0),
            run,
            worker: AtomicU32::new(0),
            deadline: OnceLock::new(),
            bag: Mutex::new(None),
            cancelled: AtomicBool::new(false),
            following: OnceLock::new(),
            completing: AtomicBool::new(false),
            execution: AtomicWaker::new(),
            token: OnceLock::new(),
            completion: Completion::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The status, unknown until it is set.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        Status::new(self.shared.status.load(Ordering::Acquire)).ok()
    }

    /// Sets the status. A handler that returns `()` ends with what it set here.
    pub fn set_status(&self, status: Status) {
        self.shared.status.store(status.code(), Ordering::Release);
    }

    /// Makes the status unknown again: for a layer that calls its service once more within the same execution.
    pub fn clear_status(&self) {
        self.shared.status.store(0, Ordering::Release);
    }

    /// The job, if this is the context of one.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.shared.run.job.as_ref().map(|(id, _)| *id)
    }

    /// The kind of the job, if this is the context of one.
    #[must_use]
    pub fn kind(&self) -> Option<&Kind> {
        self.shared.run.job.as_ref().map(|(_, kind)| kind)
    }

    /// The id, to be borrowed for as long as the context.
    pub(crate) fn job_id_ref(&self) -> Option<&JobId> {
        self.shared.run.job.as_ref().map(|(id, _)| id)
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.shared.run.attempt
    }

    /// How many attempts the job may have.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.shared.run.max_attempts
    }

    /// Which of the worker's slots it runs in, from 0.
    #[must_use]
    pub fn worker_number(&self) -> u32 {
        self.shared.worker.load(Ordering::Relaxed)
    }

    pub(crate) fn set_worker(&self, slot: u32) {
        self.shared.worker.store(slot, Ordering::Relaxed);
    }

    /// The fence token of the lease: hand it to systems that can refuse a smaller one. In memory there is none.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.shared.run.lease.as_ref().map(|lease| lease.key.fence)
    }

    /// When the attempt will be timed out, if a layer said so.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.deadline.get().copied()
    }

    /// Says when the attempt will be timed out. The first layer that says so wins.
    pub fn set_deadline(&self, deadline: Instant) {
        self.shared.deadline.get_or_init(|| deadline);
    }

    /// Puts a value under a key; an earlier one is replaced.
    pub fn set<T: Clone + Send + Sync + 'static>(&self, key: impl Into<String>, value: T) {
        self.bag().get_or_insert_default().values.insert(key.into(), Box::new(value));
    }

    /// The value under a key, if it is of this type.
    #[must_use]
    pub fn get<T: Clone + 'static>(&self, key: &str) -> Option<T> {
        self.bag().as_ref()?.values.get(key)?.downcast_ref().cloned()
    }

    /// Puts the one value of its type; an earlier one is replaced.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, extension: T) {
        self.bag().get_or_insert_default().extensions.insert(TypeId::of::<T>(), Box::new(extension));
    }

    /// The value of this type, if one was put there.
    #[must_use]
    pub fn extension<T: Clone + 'static>(&self) -> Option<T> {
        self.bag().as_ref()?.extensions.get(&TypeId::of::<T>())?.downcast_ref().cloned()
    }

    /// Says how much of the work is done, from 0 to 1; what is outside is cut off, and NaN is ignored.
    ///
    /// A store hears of it about a second later. The same number again says that the handler is alive.
    pub fn set_progress(&self, done: f32) {
        if !done.is_nan() {
            let mut bag = self.bag();
            let bag = bag.get_or_insert_default();
            bag.progress = Some(done.clamp(0.0, 1.0));
            bag.progress_is_news = true;
        }
    }

    /// The progress, if it was set since it was last asked for here.
    pub(crate) fn take_news_of_progress(&self) -> Option<f32> {
        let mut bag = self.bag();
        let bag = bag.as_mut()?;
        if std::mem::take(&mut bag.progress_is_news) { bag.progress } else { None }
    }

    /// How much of the work is done, if the handler said so.
    #[must_use]
    pub fn progress(&self) -> Option<f32> {
        self.bag().as_ref()?.progress
    }

    /// Where the time went until now, if the worker takes times.
    #[must_use]
    pub fn timings(&self) -> Option<JobTimings> {
        self.bag().as_ref()?.times.as_ref().map(Times::until_now)
    }

    /// Says that a rate limit held the execution back for so long; for layers.
    pub fn add_throttled(&self, time: Duration) {
        if let Some(times) = self.bag().as_mut().and_then(|bag| bag.times.as_mut()) {
            times.throttled += time;
        }
    }

    /// Says that the execution waited for a slot of a concurrency limit for so long; for layers.
    pub fn add_waiting(&self, time: Duration) {
        if let Some(times) = self.bag().as_mut().and_then(|bag| bag.times.as_mut()) {
            times.waiting += time;
        }
    }

    /// Starts taking times.
    pub(crate) fn start_times(&self, queued: Duration) {
        self.bag().get_or_insert_default().times = Some(Times::started(queued));
    }

    /// Tells the execution to stop: the token fires, and the handler is dropped at its next await.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        self.shared.execution.wake();
        if let Some(token) = self.shared.token.get() {
            token.cancel();
        }
    }

    /// True once the execution was told to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// A token that fires when the execution is told to stop: for what the handler spawned or runs on a thread.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        let token = self.shared.token.get_or_init(CancellationToken::new).clone();
        // `cancel` may have looked before the token was there.
        if self.is_cancelled() {
            token.cancel();
        }
        token
    }

    /// Wakes `waker` when the execution is told to stop. There is one execution, so one waker is enough.
    pub(crate) fn poll_cancelled(&self, waker: &std::task::Waker) -> bool {
        self.shared.execution.register(waker);
        self.is_cancelled()
    }

    pub(crate) fn lease(&self) -> Option<&Leased> {
        self.shared.run.lease.as_ref()
    }

    pub(crate) fn set_following(&self, following: Option<Box<Following>>) {
        if let Some(following) = following {
            self.shared.following.get_or_init(|| following);
        }
    }

    pub(crate) fn following(&self) -> Option<&Following> {
        self.shared.following.get().map(|following| &**following)
    }

    /// From now on the row of the job may be locked by a transaction of the handler.
    pub(crate) fn completing_begins(&self) {
        self.shared.completing.store(true, Ordering::SeqCst);
    }

    /// Nothing came of it, unless something did before.
    pub(crate) fn completing_ended(&self) {
        if self.bag().as_ref().is_none_or(|bag| bag.completed.is_none()) {
            self.shared.completing.store(false, Ordering::SeqCst);
        }
    }

    pub(crate) fn completed_in_transaction(&self, outcome: Outcome) {
        self.bag().get_or_insert_default().completed = Some(outcome);
    }

    pub(crate) fn is_completing(&self) -> bool {
        self.shared.completing.load(Ordering::SeqCst)
    }

    /// How the handler completed the job, if its transaction was committed.
    pub(crate) fn completed(&self) -> Option<Outcome> {
        if self.is_completing() { self.bag().as_ref()?.completed.clone() } else { None }
    }

    pub(crate) fn origin(&self) -> Option<&Ticket> {
        self.shared.run.origin.as_ref()
    }

    /// True if both are the context of one execution.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn completion(&self) -> &Completion {
        &self.shared.completion
    }

    /// The lock is held for a map operation, never over an await; a panic inside cannot break a map.
    fn bag(&self) -> MutexGuard<'_, Option<Box<Bag>>> {
        self.shared.bag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("status", &self.status())
            .field("job", &self.shared.run.job)
            .field("attempt", &self.shared.run.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_threads_lose_no_write() {
        let context = Context::new();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let context = context.clone();
                scope.spawn(move || {
                    for n in 0..10_000_u32 {
                        let key = format!("{thread}:{}", n % 100);
                        context.set(&key, n);
                        assert_eq!(context.get::<u32>(&key), Some(n));
                    }
                });
            }
        });
        assert_eq!(context.get::<u32>("7:99"), Some(9_999));
    }

    #[test]
    fn a_token_made_after_the_cancel_has_fired() {
        let context = Context::new();
        let before = context.cancellation();
        assert!(!before.is_cancelled());
        context.cancel();
        assert!(before.is_cancelled() && context.cancellation().is_cancelled());
    }

    #[test]
    fn progress_stays_between_0_and_1() {
        let context = Context::new();
        context.set_progress(1.5);
        assert_eq!(context.progress(), Some(1.0));
        context.set_progress(f32::NAN);
        assert_eq!(context.progress(), Some(1.0));
    }
}
