//! Networks and servers that fail under load: nobody has to do anything, nothing that was accepted is lost, nothing is
//! performed after its end was recorded, and work goes on within seconds.
//!
//! With `WORK_FAULTS=full` there are a hundred cuts, twenty deaths of the server, and a stall of thirty seconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "../../xtask/src/server.rs"]
#[allow(dead_code, reason = "the rest is for `cargo xtask test`")]
mod server;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use proxy::{Proxy, Weather};
use server::Server;
use support::{Place, job};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use work_core::runner::{Report, Runner};
use work_core::store::{Fence, Inspect, JobFilter, Store};
use work_core::{Clock, JobId, JobState, Queue, Router};
use work_postgres::PostgresStore;

/// How long it may take until a job is performed after all is well again.
const SOON: Duration = Duration::from_secs(5);

fn is_full() -> bool {
    std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full")
}

/// One attempt that was started.
#[derive(Debug, Clone, Copy)]
struct Started {
    id: JobId,
    fence: Fence,
    at: chrono::DateTime<chrono::Utc>,
}

/// Two runners that perform and four callers that insert, and what each of them saw.
struct Load {
    place: Place,
    started: Arc<Mutex<Vec<Started>>>,
    unknown: Arc<AtomicUsize>,
    ending: Arc<AtomicBool>,
    makers: Vec<JoinHandle<BTreeSet<JobId>>>,
    runners: Vec<JoinHandle<Report>>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// With stores at this URL, which may be that of a proxy, and a look at the end at the server itself.
    async fn start(url: String, direct: &str, deadline: Duration) -> Self {
        let place = Place::at(direct.to_owned());
        let through = Place { url, schema: place.schema.clone() };
        let started: Arc<Mutex<Vec<Started>>> = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let (mut runners, mut makers) = (Vec::new(), Vec::new());
        let (unknown, ending): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        for _ in 0..2 {
            let store = through.builder().call_deadline(deadline).connect().await.unwrap();
            let log = started.clone();
            let handler = move |id: JobId, fence: Option<Fence>| {
                let log = log.clone();
                async move {
                    let one = Started { id, fence: fence.unwrap(), at: Clock::system().now() };
                    log.lock().unwrap().push(one);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let runner = Runner::new(Arc::new(store.clone()), Router::new().route("greet", handler));
            let mut stopped = stopped.clone();
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            let running = runner.concurrency(20).lease_for(Duration::from_secs(3)).run_until(until);
            runners.push(tokio::spawn(async { running.await.unwrap() }));
            for _ in 0..2 {
                makers.push(tokio::spawn(make(store.clone(), ending.clone(), unknown.clone())));
            }
        }
        Self { place, started, unknown, ending, makers, runners, stop }
    }

    fn performed(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    /// How long it takes until a job is performed.
    async fn next(&self) -> Duration {
        let (before, since) = (self.performed(), Instant::now());
        while self.performed() == before {
            assert!(since.elapsed() < Duration::from_secs(60), "nothing is performed any more");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        since.elapsed()
    }

    /// Stops the callers, waits until everything is performed, and checks the books. Answers what there is to tell.
    async fn settle_up(self) -> String {
        self.ending.store(true, Ordering::SeqCst);
        let mut accepted = BTreeSet::new();
        for maker in self.makers {
            accepted.extend(maker.await.unwrap());
        }
        let store = self.place.open().await;
        let drained = async {
            while store.counts(JobFilter::all()).await.unwrap().open() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), drained).await.expect("drained");
        self.stop.send_replace(true);
        let mut stale = 0;
        for runner in self.runners {
            stale += runner.await.unwrap().stale;
        }
        let kept = store.counts(JobFilter::all()).await.unwrap();
        let all = accepted.len() as u64;
        assert_eq!((kept.of(JobState::Completed), kept.total()), (all, all), "nothing is lost: {kept:?}");
        let started = self.started.lock().unwrap().clone();
        assert_eq!(started.iter().map(|one| one.id).collect::<BTreeSet<_>>(), accepted, "every job ran");
        let again = not_after_their_end(&self.place, &started).await;
        let unknown = self.unknown.load(Ordering::SeqCst);
        format!("{all} jobs, {again} attempts more, {unknown} answers lost, {stale} ends refused")
    }
}

/// No lease ran twice, none was taken after the end that is recorded, and none began after it. Answers how many attempts
/// there were beside the recorded ones.
async fn not_after_their_end(place: &Place, started: &[Started]) -> usize {
    let sql = format!("SELECT id::text, fence, extract(epoch FROM finished_at)::float8 FROM {}.history", place.schema);
    let rows = place.other().await.client.query(&sql, &[]).await.unwrap();
    let ends = rows.iter().map(|row| {
        let end: (i64, f64) = (row.get(1), row.get(2));
        (row.get::<_, &str>(0).parse::<JobId>().unwrap(), end)
    });
    let ends: BTreeMap<JobId, (i64, f64)> = ends.collect();
    let mut leases = BTreeSet::new();
    for one in started {
        let (fence, finished) = ends[&one.id];
        assert!(leases.insert((one.id, one.fence)), "{one:?} began twice");
        assert!(one.fence.0.cast_signed() <= fence, "{one:?} was leased after end {fence}");
        let late = one.at.timestamp_micros() as f64 / 1e6 - finished;
        assert!(late < 0.05, "{one:?} began {late} s after the job's end");
    }
    started.len() - ends.len()
}

/// Makes jobs, and repeats each until it is accepted.
async fn make(store: PostgresStore, ending: Arc<AtomicBool>, unknown: Arc<AtomicUsize>) -> BTreeSet<JobId> {
    let mut accepted = BTreeSet::new();
    while !ending.load(Ordering::SeqCst) {
        let next = job("greet", 1);
        while let Err(error) = store.insert(vec![next.clone()]).await {
            unknown.fetch_add(usize::from(error.is_unknown()), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        accepted.insert(next.parts.id);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    accepted
}

/// The address in a URL, and the URL with another one.
fn through(url: &str, address: std::net::SocketAddr) -> String {
    url.replace(&server_of(url), &address.to_string())
}

fn server_of(url: &str) -> String {
    url.split(['@', '/', '?']).find(|part| part.contains(':') && part.contains('.')).unwrap().to_owned()
}

async fn behind_a_proxy(deadline: Duration) -> (Proxy, Load) {
    let direct = support::url();
    let proxy = Proxy::start(server_of(&direct)).await;
    let load = Load::start(through(&direct, proxy.address()), &direct, deadline).await;
    load.next().await;
    (proxy, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_cost_nothing_but_time() {
    let (proxy, load) = behind_a_proxy(Duration::from_secs(10)).await;
    let cuts = if is_full() { 100 } else { 20 };
    let mut worst = Duration::ZERO;
    for n in 0..cuts {
        tokio::time::sleep(Duration::from_millis(50 + n * 7 % 100)).await;
        proxy.cut();
        worst = worst.max(load.next().await);
    }
    assert!(worst < SOON, "{worst:?}");
    println!("{cuts} cuts: {}; going on after {worst:?} at worst", load.settle_up().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_stalls_costs_nothing_but_time() {
    let (proxy, load) = behind_a_proxy(Duration::from_secs(10)).await;
    let stall = Duration::from_secs(if is_full() { 30 } else { 5 });
    proxy.set(Weather::Frozen);
    tokio::time::sleep(stall).await;
    proxy.set(Weather::Fine);
    let after = load.next().await;
    assert!(after < SOON, "{after:?}");
    proxy.set(Weather::Slow(Duration::from_millis(50)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.set(Weather::Fine);
    println!("a stall of {stall:?}: {}; going on after {after:?}", load.settle_up().await);
}

/// The connections that there are stay open and are of no more use, which nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_only_seem_to_live_are_not_asked_one_after_the_other() {
    let (proxy, load) = behind_a_proxy(Duration::from_secs(2)).await;
    let rounds = if is_full() { 10 } else { 2 };
    let mut worst = Duration::ZERO;
    for n in 0..rounds {
        let lost = if n % 2 == 0 { Weather::RepliesLost } else { Weather::RequestsLost };
        proxy.set(lost);
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.set(Weather::Fine);
        worst = worst.max(load.next().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(worst < SOON, "{worst:?}");
    println!("{rounds} rounds: {}; going on after {worst:?} at worst", load.settle_up().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_without_an_answer_is_enough_to_give_up_the_old_connections() {
    let direct = support::url();
    let proxy = Proxy::start(server_of(&direct)).await;
    let place = Place::at(through(&direct, proxy.address()));
    let store = place.builder().call_deadline(Duration::from_secs(3)).connect().await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.counts(JobFilter::all()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    proxy.set(Weather::RepliesLost);
    let error = store.counts(JobFilter::all()).await.unwrap_err();
    assert!(error.to_string().contains("within 3s"), "{error}");
    proxy.set(Weather::Fine);
    store.counts(JobFilter::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_is_not_held_up_for_ever_by_a_server_that_says_nothing() {
    let direct = support::url();
    let proxy = Proxy::start(server_of(&direct)).await;
    let place = Place::at(through(&direct, proxy.address()));
    let store = place.open().await;
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    assert!(!poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await);
    let other = Place { url: direct, schema: place.schema.clone() }.other().await;
    let listens = format!("SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN \"work:{}\"'", place.schema);
    let listening = async |how_many| {
        while other.number(&listens).await != how_many {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let soon = Duration::from_secs(30);
    tokio::time::timeout(soon, listening(1)).await.expect("it listens");
    proxy.set(Weather::RepliesLost);
    proxy.cut();
    tokio::time::timeout(soon, listening(0)).await.expect("the connection is cut");
    // By now it has asked to be let in again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.set(Weather::Fine);
    tokio::time::timeout(soon, listening(1)).await.expect("it listens again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_again_and_again_costs_nothing_but_time() {
    support::url();
    let Some(bin) = Server::find() else { return };
    let mut server = Server::start(&bin).expect("the server starts");
    let load = Load::start(server.url(), &server.url(), Duration::from_secs(10)).await;
    load.next().await;
    let deaths = if is_full() { 20 } else { 3 };
    let mut worst = Duration::ZERO;
    for n in 0..deaths {
        tokio::time::sleep(Duration::from_millis(300 + n * 37 % 400)).await;
        let away = Duration::from_millis(n * 531 % 3_000);
        server = tokio::task::spawn_blocking(move || {
            server.stop();
            std::thread::sleep(away);
            server.run().expect("it starts again");
            server
        })
        .await
        .unwrap();
        worst = worst.max(load.next().await);
    }
    assert!(worst < SOON, "{worst:?}");
    println!("{deaths} deaths: {}; going on after {worst:?} at worst", load.settle_up().await);
}
