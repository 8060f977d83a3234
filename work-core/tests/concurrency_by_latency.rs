//! A runner that runs as many jobs at once as the other side takes before they get slower.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use work_core::limit::Gradient;
use work_core::runner::{Ramp, Runner};
use work_core::store::{Inspect, MemoryStore, Store};
use work_core::{Clock, Job, Router};

const SECOND: Duration = Duration::from_secs(1);

/// Takes 50 ms as long as at most `knee` calls are under way, and with more, as many times longer.
#[derive(Clone, Default)]
struct Server {
    knee: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    fn router(&self) -> Router {
        let server = self.clone();
        Router::new().route("call", move || {
            let server = server.clone();
            async move { server.call().await }
        })
    }

    async fn call(&self) {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let over = now as f64 / self.knee.load(Ordering::SeqCst) as f64;
        sleep(Duration::from_millis(50).mul_f64(over.max(1.0))).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_finds_the_knee_of_its_server_and_follows_it() {
    let clock = Clock::tokio("2026-01-01T00:00:00Z".parse().unwrap());
    let (store, server) = (Arc::new(MemoryStore::with_clock(clock.clone())), Server::default());
    let jobs = (0..40_000).map(|n| Job::new("call", n).into_stored(1024).unwrap()).collect();
    store.insert(jobs).await.unwrap();
    let slots = Gradient::new(2, 60).unwrap();
    let runner = Runner::new(store.clone(), server.router()).clock(clock).simulated();
    let runner = runner.concurrency_by_latency(slots.clone());
    let watch = async {
        for knee in [20, 8, 30] {
            server.knee.store(knee, Ordering::SeqCst);
            sleep(15 * SECOND).await;
            let mut sum = 0;
            for _ in 0..100 {
                sleep(SECOND / 10).await;
                sum += slots.slots();
            }
            let mean = sum as f64 / 100.0;
            println!("knee {knee}: {mean:.1} slots");
            assert!((0.75..=1.25).contains(&(mean / knee as f64)), "{mean} slots at a knee of {knee}");
        }
        let shown = store.workers().await.unwrap()[0].slots;
        assert!((22..=40).contains(&shown), "{shown}");
    };
    let report = runner.run_until(watch).await.unwrap();
    assert!(report.performed > 15_000, "{report:?}");
    assert!(server.most.load(Ordering::SeqCst) <= 60);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_knee_gets_the_most_and_never_more() {
    let clock = Clock::tokio("2026-01-01T00:00:00Z".parse().unwrap());
    let (store, server) = (Arc::new(MemoryStore::with_clock(clock.clone())), Server::default());
    server.knee.store(1_000_000, Ordering::SeqCst);
    let jobs = (0..20_000).map(|n| Job::new("call", n).into_stored(1024).unwrap()).collect();
    store.insert(jobs).await.unwrap();
    let slots = Gradient::new(1, 30).unwrap();
    let runner = Runner::new(store, server.router()).clock(clock).simulated();
    // Which has nothing to say then.
    let runner = runner.concurrency_by_latency(slots.clone()).concurrency(3);
    runner.run_until(sleep(20 * SECOND)).await.unwrap();
    assert_eq!((slots.slots(), server.most.load(Ordering::SeqCst)), (30, 30));
}

#[test]
fn a_ramp_beside_it_is_refused() {
    let runner = Runner::new(Arc::new(MemoryStore::new()), Router::new());
    let runner = runner.ramp(Ramp::new(SECOND).unwrap()).concurrency_by_latency(Gradient::new(1, 2).unwrap());
    let why = runner.validate().unwrap_err().to_string();
    assert!(why.starts_with("ramp beside concurrency by latency is out of range; use one of the two"), "{why}");
}
