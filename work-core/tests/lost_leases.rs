//! A store that is away until leases end: who holds one is told to stop before that, so that it has stopped when others may go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use work_core::limit::Rate;
use work_core::runner::Runner;
use work_core::store::{
    BoxFuture, CancelOutcome, Fired, Firing, Inserted, LeaseKey, Leased, MemoryStore, NewJob, Rescued, Retention,
    Settle, Settled, Store, StoredSchedule, Want, WorkerInfo,
};
use work_core::{Context, DEFAULT_MAX_ARGS, Job, JobId, Queue, Router, StoreError};

const LEASE: Duration = Duration::from_millis(1_500);

/// How the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Every call fails at once.
    Fails,
    /// No call is answered.
    Hangs,
    /// It extends no lease, and says so.
    FailsToExtend,
    /// Who looks for expired leases gets no answer; other calls fail.
    RescueHangs,
    /// Calls are answered when it is too late.
    IsSlow,
}

#[derive(Clone)]
struct Absent {
    inner: MemoryStore,
    away: Arc<Mutex<Option<Away>>>,
    /// When leases were last given or extended.
    given: Arc<Mutex<Option<Instant>>>,
}

impl Absent {
    /// As a call that ends when the network is back.
    async fn back<T>(&self) -> Result<T, StoreError> {
        while self.away.lock().expect("no panic").is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(StoreError::unknown("no answer", "cut"))
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        answer: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let away = *self.away.lock().expect("no panic");
        Box::pin(async move {
            match away {
                None => {
                    let now = Instant::now();
                    let answer = answer.await;
                    if call == Call::Lease || call == Call::Extend {
                        *self.given.lock().expect("no panic") = Some(now);
                    }
                    answer
                }
                Some(Away::FailsToExtend) if call != Call::Extend => answer.await,
                Some(Away::Hangs) => self.back().await,
                Some(Away::RescueHangs) if call == Call::Rescue => self.back().await,
                Some(Away::IsSlow) => {
                    tokio::time::sleep(LEASE * 2).await;
                    answer.await
                }
                Some(_) => Err(StoreError::rejected("the store is away", "gone")),
            }
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Lease,
    Extend,
    Rescue,
    Other,
}

macro_rules! calls {
    ($($kind:ident $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> BoxFuture<'_, Result<$answer, StoreError>> {
            self.call(Call::$kind, self.inner.$name($($arg),*))
        })*
    };
}

impl Store for Absent {
    calls! {
        Other insert(jobs: Vec<NewJob>) -> Vec<Inserted>;
        Lease lease(want: Want) -> Leased;
        Extend extend(leases: Vec<LeaseKey>, lease_for: Duration) -> Vec<LeaseKey>;
        Other settle(done: Vec<Settle>) -> Vec<Settled>;
        Other completed(leases: Vec<LeaseKey>) -> Vec<LeaseKey>;
        Other take_back(worker: String, held: Vec<LeaseKey>) -> u64;
        Rescue rescue(limit: usize, max_crashes: u32) -> Rescued;
        Other cancel(ids: Vec<JobId>) -> Vec<CancelOutcome>;
        Other stop_requests() -> Vec<LeaseKey>;
        Other set_progress(of: Vec<(LeaseKey, f32)>) -> ();
        Other beat(worker: WorkerInfo) -> ();
        Other leave(worker: String) -> ();
        Other prune(retention: Retention, limit: usize) -> u64;
        Other declare_limit(queue: Queue, at_most: u32) -> u32;
        Other declare_rate(queue: Queue, rate: Rate) -> Rate;
        Other put_schedule(schedule: StoredSchedule) -> ();
        Other schedules() -> Vec<StoredSchedule>;
        Other fire(due: Vec<Firing>) -> Vec<Fired>;
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.inner.ready(queues)
    }
}

/// Takes the store away at this time of the first lease. Answers how long before the end of its lease each handler was told.
async fn told_before_the_end(away: Away, after: Duration) -> Vec<Option<Duration>> {
    const JOBS: usize = 20;
    let store = Absent { inner: MemoryStore::new(), away: Arc::default(), given: Arc::default() };
    let jobs = (0..JOBS).map(|_| Job::new("wait", ()).into_stored(DEFAULT_MAX_ARGS).expect("valid")).collect();
    store.inner.insert(jobs).await.expect("insert");
    let (begun, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let handler = {
        let (begun, told) = (begun.clone(), told.clone());
        move |context: Context| {
            let (begun, told) = (begun.clone(), told.clone());
            async move {
                let token = context.cancellation();
                tokio::spawn(async move {
                    token.cancelled().await;
                    told.lock().expect("no panic").push(Instant::now());
                });
                begun.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        }
    };
    let until = {
        let (store, told, begun) = (store.clone(), told.clone(), begun.clone());
        async move {
            while begun.load(Ordering::SeqCst) < JOBS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(after).await;
            *store.away.lock().expect("no panic") = Some(away);
            let gone = Instant::now();
            while told.lock().expect("no panic").len() < JOBS && gone.elapsed() < LEASE * 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            *store.away.lock().expect("no panic") = None;
        }
    };
    let given = store.given.clone();
    let runner = Runner::new(Arc::new(store), Router::new().route("wait", handler)).concurrency(JOBS);
    runner.lease_for(LEASE).run_until(until).await.expect("valid");
    let end = given.lock().expect("no panic").expect("a lease") + LEASE;
    let told = told.lock().expect("no panic");
    (0..JOBS).map(|n| told.get(n).and_then(|at| end.checked_duration_since(*at))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_lease_that_cannot_be_extended_is_told_to_stop_before_it_ends() {
    let ways = [Away::Fails, Away::Hangs, Away::FailsToExtend, Away::RescueHangs, Away::IsSlow];
    let mut runs = Vec::new();
    for away in ways {
        // At any time of a lease, and between any two looks at it.
        for after in [0, 300, 480, 520, 700, 990] {
            let after = Duration::from_millis(after);
            runs.push(async move { (away, after, told_before_the_end(away, after).await) });
        }
    }
    for (away, after, told) in futures_util::future::join_all(runs).await {
        assert!(told.iter().all(Option::is_some), "{away:?} after {after:?}: told too late, or never: {told:?}");
    }
}
