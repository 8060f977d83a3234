//! How many jobs of a queue start in a time, over all who lease.

use super::*;
use crate::limit::Rate;
use crate::runner::{InvalidQueues, Queues};
use crate::store::{JobFilter, Leased};
use crate::{InvalidJob, JobState, QueueWorker, Router};

fn even(count: u32) -> Rate {
    Rate::even(count, seconds(1)).expect("a rate")
}

async fn of(store: &dyn Inspect, queues: &[&'static str], limit: usize) -> Leased {
    let queues = queues.iter().map(|queue| Queue::from(*queue)).collect();
    store.lease(Want { queues, ..want(limit) }).await.expect("lease")
}

/// What has to wait has no attempt, other queues go on, and it is said when to look again.
pub async fn no_more_jobs_are_leased_than_there_are_permits(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let ids = insert(&*store, (0..200).map(|n| job(n).queue("a"))).await;
    insert(&*store, (1_000..1_002).map(|n| job(n).queue("b"))).await;
    assert_eq!(store.declare_rate("a".into(), even(100)).await.expect("declared"), even(100));
    let leased = of(&*store, &["a", "b", "a"], 99).await;
    assert_eq!(numbers(&leased.jobs), (0..10).chain([1_000, 1_001]).collect::<Vec<_>>());
    let wait = leased.next_due_in.expect("a permit will come");
    assert!((Duration::from_millis(10)..=Duration::from_millis(21)).contains(&wait), "{wait:?}");
    assert!(of(&*store, &["a"], 99).await.jobs.is_empty(), "also if some of them have ended");
    settle(&*store, complete(&leased.jobs[0])).await;
    assert!(of(&*store, &["a"], 99).await.jobs.is_empty());
    let waiting = get(&*store, ids[10]).await;
    assert_eq!((waiting.state, waiting.attempt), (JobState::Available, 0));
    clock.advance(Duration::from_millis(50));
    assert_eq!(of(&*store, &["a"], 3).await.jobs.len(), 3, "no permit is used up for a job that was not wanted");
    assert_eq!(numbers(&of(&*store, &["a"], 99).await.jobs), [13, 14]);
    clock.advance(seconds(60));
    assert_eq!(of(&*store, &["a"], 99).await.jobs.len(), 10, "no more than a burst is saved up");
    assert_eq!(of(&*store, &["a"], 99).await.jobs.len(), 0);
    assert_eq!(store.rate_queue("a".into(), None).await.expect("free"), Some(even(100)));
    assert_eq!(of(&*store, &["a"], 999).await.jobs.len(), 200 - 25);
    assert_eq!(of(&*store, &["a"], 9).await.next_due_in, None);
}

/// A fixed one begins with its first job; in a sliding one no span has more.
pub async fn windows_have_so_many_starts(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, (0..100).map(|n| job(n).queue("fixed"))).await;
    insert(&*store, (0..100).map(|n| job(n).queue("sliding"))).await;
    let fixed = Rate::fixed_window(5, seconds(1)).expect("a rate");
    let sliding = Rate::sliding_window(5, seconds(1)).expect("a rate");
    store.declare_rate("fixed".into(), fixed).await.expect("declared");
    store.declare_rate("sliding".into(), sliding).await.expect("declared");
    let both = async |limit| {
        let (fixed, sliding) = (of(&*store, &["fixed"], limit).await, of(&*store, &["sliding"], limit).await);
        (fixed.jobs.len(), sliding.jobs.len(), fixed.next_due_in, sliding.next_due_in)
    };
    assert_eq!(both(2).await, (2, 2, None, None));
    clock.advance(Duration::from_millis(900));
    let (first, second, fixed, sliding) = both(9).await;
    assert_eq!((first, second), (3, 3));
    let about_100_ms = Duration::from_millis(100)..=Duration::from_millis(102);
    assert!(fixed.is_some_and(|wait| about_100_ms.contains(&wait)), "{fixed:?}");
    assert!(sliding.is_some_and(|wait| about_100_ms.contains(&wait)), "{sliding:?}");
    clock.advance(Duration::from_millis(100));
    let (first, second, ..) = both(9).await;
    assert_eq!((first, second), (5, 2), "a new window; and two that have left the other");
    clock.advance(Duration::from_millis(899));
    assert_eq!(both(9).await.1, 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(both(9).await.1, 3);
}

/// However many queues there are, and whoever leases.
pub async fn a_rate_with_a_name_is_one_for_all_its_queues(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let rate = even(50).named("crm");
    for queue in ["a", "b"] {
        insert(&*store, (0..400).map(|n| job(n).queue(queue))).await;
        store.declare_rate(queue.into(), rate.clone()).await.expect("declared");
    }
    let mut all = 0;
    for round in 1..=20 {
        let leasers = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let queues: &[&'static str] = if n % 2 == 0 { &["a", "b"] } else { &["b"] };
                of(&*store, queues, 1 + n).await.jobs.len()
            })
        });
        for leaser in leasers.collect::<Vec<_>>() {
            all += leaser.await.expect("a leaser");
        }
        assert_eq!(all, 5 * round, "after {round} tenths of a second");
        clock.advance(Duration::from_millis(100));
    }
    let other = even(60).named("crm");
    assert_eq!(store.declare_rate("c".into(), other.clone()).await.expect("declared"), rate, "the name is taken");
    assert_eq!(store.rate_queue("a".into(), Some(other.clone())).await.expect("changed"), Some(rate));
    let rates: Vec<_> = store.queues().await.expect("queues").into_iter().filter_map(|info| info.rate).collect();
    assert_eq!(rates, [other.clone(), other], "one rate, and one for all");
}

