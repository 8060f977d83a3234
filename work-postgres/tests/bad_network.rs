//! A network that takes the answer away, or everybody who works behind it.
//!
//! With `WORK_FAULTS=full`, 20,000 answers are swallowed, and a worker is cut off 20 times.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/proxy.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod proxy;
mod support;
#[path = "support/swallow.rs"]
mod swallow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use proxy::{Proxy, Weather};
use support::{Place, job};
use swallow::{Swallow, Then};
use tokio::task::JoinHandle;
use work_core::runner::{Report, Runner};
use work_core::store::{Inserted, Inspect, JobFilter, Store};
use work_core::{Clock, Context, JobId, JobState, Router};
use work_postgres::PostgresStore;

fn is_full() -> bool {
    std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full")
}

/// The address in a URL, and the URL with another one.
fn through(url: &str, address: std::net::SocketAddr) -> String {
    url.replace(&server_of(url), &address.to_string())
}

fn server_of(url: &str) -> String {
    url.split(['@', '/', '?']).find(|part| part.contains(':') && part.contains('.')).unwrap().to_owned()
}

/// How many callers lose answers at a time.
const CALLERS: usize = 32;

/// What stands in the requests whose answers are taken.
const MARK: &str = "swallow the answer to this";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_whose_answer_was_swallowed_is_unknown_and_repeated_there_is_one_job() {
    let (direct, answers) = (support::url(), if is_full() { 20_000 } else { 200 });
    let place = Place::at(direct.clone());
    let store = place.open().await;
    let ran: Arc<Mutex<BTreeMap<JobId, u32>>> = Arc::default();
    let log = ran.clone();
    let handler = move |id: JobId| {
        let log = log.clone();
        async move { *log.lock().unwrap().entry(id).or_default() += 1 }
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("greet", handler));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(runner.run_until(async { drop(stopped.await) }));
    let (left, start) = (Arc::new(AtomicUsize::new(answers)), Instant::now());
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        callers.push(tokio::spawn(lose(caller, direct.clone(), place.schema.clone(), left.clone())));
    }
    let (mut accepted, mut lost) = (BTreeSet::new(), 0);
    for caller in callers {
        let (ids, swallowed) = caller.await.unwrap();
        accepted.extend(ids);
        lost += swallowed;
    }
    let all = accepted.len();
    assert!(lost >= answers, "{lost} answers were swallowed");
    let drained = async {
        while store.counts(JobFilter::all()).await.unwrap().open() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), drained).await.expect("drained");
    drop(stop);
    running.await.unwrap().unwrap();
    let counts = store.counts(JobFilter::all()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.total()), (all as u64, all as u64));
    let ran = ran.lock().unwrap();
    assert_eq!(ran.keys().copied().collect::<BTreeSet<_>>(), accepted);
    assert!(ran.values().all(|times| *times == 1), "each ran once");
    println!("{lost} answers swallowed, {all} jobs, each there once and performed once, in {:.1?}", start.elapsed());
}

/// Loses answers to inserts, as long as there are some to be lost, and repeats each insert until it is answered. Answers the
/// jobs, and how many answers of inserts were taken that the server had committed.
async fn lose(caller: usize, direct: String, schema: String, left: Arc<AtomicUsize>) -> (Vec<JobId>, usize) {
    let swallow = Swallow::start(server_of(&direct), MARK).await;
    let place = Place { url: through(&direct, swallow.address()), schema };
    let store = loop {
        // All of them connect at once, to a busy machine.
        match place.builder().pool_size(1).call_deadline(Duration::from_secs(2)).connect().await {
            Ok(store) => break store,
            Err(error) => println!("again: {error}"),
        }
    };
    let mut jobs = Vec::new();
    let mut round = caller;
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        round += 1;
        let next = job("greet", MARK);
        // Mostly the connection ends, so that the caller need not wait for its deadline.
        let then = if round.is_multiple_of(20) { Then::Silence } else { Then::Cut };
        swallow.next(then);
        let mut tries = 0;
        let answer = loop {
            match store.insert(vec![next.clone()]).await {
                Ok(answer) => break answer[0],
                // A connection that cannot be had is no answer that was lost.
                Err(error) if tries > 0 || swallow.is_armed() => assert!(tries < 50, "{error}"),
                Err(error) => assert!(error.is_unknown(), "{error}"),
            }
            tries += 1;
        };
        assert!(tries > 0 && answer.id() == next.parts.id, "after {tries} tries: {answer:?}");
        jobs.push(next.parts.id);
    }
    // Those that nothing came from are given up, by both sides.
    let since = Instant::now();
    while swallow.open() > 1 {
        assert!(since.elapsed() < Duration::from_secs(30), "{} connections are left", swallow.open());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (jobs, swallow.swallowed())
}

