//! A runner asks its limit before it leases: what has to wait costs no lease and no attempt.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use work_core::limit::{Adaptive, Adapts, Answer, FixedWindow, Gcra, Limit, SlidingWindow};
use work_core::runner::{Queues, Runner};
use work_core::store::{Inspect, JobFilter, MemoryStore, Order, Store, StoredJob};
use work_core::{Args, BoxError, Classify, Clock, Job, JobState, Outcome, Router, Status};

const SECOND: Duration = Duration::from_secs(1);

fn store() -> (Arc<MemoryStore>, Clock) {
    let clock = Clock::tokio("2026-01-01T00:00:00Z".parse().unwrap());
    (Arc::new(MemoryStore::with_clock(clock.clone())), clock)
}

async fn insert(store: &MemoryStore, queue: &'static str, n: u32) {
    let job = |n| Job::new("call", n).queue(queue).into_stored(1024).unwrap();
    store.insert((0..n).map(job).collect()).await.unwrap();
}

async fn jobs(store: &MemoryStore) -> Vec<StoredJob> {
    store.list(JobFilter::default(), Order::OldestFirst, None, 1_000).await.unwrap().jobs
}

async fn open(store: &MemoryStore) -> u64 {
    store.counts(JobFilter::default()).await.unwrap().open()
}

