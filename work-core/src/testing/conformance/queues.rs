//! Several queues: turns, limits, weights, orders, and priorities that rise.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::runner::becomes;
use super::*;
use crate::runner::{InvalidQueues, Queues, Report};
use crate::store::{JobFilter, Leased};
use crate::{Args, InvalidJob, JobState, QueueWorker, Router};

async fn turns(store: &dyn Inspect, turns: &[(&'static str, usize)], limit: usize) -> Leased {
    let (queues, at_most) = turns.iter().map(|(queue, most)| (Queue::from(*queue), *most)).unzip();
    store.lease(Want { queues, at_most, ..want(limit) }).await.expect("lease")
}

async fn of(store: &dyn Inspect, queue: &'static str, limit: usize) -> Vec<Lease> {
    turns(store, &[(queue, limit)], limit).await.jobs
}

/// Each turn takes no more than it may, and what is left over goes to who comes later.
pub async fn each_turn_takes_no_more_than_it_may(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..20).map(|n| job(n).queue("a"))).await;
    insert(&*store, (100..102).map(|n| job(n).queue("b"))).await;
    let twice = [("a", 3), ("b", 5), ("a", 2)];
    let leased = turns(&*store, &twice, 10).await;
    let mut numbers_of = numbers(&leased.jobs);
    numbers_of.sort_unstable();
    assert_eq!(numbers_of, [0, 1, 2, 3, 4, 100, 101]);
    assert_eq!(numbers(&turns(&*store, &twice, 4).await.jobs), [5, 6, 7, 8], "no more than was wanted");
    assert_eq!(turns(&*store, &[("a", 0), ("b", 9)], 5).await.jobs.len(), 0);
    let rest = Want { queues: vec!["b".into(), "a".into()], at_most: vec![1], ..want(100) };
    assert_eq!(store.lease(rest).await.expect("lease").jobs.len(), 11, "a turn without a number takes all");
}

/// Whoever holds them; other queues go on, and nobody is told to look at once.
pub async fn no_more_of_a_limited_queue_are_leased_than_that(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..10).map(|n| job(n).queue("a"))).await;
    insert(&*store, (10..12).map(|n| job(n).queue("b"))).await;
    assert_eq!(store.limit_queue("a".into(), Some(3)).await.expect("limited"), None);
    let leased = turns(&*store, &[("a", 9), ("b", 9), ("a", 9)], 9).await;
    assert_eq!(numbers(&leased.jobs), [0, 1, 2, 10, 11]);
    assert_eq!(leased.next_due_in, None, "it is known when a job ends, not by looking");
    assert!(of(&*store, "a", 9).await.is_empty());
    settle(&*store, complete(&leased.jobs[0])).await;
    settle(&*store, end(&leased.jobs[1], Status::INTERNAL_ERROR, Settlement::Snooze { at: start() })).await;
    assert_eq!(numbers(&of(&*store, "a", 9).await), [1, 3]);
    assert_eq!(store.limit_queue("a".into(), Some(4)).await.expect("limited"), Some(3));
    assert_eq!(numbers(&of(&*store, "a", 9).await), [4]);
    assert_eq!(store.limit_queue("a".into(), Some(1)).await.expect("limited"), Some(4), "what runs goes on");
    assert!(of(&*store, "a", 9).await.is_empty());
    assert_eq!(store.limit_queue("a".into(), None).await.expect("free"), Some(1));
    assert_eq!(numbers(&of(&*store, "a", 9).await), [5, 6, 7, 8, 9]);
}

/// With sixteen that lease and settle as fast as they can.
pub async fn a_limit_is_never_exceeded_by_16_leasers(make: &impl MakeStore) {
    const AT_MOST: usize = 5;
    let (store, _) = store(make).await;
    store.declare_limit("a".into(), 5).await.expect("declared");
    insert(&*store, (0..600).map(|n| job(n).queue("a"))).await;
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let leasers = (0..16).map(|n| {
        let (store, held, most) = (store.clone(), held.clone(), most.clone());
        tokio::spawn(async move {
            let mut done = 0;
            while store.counts(JobFilter::all().queue("a")).await.expect("counts").open() > 0 {
                let leases = of(&*store, "a", 1 + n % 4).await;
                most.fetch_max(held.fetch_add(leases.len(), Ordering::SeqCst) + leases.len(), Ordering::SeqCst);
                tokio::task::yield_now().await;
                done += leases.len();
                held.fetch_sub(leases.len(), Ordering::SeqCst);
                store.settle(leases.iter().map(complete).collect()).await.expect("settle");
            }
            done
        })
    });
    let leasers: Vec<_> = leasers.collect();
    let mut done = 0;
    for leaser in leasers {
        done += leaser.await.expect("a leaser");
    }
    assert_eq!(done, 600);
    assert!(most.load(Ordering::SeqCst) <= AT_MOST, "{most:?} were leased at once");
}