/// A worker behind a network that is gone, and one beside it that is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_stops_before_its_lease_ends_and_another_goes_on() {
    let direct = support::url();
    let rounds = if is_full() { 20 } else { 3 };
    let mut soonest = TimeDelta::MAX;
    for n in 0..rounds {
        let proxy = Proxy::start(server_of(&direct)).await;
        let place = Place::at(direct.clone());
        let near = place.open().await;
        let far = Place { url: through(&direct, proxy.address()), schema: place.schema.clone() };
        let far = far.builder().call_deadline(Duration::from_secs(2)).connect().await.unwrap();
        let inserted = near.insert((0..10).map(|n| job("wait", n)).collect()).await.unwrap();
        let ids: BTreeSet<JobId> = inserted.into_iter().map(Inserted::id).collect();
        let (cut_off, elsewhere) = (Watched::start(far), Watched::idle());
        cut_off.until(|seen| seen.begun.len() == ids.len()).await;
        tokio::time::sleep(Duration::from_millis(n * 377 % 2_000)).await;
        // In silence, or with a refusal; as of now, and of the leases that there are.
        proxy.set(if n % 2 == 0 { Weather::Frozen } else { Weather::RepliesLost });
        if n % 3 == 2 {
            proxy.cut();
        }
        let elsewhere = elsewhere.go_on(near.clone());
        cut_off.until(|seen| seen.told.len() == ids.len()).await;
        elsewhere.until(|seen| seen.begun.len() == ids.len()).await;
        // No job runs here after the first moment at which it may run there.
        let (here, there) = (cut_off.seen(), elsewhere.seen());
        for id in &ids {
            let left = there.begun[id] - here.told[id];
            assert!(left > TimeDelta::zero(), "round {n}: {id} was told to stop {} too late", -left);
            soonest = soonest.min(left);
        }
        proxy.set(Weather::Fine);
        let stale = cut_off.stop().await.stale;
        elsewhere.finish.store(true, Ordering::SeqCst);
        elsewhere.until(|seen| seen.ended == ids.len()).await;
        assert_eq!(elsewhere.stop().await.performed, ids.len() as u64);
        assert_eq!(near.counts(JobFilter::all()).await.unwrap().of(JobState::Completed), ids.len() as u64);
        println!("round {n}: {stale} late ends were refused");
    }
    println!("{rounds} rounds: told {soonest} before the start elsewhere, at the latest");
}

/// What handlers that wait until they are told have seen.
#[derive(Clone, Default)]
struct Seen {
    begun: BTreeMap<JobId, DateTime<Utc>>,
    told: BTreeMap<JobId, DateTime<Utc>>,
    ended: usize,
}

/// A runner, and what its handlers saw.
struct Watched {
    seen: Arc<Mutex<Seen>>,
    /// Handlers need not wait any longer.
    finish: Arc<AtomicBool>,
    running: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<Report>)>,
}

impl Watched {
    fn idle() -> Self {
        Self { seen: Arc::default(), finish: Arc::default(), running: None }
    }

    fn start(store: PostgresStore) -> Self {
        Self::idle().go_on(store)
    }

    fn go_on(mut self, store: PostgresStore) -> Self {
        let (seen, finish) = (self.seen.clone(), self.finish.clone());
        let handler = move |id: JobId, context: Context| {
            let (seen, finish) = (seen.clone(), finish.clone());
            async move {
                seen.lock().unwrap().begun.insert(id, Clock::system().now());
                let (token, tells) = (context.cancellation(), seen.clone());
                tokio::spawn(async move {
                    token.cancelled().await;
                    tells.lock().unwrap().told.insert(id, Clock::system().now());
                });
                while !finish.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                seen.lock().unwrap().ended += 1;
            }
        };
        let runner = Runner::new(Arc::new(store), Router::new().route("wait", handler)).concurrency(10);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let until = async move { drop(stopped.await) };
        let running = runner.lease_for(Duration::from_secs(3)).grace(Duration::from_secs(5)).run_until(until);
        self.running = Some((stop, tokio::spawn(async { running.await.unwrap() })));
        self
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    async fn until(&self, holds: impl Fn(&Seen) -> bool) {
        let since = Instant::now();
        while !holds(&self.seen.lock().unwrap()) {
            assert!(since.elapsed() < Duration::from_secs(60), "it does not come to that");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(mut self) -> Report {
        let (stop, running) = self.running.take().unwrap();
        drop(stop);
        running.await.unwrap()
    }
}
