//! What does not fit into memory goes to the store, and from there to whoever has room.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::runner::becomes;
use super::*;
use crate::store::{Inserted, JobFilter, Leased, Store};
use crate::{Accepted, Args, JobState, OverflowWorker, PerformError, Router, StoreError, Worker};

/// Which instance started which job.
type Log = Arc<Mutex<Vec<(&'static str, u32)>>>;

/// Jobs wait for the gate.
struct Instance {
    worker: OverflowWorker,
    _stop: tokio_util::sync::DropGuard,
}

fn instance(
    store: &Arc<dyn Inspect>,
    name: &'static str,
    slots: usize,
    log: &Log,
    gate: &CancellationToken,
) -> Instance {
    let (log, gate) = (log.clone(), gate.clone());
    let handler = move |Args(n): Args<u32>| {
        log.lock().expect("log").push((name, n));
        gate.clone().cancelled_owned()
    };
    let router = Router::new().route("test", handler);
    let builder = OverflowWorker::builder(store.clone(), router).concurrency(slots).lease_for(seconds(5));
    let worker = builder.build().expect("valid settings");
    let stop = CancellationToken::new();
    let _running = tokio::spawn(worker.clone().run_until(stop.clone().cancelled_owned()));
    Instance { worker, _stop: stop.drop_guard() }
}

fn by_instance(log: &Log) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    log.lock().expect("log").iter().for_each(|(name, _)| *counts.entry(*name).or_default() += 1);
    counts
}

fn started(log: &Log) -> Vec<u32> {
    let mut numbers: Vec<u32> = log.lock().expect("log").iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    numbers
}

/// Each once, and whoever gave them away hears how they end.
pub async fn a_burst_that_fits_nowhere_alone_is_performed_by_all_once(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (log, gate) = (Log::default(), CancellationToken::new());
    let small = instance(&store, "a", 1, &log, &gate);
    let _others = [instance(&store, "b", 1, &log, &gate), instance(&store, "c", 10, &log, &gate)];
    let first = small.worker.perform(job(0)).await.expect("here");
    becomes(async || started(&log).len() == 1).await;
    let mut handles = vec![first];
    for n in 1..=6 {
        handles.push(small.worker.perform(job(n)).await.expect("accepted"));
    }
    assert!(handles.iter().all(|handle| handle.accepted() == Accepted::New));
    becomes(async || started(&log).len() == 7).await;
    let counts = small.worker.overflow_counts();
    assert_eq!((counts.here, counts.spilled, counts.refused), (1, 6, 0));
    gate.cancel();
    for handle in handles {
        assert!(handle.outcome().await.expect("an outcome").is_completed());
    }
    assert_eq!(started(&log), [0, 1, 2, 3, 4, 5, 6], "each once");
    assert_eq!(by_instance(&log)["a"], 1, "it had no room");
}

/// One that is full takes none, and takes some when it has room again.
pub async fn surplus_goes_to_free_slots_only(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (log, first, rest) = (Log::default(), CancellationToken::new(), CancellationToken::new());
    let full = instance(&store, "full", 2, &log, &first);
    for n in 0..2 {
        full.worker.perform(job(n)).await.expect("here");
    }
    for n in 2..12 {
        full.worker.perform(job(n)).await.expect("to the store");
    }
    let open = async || store.counts(JobFilter::all()).await.expect("counts");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(open().await.of(JobState::Available), 10, "nobody has room");
    let _others = [instance(&store, "one", 1, &log, &rest), instance(&store, "nine", 7, &log, &rest)];
    becomes(async || open().await.of(JobState::Running) == 8).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(by_instance(&log), BTreeMap::from([("full", 2), ("nine", 7), ("one", 1)]), "as many as are free");
    first.cancel();
    becomes(async || started(&log).len() == 12).await;
    assert_eq!(by_instance(&log)["full"], 4, "the rest, since it has room again");
    rest.cancel();
    becomes(async || open().await.open() == 0).await;
    assert_eq!(started(&log), (0..12).collect::<Vec<_>>());
}

/// When its lease has ended. What is in the memory of an instance ends with that.
pub async fn surplus_outlives_the_instance_that_took_it(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (log, never) = (Log::default(), CancellationToken::new());
    let full = instance(&store, "full", 1, &log, &never);
    full.worker.perform(job(0)).await.expect("here");
    let router = Router::new().route("test", std::future::pending::<()>);
    let builder = OverflowWorker::builder(store.clone(), router).lease_for(Duration::from_millis(300));
    let dies = tokio::spawn(builder.build().expect("valid settings").run_until(std::future::pending()));
    let handle = full.worker.perform(job(1)).await.expect("to the store");
    let state = async || get(&*store, handle.id()).await.state;
    becomes(async || state().await == JobState::Running).await;
    dies.abort();
    let open = CancellationToken::new();
    open.cancel();
    let _other = instance(&store, "other", 1, &log, &open);
    becomes(async || state().await == JobState::Completed).await;
    assert_eq!(by_instance(&log), BTreeMap::from([("full", 1), ("other", 1)]));
}