/// When they are taken back, and not before: until then nobody knows that it is dead.
pub async fn the_slots_of_a_crashed_holder_come_back_when_its_leases_end(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    store.declare_limit("a".into(), 2).await.expect("declared");
    insert(&*store, (0..4).map(|n| job(n).queue("a"))).await;
    let crashed = of(&*store, "a", 4).await;
    assert_eq!(crashed.len(), 2);
    clock.advance(seconds(31));
    assert!(of(&*store, "a", 4).await.is_empty(), "its holder may still settle them");
    assert_eq!(store.rescue(10, 3).await.expect("rescue").available, 2);
    assert_eq!(numbers(&of(&*store, "a", 4).await), [0, 1]);
    assert_eq!(settle(&*store, complete(&crashed[0])).await, Settled::Lost);
    assert!(of(&*store, "a", 4).await.is_empty(), "a stale end frees no slot");
}

/// The first that is declared stands, and it is listed with its queue.
pub async fn a_limit_is_declared_once(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    for (declared, stands) in [(3, 3), (5, 3), (3, 3)] {
        assert_eq!(store.declare_limit("a".into(), declared).await.expect("declared"), stands);
    }
    insert(&*store, [job(1)]).await;
    let limits = async || {
        let queues = store.queues().await.expect("queues");
        queues.into_iter().map(|info| (info.queue.as_str().to_owned(), info.at_most)).collect::<Vec<_>>()
    };
    assert_eq!(limits().await, [("a".to_owned(), Some(3)), ("default".to_owned(), None)]);
    assert_eq!(store.limit_queue("a".into(), Some(5)).await.expect("limited"), Some(3));
    assert_eq!(store.declare_limit("a".into(), 5).await.expect("declared"), 5);
    assert_eq!(store.limit_queue("a".into(), None).await.expect("free"), Some(5));
    assert_eq!(limits().await, [("default".to_owned(), None)]);
    let none = store.declare_limit("a".into(), 0).await.expect_err("nothing could run").to_string();
    assert!(none.contains("at least 1, or pause"), "{none}");
    assert!(store.limit_queue("a".into(), Some(0)).await.is_err());
    let name = store.limit_queue("no queue".into(), Some(1)).await.expect_err("no name").to_string();
    assert!(name.contains("U+0020"), "{name}");
}

/// By the time that it has been due, and by nothing without aging.
pub async fn a_job_that_has_waited_long_overtakes_smaller_priorities(make: &impl MakeStore) {
    let due = |n: u32, priority: u8, before: u64| job(n).priority(priority).scheduled_at(start() - seconds(before));
    let jobs = || {
        // In the order of due time + priority × 10 s, ties by arrival.
        let mut jobs = vec![due(1, 9, 100), due(2, 0, 0), due(4, 5, 45), due(3, 1, 13), due(5, 9, 85), due(6, 5, 30)];
        jobs.extend([due(7, 9, 0), due(0, 2, 40_000)]);
        jobs
    };
    let expected = [0, 1, 3, 2, 4, 5, 6, 7];
    for batch in [1, 3, 8] {
        let (store, _) = store(make).await;
        insert(&*store, jobs()).await;
        // Not due yet, however urgent.
        insert(&*store, [job(9).priority(0).scheduled_at(start() + seconds(1))]).await;
        let mut order = Vec::new();
        while order.len() < 8 {
            let want = Want { aging: Some(seconds(10)), ..want(batch) };
            let leased = store.lease(want).await.expect("lease").jobs;
            assert!(!leased.is_empty());
            order.extend(numbers(&leased));
        }
        assert_eq!(order, expected, "{batch} at a time");
        assert!(store.lease(Want { aging: Some(seconds(10)), ..want(9) }).await.expect("lease").jobs.is_empty());
    }
    let (store, _) = store(make).await;
    insert(&*store, jobs()).await;
    assert_eq!(numbers(&lease(&*store, 20).await), [2, 3, 0, 4, 6, 1, 5, 7], "without aging");
}

