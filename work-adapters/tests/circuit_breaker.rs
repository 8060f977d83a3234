//! The circuit breaker: when it opens, what it costs then, and how it closes again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::Traced;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower_service::Service;
use tracing::level_filters::LevelFilter;
use work_adapters::{
    BreakerState, CircuitBreaker, CircuitBreakerBuilder, CircuitBreakerLayer, InvalidSetting, TimeoutLayer,
};
use work_core::store::MemoryStore;
use work_core::{Args, Directive, Job, LocalWorker, QueueWorker, Router, State, Status, Worker};

const SECOND: Duration = Duration::from_secs(1);

type Runs = Arc<AtomicUsize>;

/// Ends with this status after so many milliseconds.
async fn handler(Args((status, ms)): Args<(u16, u64)>, State(runs): State<Runs>) -> Status {
    runs.fetch_add(1, Ordering::SeqCst);
    sleep(Duration::from_millis(ms)).await;
    Status::new(status).unwrap()
}

fn breaker() -> CircuitBreakerBuilder {
    CircuitBreaker::builder("test").minimum_calls(4).window(SECOND * 10).open_for(SECOND * 30).probes(2)
}

struct Bench {
    breaker: CircuitBreaker,
    worker: LocalWorker,
    runs: Runs,
}

impl Bench {
    fn new(breaker: CircuitBreakerBuilder) -> Self {
        let (breaker, runs) = (breaker.build().unwrap(), Runs::default());
        let routes = Router::new().route("handler", handler).layer(CircuitBreakerLayer::new(breaker.clone()));
        let timeout = TimeoutLayer::new().default_timeout(SECOND * 5);
        Self { breaker, worker: LocalWorker::new(routes.layer(timeout).with_state(runs.clone())), runs }
    }

    async fn end(&self, status: u16) -> u16 {
        let handle = self.worker.perform(Job::new("handler", (status, 1_u64))).await.unwrap();
        handle.outcome().await.unwrap().status().code()
    }

    async fn ends(&self, statuses: &[u16]) {
        for status in statuses {
            self.end(*status).await;
        }
    }

    /// With four failures.
    async fn opened(breaker: CircuitBreakerBuilder) -> Self {
        let bench = Self::new(breaker);
        bench.ends(&[500, 500, 500, 500]).await;
        assert_eq!(bench.breaker.state(), BreakerState::Open);
        bench
    }
}