async fn drained(store: Arc<MemoryStore>) {
    while open(&store).await > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// When each job started.
#[derive(Clone)]
struct Starts(Arc<Mutex<Vec<Instant>>>, Instant);

impl Starts {
    fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn seconds(&self) -> Vec<f64> {
        self.0.lock().unwrap().iter().map(|at| (*at - self.1).as_secs_f64()).collect()
    }

    fn router(&self) -> Router {
        let starts = self.clone();
        Router::new().route("call", move || {
            starts.note();
            std::future::ready(())
        })
    }
}

fn runner(store: &Arc<MemoryStore>, clock: &Clock, router: Router) -> Runner {
    Runner::new(store.clone(), router).clock(clock.clone()).simulated()
}

#[tokio::test(start_paused = true)]
async fn what_has_to_wait_for_its_permit_is_not_leased_and_has_no_attempt() {
    let ((store, clock), starts) = (store(), Starts::new());
    insert(&store, "default", 30).await;
    let limit = Gcra::new(10, SECOND).unwrap().burst(1).unwrap();
    let running = tokio::spawn(runner(&store, &clock, starts.router()).limit(limit).run_until(drained(store.clone())));
    sleep(Duration::from_millis(1_050)).await;
    let (ended, waiting): (Vec<StoredJob>, Vec<StoredJob>) =
        jobs(&store).await.into_iter().partition(|job| job.state == JobState::Completed);
    assert_eq!((ended.len(), waiting.len()), (11, 19));
    assert!(waiting.iter().all(|job| job.state == JobState::Available && job.attempt == 0), "{waiting:?}");
    running.await.unwrap().unwrap();
    let last = starts.seconds()[29];
    assert!((2.9..=3.0).contains(&last), "{last}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_runner_uses_up_no_permit() {
    for limit in [
        Box::new(SlidingWindow::new(1, 3_600 * SECOND).unwrap()) as Box<dyn Limit>,
        Box::new(FixedWindow::new(1, 3_600 * SECOND).unwrap()),
        Box::new(Gcra::new(1, 3_600 * SECOND).unwrap()),
        Box::new(Adaptive::new(0.001, 0.001, 1.0).unwrap()),
    ] {
        let ((store, clock), starts) = (store(), Starts::new());
        let runner = runner(&store, &clock, starts.router()).limit(limit);
        let running = tokio::spawn(runner.run_until(sleep(700 * SECOND)));
        sleep(600 * SECOND).await;
        insert(&store, "default", 2).await;
        running.await.unwrap().unwrap();
        let seconds = starts.seconds();
        assert!(seconds.len() == 1 && seconds[0] < 600.1, "{seconds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_that_says_two_seconds_stops_the_runner_for_two_seconds_and_costs_no_attempt() {
    let (store, clock) = store();
    insert(&store, "default", 5).await;
    let starts = Starts::new();
    let (seen, calls) = (starts.clone(), Arc::new(AtomicU32::new(0)));
    let handler = move || {
        seen.note();
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = if first { Outcome::snooze(2 * SECOND) } else { Outcome::done() };
        std::future::ready(answer)
    };
    let router = Router::new().route("call", handler);
    let limit = Arc::new(Adaptive::new(100.0, 1.0, 1_000.0).unwrap());
    let runner = runner(&store, &clock, router).concurrency(1).adaptive(limit.clone());
    runner.run_until(drained(store.clone())).await.unwrap();
    let seconds = starts.seconds();
    assert_eq!(seconds.len(), 6);
    assert!(seconds[0] < 0.1 && seconds[1..].iter().all(|at| (2.0..2.2).contains(at)), "{seconds:?}");
    assert!(jobs(&store).await.iter().all(|job| job.attempt == 1), "the snooze gave its attempt back");
    assert!(limit.rate() < 100.0);
}

/// A server that takes so many calls in each second.
#[derive(Clone)]
struct Server {
    began: Instant,
    takes: u32,
    window: Arc<Mutex<(u64, u32)>>,
    counts: Arc<Mutex<(u32, u32)>>,
}

impl Server {
    fn new(takes: u32) -> Self {
        Self { began: Instant::now(), takes, window: Arc::default(), counts: Arc::default() }
    }

    /// The status of a call.
    fn call(&self) -> u16 {
        let second = self.began.elapsed().as_secs();
        let mut window = self.window.lock().unwrap();
        *window = if window.0 == second { (second, window.1 + 1) } else { (second, 1) };
        let mut counts = self.counts.lock().unwrap();
        if window.1 <= self.takes {
            counts.0 += 1;
            200
        } else {
            counts.1 += 1;
            429
        }
    }

    async fn handle(&self) -> Result<(), BoxError> {
        sleep(Duration::from_millis(20)).await;
        match self.call() {
            200 => Ok(()),
            code => Err(format!("the server answered {code}")).status(Status::new(code)?)?,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hidden_ceiling_is_used_to_85_percent_with_3_percent_refused() {
    // A start far above the ceiling is refused a lot, until it is below.
    for (start, takes, first) in [(10.0, 100, 0), (1_000.0, 50, 10)] {
        let ((store, clock), server) = (store(), Server::new(takes));
        insert(&store, "default", 130 * takes).await;
        let called = server.clone();
        let router = Router::new().route("call", move || {
            let server = called.clone();
            async move { server.handle().await }
        });
        let limit = Arc::new(Adaptive::new(start, 1.0, 10_000.0).unwrap());
        let runner = runner(&store, &clock, router).adaptive(limit);
        let run = async {
            sleep(first * SECOND).await;
            *server.counts.lock().unwrap() = (0, 0);
            sleep(120 * SECOND).await;
        };
        runner.run_until(run).await.unwrap();
        let (accepted, refused) = *server.counts.lock().unwrap();
        let (used, share) =
            (f64::from(accepted) / f64::from(120 * takes), f64::from(refused) / f64::from(accepted + refused));
        println!("{takes} a second from {start}: used {used:.3}, refused {share:.4}");
        assert!(used >= 0.85 && share <= 0.03, "{takes} from {start}: used {used}, refused {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn queues_keep_their_shares_under_a_limit() {
    let (store, clock) = store();
    insert(&store, "large", 400).await;
    insert(&store, "small", 400).await;
    let queues = Queues::weighted([("large", 3), ("small", 1)]);
    let router = Router::new().route("call", async || {});
    let limit = Gcra::new(100, SECOND).unwrap();
    let runner = runner(&store, &clock, router).queues(queues).limit(limit);
    runner.run_until(sleep(4 * SECOND)).await.unwrap();
    let of = |queue: &str| JobFilter::default().queue(queue.to_owned()).state(JobState::Completed);
    let (large, small) =
        (store.counts(of("large")).await.unwrap().total(), store.counts(of("small")).await.unwrap().total());
    assert!((395..=415).contains(&(large + small)) && (95..=110).contains(&small), "{large} {small}");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_waits_for_a_permit_stops_at_once() {
    let ((store, clock), starts) = (store(), Starts::new());
    insert(&store, "default", 2).await;
    let limit = FixedWindow::new(1, 3_600 * SECOND).unwrap();
    let began = Instant::now();
    let report = runner(&store, &clock, starts.router()).limit(limit).run_until(sleep(SECOND)).await.unwrap();
    assert_eq!((report.performed, report.released), (1, 0));
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
}

/// Of the same kind for all of them: one runs out of permits, the other has the rest.
#[tokio::test(start_paused = true)]
async fn two_runners_of_one_process_may_share_a_limit() {
    let ((store, clock), starts) = (store(), Starts::new());
    insert(&store, "default", 40).await;
    let limit = Arc::new(Gcra::new(10, SECOND).unwrap().burst(1).unwrap());
    let runner = || runner(&store, &clock, starts.router()).limit(limit.clone());
    let (one, two) =
        futures_util::future::join(runner().run_until(sleep(3 * SECOND)), runner().run_until(sleep(3 * SECOND))).await;
    let performed = one.unwrap().performed + two.unwrap().performed;
    assert!((29..=31).contains(&performed), "{performed}");
    assert!(starts.seconds().windows(2).all(|pair| pair[1] - pair[0] > 0.09), "{:?}", starts.seconds());
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_no_refusals_say_nothing_to_the_limit() {
    let (store, clock) = store();
    insert(&store, "default", 3).await;
    let router = Router::new().route("call", |Args(n): Args<u32>| async move {
        if n == 0 { Err(std::io::Error::other("broken")) } else { Ok(()) }
    });
    #[derive(Default)]
    struct Heard(Mutex<Vec<Answer>>);
    impl Limit for Heard {
        fn try_acquire(&self, _: Instant) -> Result<(), Duration> {
            Ok(())
        }
        fn is_idle(&self, _: Instant) -> bool {
            true
        }
        fn fresh(&self) -> Box<dyn Limit> {
            Box::<Self>::default()
        }
    }
    impl Adapts for Heard {
        fn observe(&self, _: Instant, answer: Answer) {
            self.0.lock().unwrap().push(answer);
        }
        fn rate(&self) -> f64 {
            1.0
        }
    }
    let heard = Arc::new(Heard::default());
    runner(&store, &clock, router).adaptive(heard.clone()).run_until(sleep(SECOND)).await.unwrap();
    assert_eq!(*heard.0.lock().unwrap(), [Answer::Accepted, Answer::Accepted]);
}