/// A worker with these queues, until it is stopped.
pub(super) struct Running {
    stop: CancellationToken,
    run: tokio::task::JoinHandle<Result<Report, InvalidJob>>,
}

impl Running {
    pub(super) fn start(
        store: &Arc<dyn Inspect>,
        router: &Router,
        queues: impl Into<Queues>,
        concurrency: usize,
    ) -> Self {
        let builder = QueueWorker::builder(store.clone(), router.clone()).queues(queues).concurrency(concurrency);
        let (worker, stop) = (builder.build().expect("valid settings"), CancellationToken::new());
        let run = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
        Self { stop, run }
    }

    pub(super) async fn stop(self) -> Report {
        self.stop.cancel();
        self.run.await.expect("ran").expect("valid settings")
    }
}

async fn all_done(store: &Arc<dyn Inspect>) {
    becomes(async || store.counts(JobFilter::all()).await.expect("counts").open() == 0).await;
}

type Log = Arc<Mutex<Vec<&'static str>>>;

/// A router with a kind that notes the queue of each job that starts.
fn logging() -> (Router, Log) {
    let log = Log::default();
    let noted = log.clone();
    let handler = move |Args(queue): Args<String>| {
        let known = ["a", "b", "c"].into_iter().find(|name| *name == queue).unwrap_or("?");
        noted.lock().expect("log").push(known);
        std::future::ready(())
    };
    (Router::new().route("test", handler), log)
}

fn in_queue(queue: &'static str, jobs: usize) -> impl Iterator<Item = Job> {
    (0..jobs).map(move |_| Job::new("test", queue).queue(queue))
}

/// And when one of them has nothing more, the others have its share.
pub async fn queues_with_backlog_run_by_their_weights(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    for queue in ["c", "b", "a"] {
        insert(&*store, in_queue(queue, 1_200)).await;
    }
    let (router, log) = logging();
    let running = Running::start(&store, &router, Queues::weighted([("a", 6), ("b", 3), ("c", 1)]), 4);
    all_done(&store).await;
    running.stop().await;
    let log = log.lock().expect("log").clone();
    let count = |of: &[&str], queue| of.iter().filter(|name| **name == queue).count();
    let first = &log[..1_500];
    for (queue, share) in [("a", 900), ("b", 450), ("c", 150)] {
        assert!(count(first, queue).abs_diff(share) < 75, "{queue}: {} of 1,500", count(first, queue));
    }
    // By 2,000 starts the first queue has had all of its 1,200.
    let after = &log[2_050..2_650];
    assert!(count(after, "b").abs_diff(450) < 45, "3 to 1 without the first: {}", count(after, "b"));
    assert_eq!(log.len(), 3_600);
}

/// Also of one that comes while a lower one has backlog.
pub async fn a_lower_queue_starts_only_if_the_ones_above_have_nothing(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, in_queue("b", 60)).await;
    insert(&*store, in_queue("a", 20)).await;
    let (log, inserts) = (Log::default(), store.clone());
    let noted = log.clone();
    let handler = move |Args(queue): Args<String>| {
        let (noted, inserts) = (noted.clone(), inserts.clone());
        async move {
            let low = queue == "b";
            let starts = {
                let mut noted = noted.lock().expect("log");
                noted.push(if low { "b" } else { "a" });
                noted.len()
            };
            if low && starts % 20 == 5 {
                insert(&*inserts, in_queue("a", 3)).await;
            }
        }
    };
    let running = Running::start(&store, &Router::new().route("test", handler), ["a", "b"], 1);
    all_done(&store).await;
    running.stop().await;
    let log = log.lock().expect("log").clone();
    assert_eq!(log[..20], ["a"; 20]);
    for at in (20..log.len()).filter(|at| log[*at] == "b" && (at + 1) % 20 == 5) {
        assert_eq!(log[at + 1..][..3], ["a"; 3], "after start {at}");
    }
    assert_eq!(log.iter().filter(|name| **name == "b").count(), 60);
    assert!(log.len() > 80 + 3);
}