/// The slots were free when the store was asked, and not any more when it answered: others take what it gave.
pub async fn surplus_that_comes_too_late_for_a_free_slot_is_given_back(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (log, never, open) = (Log::default(), CancellationToken::new(), CancellationToken::new());
    let (asked, answers) = (CancellationToken::new(), CancellationToken::new());
    let late: Arc<dyn Inspect> =
        Arc::new(Late { store: store.clone(), asked: asked.clone(), answers: answers.clone() });
    let full = instance(&late, "full", 1, &log, &never);
    asked.cancelled().await;
    full.worker.perform(job(0)).await.expect("here");
    let handle = full.worker.perform(job(1)).await.expect("to the store");
    answers.cancel();
    open.cancel();
    let _other = instance(&store, "other", 1, &log, &open);
    becomes(async || get(&*store, handle.id()).await.state == JobState::Completed).await;
    assert_eq!(by_instance(&log), BTreeMap::from([("full", 1), ("other", 1)]));
}

/// A store that answers who wants jobs only when it may.
struct Late {
    store: Arc<dyn Inspect>,
    asked: CancellationToken,
    answers: CancellationToken,
}

impl Store for Late {
    crate::forward_upkeep!(self => self.store);
    crate::forward_methods! { self => self.store;
        insert(jobs: Vec<NewJob>) -> Vec<Inserted>;
        extend(leases: Vec<crate::store::LeaseKey>, by: Duration) -> Vec<crate::store::LeaseKey>;
        settle(done: Vec<Settle>) -> Vec<Settled>;
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move {
            self.asked.cancel();
            self.answers.cancelled().await;
            self.store.lease(want).await
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl Inspect for Late {
    crate::forward_inspect!(self => self.store);
}

/// A store that can be away, or lose its answers.
struct Faulty {
    store: Arc<dyn Inspect>,
    away: AtomicBool,
    mute: AtomicBool,
}

impl Store for Faulty {
    crate::forward_upkeep!(self => self.store);
    crate::forward_methods! { self => self.store;
        lease(want: Want) -> Leased;
        extend(leases: Vec<crate::store::LeaseKey>, by: Duration) -> Vec<crate::store::LeaseKey>;
        settle(done: Vec<Settle>) -> Vec<Settled>;
    }

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::rejected("the store is away", "no connection"));
            }
            let inserted = self.store.insert(jobs).await?;
            if self.mute.load(Ordering::SeqCst) {
                Err(StoreError::unknown("no answer", "timeout"))
            } else {
                Ok(inserted)
            }
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl Inspect for Faulty {
    crate::forward_inspect!(self => self.store);
}

/// Once, and what was refused never runs; what is in memory goes on. A job whose answer was lost may be given again.
pub async fn a_refusal_of_the_store_reaches_the_caller(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (away, mute) = (AtomicBool::new(true), AtomicBool::new(false));
    let faulty = Arc::new(Faulty { store: store.clone(), away, mute });
    let dynamic: Arc<dyn Inspect> = faulty.clone();
    let (log, gate) = (Log::default(), CancellationToken::new());
    let one = instance(&dynamic, "one", 1, &log, &gate);
    let here = one.worker.perform(job(0)).await.expect("here");
    let refused = one.worker.perform(job(1)).await.expect_err("no room anywhere");
    assert!(matches!(&refused, PerformError::Store(error) if !error.is_unknown()), "{refused}");
    faulty.away.store(false, Ordering::SeqCst);
    faulty.mute.store(true, Ordering::SeqCst);
    let again = job(2);
    let unknown = one.worker.perform(again.clone()).await.expect_err("no answer");
    assert!(matches!(&unknown, PerformError::Store(error) if error.is_unknown()), "{unknown}");
    faulty.mute.store(false, Ordering::SeqCst);
    gate.cancel();
    assert!(here.outcome().await.expect("an outcome").is_completed());
    let handle = one.worker.perform(again).await.expect("accepted");
    assert_eq!(handle.accepted(), Accepted::Duplicate, "also if there is room here by now");
    assert!(handle.outcome().await.expect("an outcome").is_completed());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(started(&log), [0, 2]);
    assert_eq!((one.worker.overflow_counts().refused, one.worker.overflow_counts().here), (2, 1));
}

/// However many callers there are.
pub async fn sixty_four_callers_overflow_five_slots(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let (log, gate) = (Log::default(), CancellationToken::new());
    let five = instance(&store, "five", 5, &log, &gate);
    let accepted = Arc::new(AtomicUsize::new(0));
    let callers = (0..64).map(|n| {
        let (worker, accepted) = (five.worker.clone(), accepted.clone());
        tokio::spawn(async move {
            worker.perform(job(n)).await.expect("accepted");
            accepted.fetch_add(1, Ordering::SeqCst);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller");
    }
    let counts = five.worker.overflow_counts();
    assert_eq!((counts.here, counts.spilled, accepted.load(Ordering::SeqCst)), (5, 59, 64));
    assert_eq!(started(&log).len(), 5, "no more than there are slots");
    gate.cancel();
    becomes(async || store.counts(JobFilter::all()).await.expect("counts").open() == 0).await;
    five.worker.local().idle().await;
    assert_eq!(started(&log), (0..64).collect::<Vec<_>>());
}
