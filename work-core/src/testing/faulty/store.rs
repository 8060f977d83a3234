use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::call::{Fate, note};
use super::faults::Faults;
use crate::limit::Rate;
use crate::store::{
    BoxFuture, CancelOutcome, Fired, Firing, Inserted, Inspect, LeaseKey, Leased, NewJob, Rescued, Retention, Settle,
    Settled, Store, StoredSchedule, Want, WorkerInfo,
};
use crate::testing::Dice;
use crate::testing::history::{Recorder, What};
use crate::{JobId, Queue, StoreError};

/// A store as one worker sees it on a bad day: see [`Faults`]. What happens to a call follows from the seed and from how many
/// calls there were before. Clones are the same worker's.
///
/// The time of delays is tokio's, and needs a runtime that has time. What is [inspected](Inspect) never fails: that is how a
/// test looks.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use work_core::testing::faulty::{Faults, FaultyStore};
/// use work_core::{Job, Store, store::{Inserted, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let kept = MemoryStore::new();
/// let store = FaultyStore::new(kept.clone(), 7, Faults::none().lost(0.5));
/// let job = Job::new("greet", "Ann").into_stored(1024)?;
/// // An answer that was lost is unknown, and safe to ask for again.
/// let inserted = loop {
///     match store.insert(vec![job.clone()]).await {
///         Err(error) => assert!(error.is_unknown()),
///         Ok(inserted) => break inserted[0],
///     }
/// };
/// assert_eq!(inserted.id(), job.parts.id);
///
/// store.crash();
/// let never = tokio::time::timeout(Duration::from_secs(3_600), store.schedules()).await;
/// assert!(never.is_err(), "a worker that is dead gets no answer");
/// assert!(kept.schedules().await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultyStore<S> {
    store: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    is_dead: AtomicBool,
    recorder: Option<Recorder>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    faults: Faults,
}

impl<S: Clone> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S> FaultyStore<S> {
    /// A store with these faults, by this seed.
    #[must_use]
    pub fn new(store: S, seed: u64, faults: Faults) -> Self {
        Self::with(store, seed, faults, None)
    }

    /// As [`new`](Self::new), and each call that fails, hangs or loses its answer is written down as a stall of the recorder's
    /// process: what a worker did again because of one is explained then. To be late is no excuse. The
    /// [`RecordedStore`](crate::testing::history::RecordedStore) that writes down the calls themselves belongs inside, where they
    /// are done.
    #[must_use]
    pub fn recorded(store: S, seed: u64, faults: Faults, recorder: Recorder) -> Self {
        Self::with(store, seed, faults, Some(recorder))
    }

    fn with(store: S, seed: u64, faults: Faults, recorder: Option<Recorder>) -> Self {
        let state = Mutex::new(State { dice: Dice::new(seed), faults });
        Self { store, shared: Arc::new(Shared { state, is_dead: AtomicBool::new(false), recorder }) }
    }

    /// From now on these go wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// The worker is gone: nothing that it asks for is done or answered any more, calls that are under way included.
    pub fn crash(&self) {
        self.shared.is_dead.store(true, Ordering::SeqCst);
    }

    /// True after [`crash`](Self::crash), for handlers: what a dead worker would do is not done.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.shared.is_dead()
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.meet(self.fate(), call)
    }

    fn fate(&self) -> Fate {
        let State { dice, faults } = &mut *self.shared.state();
        Fate::of(faults, dice)
    }

    fn meet<'a, T: Send + 'a>(
        &'a self,
        fate: Fate,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let shared = &*self.shared;
        Box::pin(fate.meet(shared.recorder.as_ref(), || shared.is_dead(), call))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Nobody will hear of these leases.
    fn unanswered(&self, leased: &Leased) {
        let Some(recorder) = &self.recorder else { return };
        for key in leased.jobs.iter().map(|lease| lease.key) {
            note(recorder, What::Unanswered { job: key.id, fence: key.fence.0 });
        }
    }
}

/// Each is asked for only when its time has come: a store may do what it is asked before its future is polled.
macro_rules! calls {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> BoxFuture<'_, Result<$answer, StoreError>> {
            self.call(async move { self.store.$name($($arg),*).await })
        })*
    };
}

impl<S: Store> Store for FaultyStore<S> {
    calls! {
        insert(jobs: Vec<NewJob>) -> Vec<Inserted>;
        extend(leases: Vec<LeaseKey>, lease_for: Duration) -> Vec<LeaseKey>;
        settle(done: Vec<Settle>) -> Vec<Settled>;
        completed(leases: Vec<LeaseKey>) -> Vec<LeaseKey>;
        take_back(worker: String, held: Vec<LeaseKey>) -> u64;
        rescue(limit: usize, max_crashes: u32) -> Rescued;
        cancel(ids: Vec<JobId>) -> Vec<CancelOutcome>;
        stop_requests() -> Vec<LeaseKey>;
        set_progress(of: Vec<(LeaseKey, f32)>) -> ();
        beat(worker: WorkerInfo) -> ();
        leave(worker: String) -> ();
        prune(retention: Retention, limit: usize) -> u64;
        declare_limit(queue: Queue, at_most: u32) -> u32;
        declare_rate(queue: Queue, rate: Rate) -> Rate;
        put_schedule(schedule: StoredSchedule) -> ();
        schedules() -> Vec<StoredSchedule>;
        fire(due: Vec<Firing>) -> Vec<Fired>;
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        let fate = self.fate();
        self.meet(fate, async move {
            let leased = self.store.lease(want).await?;
            if fate.is_lost() {
                self.shared.unanswered(&leased);
            }
            Ok(leased)
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        let is_deaf = {
            let State { dice, faults } = &mut *self.shared.state();
            dice.happens(faults.deaf)
        };
        if is_deaf { Box::pin(std::future::pending()) } else { self.store.ready(queues) }
    }
}

impl<S: Inspect> Inspect for FaultyStore<S> {
    crate::forward_inspect!(self => self.store);
}
