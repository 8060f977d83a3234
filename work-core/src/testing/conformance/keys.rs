//! Limits of each key, over all who lease.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use super::runner::becomes;
use super::*;
use crate::limit::Rate;
use crate::runner::Queues;
use crate::store::{JobFilter, Leased};
use crate::{Args, QueueWorker, Router};

fn of_key(key: u32, n: u32) -> Job {
    job(key * 1_000 + n).queue(Queue::of_key("mail", key))
}

async fn of(store: &dyn Inspect, queues: &[&'static str], limit: usize) -> Leased {
    let queues = queues.iter().map(|queue| Queue::from(*queue)).collect();
    store.lease(Want { queues, ..want(limit) }).await.expect("lease")
}

fn sorted(leased: &Leased) -> Vec<u32> {
    let mut numbers = numbers(&leased.jobs);
    numbers.sort_unstable();
    numbers
}

/// A key with a large backlog holds up nobody, and what has to wait has no attempt.
pub async fn of_each_key_no_more_are_leased_than_that(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..500).map(|n| of_key(1, n))).await;
    insert(&*store, (2..5).flat_map(|key| [of_key(key, 0), of_key(key, 1)])).await;
    insert(&*store, [job(9_000).queue("mail"), job(9_001).queue("mail:a:b"), job(9_002).queue("mailing:1")]).await;
    assert_eq!(store.declare_limit("mail:*".into(), 1).await.expect("declared"), 1);
    let leased = of(&*store, &["mail:*"], 100).await;
    assert_eq!(sorted(&leased), [1_000, 2_000, 3_000, 4_000], "one of each, and no other queue");
    assert_eq!(leased.next_due_in, None);
    assert!(of(&*store, &["mail:*"], 100).await.jobs.is_empty());
    settle(&*store, complete(leased.jobs.iter().find(|lease| numbers(&[(*lease).clone()]) == [3_000]).expect("it")))
        .await;
    assert_eq!(sorted(&of(&*store, &["mail:*", "mail"], 100).await), [3_001, 9_000]);
    assert_eq!(store.limit_queue("mail:*".into(), Some(3)).await.expect("limited"), Some(1));
    assert_eq!(sorted(&of(&*store, &["mail:*"], 100).await), [1_001, 1_002, 2_001, 4_001], "the new limit");
    assert_eq!(store.limit_queue("mail:*".into(), None).await.expect("free"), Some(3));
    assert_eq!(of(&*store, &["mail:*"], 1_000).await.jobs.len(), 497);
    assert!(
        store.declare_limit("mail*".into(), 1).await.is_err() && store.declare_limit(":*".into(), 1).await.is_err()
    );
}

/// Whoever came first: a burst of one key does not put off the others.
pub async fn each_key_has_its_share(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, (0..100).map(|n| of_key(1, n))).await;
    clock.advance(seconds(1));
    insert(&*store, (0..10).flat_map(|n| [of_key(2, n), of_key(3, n)])).await;
    assert_eq!(sorted(&of(&*store, &["mail:*"], 7).await), [1_000, 1_001, 1_002, 2_000, 2_001, 3_000, 3_001]);
    assert_eq!(of(&*store, &["mail:*"], 1).await.jobs.len(), 1);
    store.pause("mail:1".into()).await.expect("paused");
    let leased = of(&*store, &["mail:*"], 50).await;
    assert!(leased.jobs.len() == 16 && sorted(&leased)[0] >= 2_000, "{:?}", sorted(&leased));
}

/// Unless the rate has a name: then they have it together.
pub async fn each_key_has_its_rate(make: &impl MakeStore) {
    for (name, first, later) in [(None, 6, 3), (Some("all"), 2, 1)] {
        let (store, clock) = store(make).await;
        insert(&*store, (1..4).flat_map(|key| (0..20).map(move |n| of_key(key, n)))).await;
        let rate = Rate::even(20, seconds(1)).expect("a rate");
        let rate = name.map_or_else(|| rate.clone(), |name| rate.clone().named(name));
        store.declare_rate("mail:*".into(), rate).await.expect("declared");
        assert_eq!(of(&*store, &["mail:*"], 50).await.jobs.len(), first);
        assert_eq!(of(&*store, &["mail:*"], 50).await.jobs.len(), 0);
        clock.advance(Duration::from_millis(50));
        assert_eq!(of(&*store, &["mail:*"], 50).await.jobs.len(), later);
    }
}

/// Over all of them, in order, and each is woken.
pub async fn runners_run_one_of_each_key(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    type Seen = HashMap<u32, (u32, Vec<u32>)>;
    let seen = Arc::new(Mutex::new(Seen::new()));
    let noted = seen.clone();
    let handler = move |Args(n): Args<u32>| {
        let noted = noted.clone();
        async move {
            {
                let mut seen = noted.lock().expect("seen");
                let (running, done) = seen.entry(n / 1_000).or_default();
                *running += 1;
                assert_eq!(*running, 1, "of one key");
                done.push(n % 1_000);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            noted.lock().expect("seen").entry(n / 1_000).or_default().0 -= 1;
        }
    };
    let router = Router::new().route("test", handler);
    let stop = CancellationToken::new();
    let runners: Vec<_> = (0..3)
        .map(|_| {
            let queues = Queues::strict(["mail:*"]).at_most_everywhere("mail:*", 1);
            let worker = QueueWorker::builder(store.clone(), router.clone()).queues(queues).concurrency(4);
            tokio::spawn(worker.build().expect("valid settings").run_until(stop.clone().cancelled_owned()))
        })
        .collect();
    insert(&*store, (0..20).flat_map(|n| (1..6).map(move |key| of_key(key, n)))).await;
    becomes(async || store.counts(JobFilter::all()).await.expect("counts").open() == 0).await;
    stop.cancel();
    for runner in runners {
        runner.await.expect("ran").expect("valid settings");
    }
    let seen = seen.lock().expect("seen");
    assert_eq!(seen.len(), 5);
    assert!(seen.values().all(|(_, done)| *done == (0..20).collect::<Vec<_>>()), "each key in order: {seen:?}");
}