#[tokio::test(start_paused = true)]
async fn it_opens_by_share_and_minimum_and_by_what_a_failure_is() {
    let rows: [(&str, &[u16], BreakerState); 9] = [
        ("below the minimum", &[500, 500, 500], BreakerState::Closed),
        ("at the minimum", &[500, 500, 500, 500], BreakerState::Open),
        ("half of the calls", &[200, 500, 200, 500], BreakerState::Open),
        ("half when the minimum is reached", &[500, 200, 500, 200, 200, 500], BreakerState::Open),
        ("never half", &[200, 200, 200, 500, 200, 500, 200], BreakerState::Closed),
        ("each of the three", &[408, 500, 503, 200], BreakerState::Open),
        ("no failures", &[400, 404, 409, 444, 200, 400, 502], BreakerState::Closed),
        ("429 and 499 do not count", &[429, 429, 429, 499, 500, 500, 500], BreakerState::Closed),
        ("nor do they thin out", &[429, 429, 429, 499, 500, 500, 500, 500], BreakerState::Open),
    ];
    for (row, statuses, state) in rows {
        let bench = Bench::new(breaker());
        bench.ends(statuses).await;
        assert_eq!(bench.breaker.state(), state, "{row}");
    }
    let custom = Bench::new(breaker().failure(|status| status == Status::TOO_MANY));
    custom.ends(&[500, 500, 500, 500, 429, 429, 429, 429]).await;
    assert_eq!(custom.breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_older_than_the_window_are_forgotten() {
    let bench = Bench::new(breaker());
    bench.ends(&[500, 500, 500]).await;
    sleep(SECOND * 10).await;
    bench.ends(&[500]).await;
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    bench.ends(&[500, 500, 500]).await;
    assert_eq!(bench.breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn open_it_runs_nothing_and_says_when_to_come_back() {
    let bench = Bench::opened(breaker()).await;
    sleep(SECOND * 10).await;
    for _ in 0..100 {
        let outcome =
            bench.worker.perform(Job::new("handler", (200_u16, 1_u64))).await.unwrap().outcome().await.unwrap();
        assert_eq!(
            (outcome.status(), outcome.directive()),
            (Status::UNAVAILABLE, Some(Directive::Snooze(SECOND * 20)))
        );
        assert!(outcome.error().unwrap().message.contains("\"test\""));
    }
    assert_eq!(bench.runs.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn half_open_it_lets_so_many_probes_through_and_closes_when_all_ended_well() {
    let bench = Bench::opened(breaker()).await;
    sleep(SECOND * 30).await;
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.push(bench.worker.perform(Job::new("handler", (200_u16, 100_u64))).await.unwrap());
    }
    let mut statuses = Vec::new();
    for handle in handles {
        statuses.push(handle.outcome().await.unwrap().status().code());
    }
    assert_eq!((&statuses[..2], &statuses[2..]), (&[200, 200][..], &[503; 8][..]));
    assert_eq!(bench.runs.load(Ordering::SeqCst), 4 + 2);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    // It counts anew.
    bench.ends(&[500, 500, 500]).await;
    assert_eq!((bench.breaker.state(), bench.end(200).await), (BreakerState::Closed, 200));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_it_for_the_whole_time_again() {
    let bench = Bench::opened(breaker()).await;
    sleep(SECOND * 30).await;
    bench.ends(&[200, 500]).await;
    assert_eq!(bench.breaker.state(), BreakerState::Open);
    sleep(SECOND * 29).await;
    assert_eq!(bench.end(200).await, 503);
    sleep(SECOND).await;
    assert_eq!((bench.end(200).await, bench.end(200).await), (200, 200));
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cancelled_may_be_made_again_and_one_that_is_timed_out_has_failed() {
    let bench = Bench::opened(breaker().probes(1)).await;
    sleep(SECOND * 30).await;
    let probe = bench.worker.perform(Job::new("handler", (200_u16, 4_000_u64))).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(bench.end(200).await, 503, "one probe at a time");
    assert!(bench.worker.cancel(probe.id()).await.unwrap());
    assert_eq!(probe.outcome().await.unwrap().status(), Status::CANCELLED);
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    let late = bench.worker.perform(Job::new("handler", (200_u16, 6_000_u64))).await.unwrap();
    assert_eq!(late.outcome().await.unwrap().status(), Status::TIMEOUT);
    assert_eq!(bench.breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn what_began_before_it_opened_says_nothing_later() {
    let bench = Bench::new(breaker().probes(1).open_for(SECOND));
    let slow = bench.worker.perform(Job::new("handler", (500_u16, 3_000_u64))).await.unwrap();
    bench.ends(&[500, 500, 500, 500]).await;
    sleep(SECOND).await;
    bench.ends(&[200]).await;
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    assert_eq!(slow.outcome().await.unwrap().status(), Status::INTERNAL_ERROR);
    bench.ends(&[500, 500, 500]).await;
    assert_eq!(bench.breaker.state(), BreakerState::Closed, "the slow one would be the fourth");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    async fn panics() {
        panic!("it does")
    }
    let breaker = breaker().build().unwrap();
    let routes = Router::new().route("panics", panics);
    let worker = LocalWorker::new(routes.layer(CircuitBreakerLayer::new(breaker.clone())));
    for status in [500, 500, 500, 500, 503] {
        let handle = worker.perform(Job::new("panics", ())).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap().status().code(), status);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn each_turn_is_logged_once_with_the_name() {
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::INFO));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let bench = Bench::opened(breaker().probes(1)).await;
        sleep(SECOND * 30).await;
        bench.ends(&[200]).await;
    });
    let turns: Vec<_> = traced.said("circuit breaker turned");
    let turns: Vec<_> = turns.iter().map(|e| [&*e["level"], &*e["breaker"], &*e["from"], &*e["to"]]).collect();
    assert_eq!(
        turns,
        [
            ["WARN", "test", "Closed", "Open"],
            ["INFO", "test", "Open", "HalfOpen"],
            ["INFO", "test", "HalfOpen", "Closed"]
        ]
    );
    assert_eq!(traced.said("circuit breaker turned")[0]["target"], "work_adapters::circuit_breaker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_store_a_refusal_spends_no_attempt_and_the_jobs_end_well() {
    let runs = Runs::default();
    let routes = Router::new().route("call", async |State(runs): State<Runs>| {
        if runs.fetch_add(1, Ordering::SeqCst) < 2 { Status::UNAVAILABLE } else { Status::SUCCESS }
    });
    let settings = CircuitBreaker::builder("store").minimum_calls(2).open_for(Duration::from_millis(300)).probes(1);
    let breaker = settings.build().unwrap();
    let routes = routes.layer(CircuitBreakerLayer::new(breaker.clone())).with_state(runs.clone());
    let retry = work_core::RetryPolicy::default().backoff(work_core::Backoff::constant(Duration::from_millis(1)));
    let worker = QueueWorker::builder(MemoryStore::new(), routes).concurrency(1).retry(retry).build().unwrap();
    let start = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..5 {
        handles.push(worker.perform(Job::new("call", ()).max_attempts(3)).await.unwrap());
    }
    let running = tokio::spawn(worker.clone().run_until(async { sleep(SECOND * 60).await }));
    for handle in handles {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
    running.abort();
    assert_eq!((runs.load(Ordering::SeqCst), breaker.state()), (7, BreakerState::Closed));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_tasks_exactly_the_probes_run_also_after_some_were_dropped() {
    let (runs, gate) = (Runs::default(), Arc::new(Semaphore::new(0)));
    let routes = Router::new().route("probe", {
        let (runs, gate) = (runs.clone(), gate.clone());
        async move |Args(fails): Args<bool>| {
            runs.fetch_add(1, Ordering::SeqCst);
            if fails {
                return Status::INTERNAL_ERROR;
            }
            drop(gate.acquire().await);
            Status::SUCCESS
        }
    });
    let breaker = breaker().minimum_calls(1).open_for(Duration::from_millis(50)).probes(3).build().unwrap();
    let routes = routes.layer(CircuitBreakerLayer::new(breaker.clone()));
    routes.clone().call(Job::new("probe", true)).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Open);
    sleep(Duration::from_millis(60)).await;
    // Probes that hang, and are dropped. Then some that end.
    for round in 1..=10 {
        runs.store(0, Ordering::SeqCst);
        let refused = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let (mut routes, refused) = (routes.clone(), refused.clone());
            tasks.spawn(async move {
                let status = routes.call(Job::new("probe", false)).await.unwrap().status();
                refused.fetch_add(usize::from(status == Status::UNAVAILABLE), Ordering::SeqCst);
            });
        }
        while refused.load(Ordering::SeqCst) < 61 {
            sleep(Duration::from_millis(1)).await;
        }
        if round < 10 {
            tasks.shutdown().await;
        } else {
            gate.close();
            while tasks.join_next().await.is_some() {}
        }
        assert_eq!((runs.load(Ordering::SeqCst), refused.load(Ordering::SeqCst)), (3, 61), "round {round}");
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_setting_out_of_range_is_named_with_the_range() {
    let rows: [(CircuitBreakerBuilder, &str); 8] = [
        (breaker().failure_share(0.0), "failure share 0 is out of range; use more than 0, at most 1"),
        (breaker().failure_share(1.1), "failure share 1.1 is out of range"),
        (breaker().failure_share(f64::NAN), "failure share NaN is out of range"),
        (breaker().window(Duration::ZERO), "window 0ns is out of range; use 10 ms to a day"),
        (breaker().window(SECOND * 86_401), "window 86401s is out of range"),
        (breaker().open_for(Duration::ZERO), "open time 0ns is out of range; use 1 ms to a day"),
        (breaker().minimum_calls(0), "minimum calls 0 is out of range; use 1 to"),
        (breaker().probes(0), "probes 0 is out of range; use 1 to"),
    ];
    for (builder, text) in rows {
        let error: InvalidSetting = builder.build().unwrap_err();
        assert!(error.to_string().contains(text), "{error} lacks {text}");
    }
}