/// How many run at once.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    async fn during(&self, time: Duration) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

fn sleeping(gauge: &Gauge) -> impl AsyncFnGauge {
    let gauge = gauge.clone();
    move || {
        let gauge = gauge.clone();
        Box::pin(async move { gauge.during(Duration::from_millis(3)).await }) as BoxFuture<'static, ()>
    }
}

/// What the routes of these tests are.
trait AsyncFnGauge: Fn() -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static {}

impl<F: Fn() -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static> AsyncFnGauge for F {}

/// It holds no more of them either, and the others have the other slots.
pub async fn a_runner_runs_no_more_of_a_queue_than_it_may(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..20).map(|_| Job::new("slow", ()).queue("a"))).await;
    insert(&*store, (0..200).map(|_| Job::new("fast", ()).queue("b"))).await;
    let (slow, fast, gate) = (Gauge::default(), Gauge::default(), CancellationToken::new());
    let (gauge, gated) = (slow.clone(), gate.clone());
    let handler = move || {
        let (gauge, gated) = (gauge.clone(), gated.clone());
        async move {
            gated.cancelled().await;
            gauge.during(Duration::from_millis(3)).await;
        }
    };
    let router = Router::new().route("slow", handler).route("fast", sleeping(&fast));
    let queues = Queues::weighted([("a", 9), ("b", 1)]).at_most("a", 2);
    let running = Running::start(&store, &router, queues, 8);
    let open = async |queue: &'static str| {
        let counts = store.counts(JobFilter::all().queue(queue)).await.expect("counts");
        (counts.of(JobState::Available), counts.of(JobState::Running))
    };
    becomes(async || open("b").await == (0, 0)).await;
    assert_eq!(open("a").await, (18, 2), "others could run the rest");
    gate.cancel();
    all_done(&store).await;
    running.stop().await;
    assert_eq!((slow.most(), fast.most()), (2, 6));
}

/// Over all of them, also over one that says nothing of it; and each wakes the others when it has room again.
pub async fn a_limit_holds_over_three_runners(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..120).map(|_| Job::new("test", ()).queue("a"))).await;
    insert(&*store, (0..120).map(|_| Job::new("other", ()).queue("b"))).await;
    let (gauge, other) = (Gauge::default(), Gauge::default());
    let router = Router::new().route("test", sleeping(&gauge)).route("other", sleeping(&other));
    store.declare_limit("a".into(), 4).await.expect("declared");
    let limited = Queues::strict(["a", "b"]).at_most_everywhere("a", 4);
    let says_nothing = Queues::strict(["a", "b"]);
    let began = tokio::time::Instant::now();
    let runners = [limited.clone(), limited, says_nothing].map(|queues| Running::start(&store, &router, queues, 10));
    all_done(&store).await;
    let mut performed = 0;
    for runner in runners {
        performed += runner.stop().await.performed;
    }
    assert_eq!((performed, gauge.most()), (240, 4));
    assert!(other.most() > 4);
    assert!(began.elapsed() < seconds(10), "nobody sleeps while there is room: {:?}", began.elapsed());
}

/// With none given it is accepted, and so it is with the same.
pub async fn a_runner_with_another_limit_is_refused(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let run = async |queues: Queues| {
        let worker = QueueWorker::builder(store.clone(), Router::new()).queues(queues).build().expect("valid settings");
        worker.run_until(tokio::time::sleep(seconds(1))).await
    };
    let limited = |at_most| Queues::strict(["mail", "fax"]).at_most_everywhere("mail", at_most);
    let first = Running::start(&store, &Router::new(), limited(7), 10);
    becomes(async || store.queues().await.expect("queues").iter().any(|info| info.at_most == Some(7))).await;
    let refused = run(limited(5)).await.expect_err("another limit");
    let expected = InvalidQueues::OtherLimit { queue: "mail".into(), given: 5, kept: 7 };
    assert!(matches!(&refused, InvalidJob::Queues(found) if *found == expected), "{refused}");
    assert!(refused.to_string().contains("at most 5 jobs everywhere, but its store says 7"), "{refused}");
    assert!(run(limited(7)).await.is_ok() && run(Queues::strict(["mail"])).await.is_ok());
    first.stop().await;
    store.limit_queue("mail".into(), Some(5)).await.expect("limited");
    assert!(run(limited(5)).await.is_ok());
}