/// The first that is declared stands, and it is listed with its queue.
pub async fn a_rate_is_declared_once(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    for (declared, stands) in [(30, 30), (50, 30), (30, 30)] {
        assert_eq!(store.declare_rate("a".into(), even(declared)).await.expect("declared"), even(stands));
    }
    let rates = async || {
        let queues = store.queues().await.expect("queues");
        queues.into_iter().map(|info| (info.queue.as_str().to_owned(), info.rate)).collect::<Vec<_>>()
    };
    assert_eq!(rates().await, [("a".to_owned(), Some(even(30)))]);
    let windows = [Rate::fixed_window(7, seconds(9)), Rate::sliding_window(7, Duration::from_micros(1_500))];
    for rate in windows.into_iter().chain([even(9).burst(9)]).map(|rate| rate.expect("a rate")) {
        store.rate_queue("a".into(), Some(rate.clone())).await.expect("changed");
        assert_eq!(rates().await, [("a".to_owned(), Some(rate))]);
    }
    store.rate_queue("a".into(), None).await.expect("free");
    assert!(rates().await.is_empty());
    let name = store.declare_rate("no queue".into(), even(1)).await.expect_err("no name").to_string();
    assert!(name.contains("U+0020"), "{name}");
    assert!(store.rate_queue("a".into(), Some(even(1).named("no name"))).await.is_err());
}

async fn run(store: &Arc<dyn Inspect>, rate: Rate, until: impl Future<Output = ()>) -> Result<u64, InvalidJob> {
    let router = Router::new().route("test", async || ());
    let queues = Queues::strict(["a"]).rate_everywhere("a", rate);
    let worker = QueueWorker::builder(store.clone(), router).queues(queues).build().expect("valid settings");
    worker.run_until(until).await.map(|report| report.performed)
}

async fn all_done(store: &Arc<dyn Inspect>) {
    super::runner::becomes(async || store.counts(JobFilter::all()).await.expect("counts").open() == 0).await;
}

/// They use all of it, and one that says another rate is refused.
pub async fn runners_share_a_rate(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    insert(&*store, (0..60).map(|_| Job::new("test", ()).queue("a"))).await;
    let rate = even(30).burst(3).expect("a burst");
    let began = tokio::time::Instant::now();
    let (first, second) =
        tokio::join!(run(&store, rate.clone(), all_done(&store)), run(&store, rate.clone(), all_done(&store)));
    let took = began.elapsed();
    assert_eq!(first.expect("ran") + second.expect("ran"), 60);
    assert!(took >= Duration::from_millis(1_850), "57 permits at 30 a second come in 1.9 s: {took:?}");
    assert!(took < seconds(8), "{took:?}");
    let refused = run(&store, even(31), tokio::time::sleep(seconds(1))).await.expect_err("another rate");
    let expected = InvalidQueues::OtherRate { queue: "a".into(), given: Box::new(even(31)), kept: Box::new(rate) };
    assert!(matches!(&refused, InvalidJob::Queues(found) if *found == expected), "{refused}");
    assert!(refused.to_string().contains("its store says 30 per 1s, evenly, with a burst of 3"), "{refused}");
}
