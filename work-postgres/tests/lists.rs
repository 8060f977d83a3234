//! What people look at while there are many jobs: pages, counts and queues stay quick, and old jobs go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::{Duration, Instant};

use support::Place;
use work_core::JobState;
use work_core::store::{Inspect, JobFilter, Order, Retention, Store};
use work_postgres::PostgresStore;

/// Jobs that wait, and as many that are over.
const JOBS: i64 = 100_000;

/// With statistics as they were while the tables were empty.
async fn full() -> (Place, PostgresStore) {
    let place = Place::new();
    let store = place.builder().call_deadline(Duration::from_secs(60)).connect().await.unwrap();
    store.list(JobFilter::all(), Order::OldestFirst, None, 10).await.unwrap();
    let other = place.other().await;
    let columns =
        "seq, id, scheduled_at, created_at, fence, attempt, max_attempts, crashes, priority, status, queue, kind, args";
    let values = "n, gen_random_uuid(), now() - interval '3 days' + n * interval '1 millisecond',
        now() - interval '3 days' + n * interval '1 millisecond', 1, 1, 25, 0, 5, 200,
        CASE WHEN n % 10000 = 0 THEN 'rare' ELSE 'default' END, CASE WHEN n % 5000 = 0 THEN 'odd' ELSE 'even' END,
        convert_to('{\"n\": ' || n || '}', 'UTF8')";
    let jobs = format!(
        "INSERT INTO work.history ({columns}, state, finished_at) SELECT {values},
            CASE WHEN n % 10 = 0 THEN 'discarded' ELSE 'completed' END, now() - interval '2 days'
            FROM generate_series(1, {JOBS}) AS n;
         INSERT INTO work.jobs ({columns}, state) SELECT {values}, 'available'
            FROM generate_series({JOBS} + 1, {JOBS} * 2) AS n;
         INSERT INTO work.tags (tag, seq) SELECT 'few', n FROM generate_series(1000, {JOBS} * 2, 1000) AS n;
         SELECT setval('work.arrivals', {JOBS} * 2)"
    );
    other.run(&jobs).await.unwrap();
    (place, store)
}

#[tokio::test]
async fn a_page_of_any_filter_stays_quick_with_many_jobs() {
    let (_place, store) = full().await;
    let all = JobFilter::all;
    for (name, filter) in [
        ("all", all()),
        ("waiting", all().state(JobState::Available)),
        ("waiting in a rare queue", all().state(JobState::Available).queue("rare")),
        ("running", all().state(JobState::Running)),
        ("completed", all().state(JobState::Completed)),
        ("dead", all().state(JobState::Discarded)),
        ("dead in a rare queue", all().state(JobState::Discarded).queue("rare")),
        ("tag", all().tag("few")),
        ("odd kind", all().kind("odd")),
        ("args", all().args("n", JOBS + 7)),
        ("nothing", all().error_contains("nothing")),
    ] {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for after in [None, Some(JOBS + 5)] {
                let start = Instant::now();
                let page = store.list(filter.clone(), order, after, 50).await.unwrap();
                let took = start.elapsed();
                println!("{name} {order:?} {after:?}: {} in {took:?}", page.jobs.len());
                assert!(took < Duration::from_secs(2), "{name} {order:?} {after:?}: {took:?}");
            }
        }
    }
    for filter in [
        all(),
        all().queue("rare"),
        all().state(JobState::Discarded),
        all().tag("few"),
        all().created(..work_core::Clock::system().now()),
    ] {
        let start = Instant::now();
        let total = store.counts(filter.clone()).await.unwrap().total();
        println!("count {total} in {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let start = Instant::now();
    assert_eq!(store.queues().await.unwrap().len(), 2);
    println!("queues in {:?}", start.elapsed());
}

#[tokio::test]
async fn pages_have_every_job_once_in_both_orders() {
    let (_place, store) = full().await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for (filter, expected) in [
            (JobFilter::all().kind("odd"), JOBS * 2 / 5000),
            (JobFilter::all().state(JobState::Discarded).state(JobState::Available).queue("rare"), JOBS * 2 / 10000),
            (JobFilter::all().tag("few"), JOBS * 2 / 1000),
        ] {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let page = store.list(filter.clone(), order, after, 7).await.unwrap();
                seen.extend(page.jobs.iter().map(|stored| stored.job.args.clone()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let number =
                |args: &bytes::Bytes| serde_json::from_slice::<serde_json::Value>(args).unwrap()["n"].as_i64().unwrap();
            let numbers: Vec<i64> = seen.iter().map(number).collect();
            let in_order = numbers.windows(2).all(|pair| (pair[0] < pair[1]) == (order == Order::OldestFirst));
            assert!(in_order && numbers.len() as i64 == expected, "{filter:?}: {} of {expected}", numbers.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_forget_old_jobs_together_and_each_job_is_counted_once() {
    let (place, store) = full().await;
    let start = Instant::now();
    let mut prunes = Vec::new();
    for _ in 0..4 {
        let store = place.open().await;
        prunes.push(tokio::spawn(async move {
            let mut forgotten = 0;
            loop {
                match store.prune(Retention::default(), 2_000).await.unwrap() {
                    0 => return forgotten,
                    some => forgotten += some,
                }
            }
        }));
    }
    let mut forgotten = 0;
    for prune in prunes {
        forgotten += prune.await.unwrap();
    }
    println!("{forgotten} forgotten in {:?}", start.elapsed());
    assert_eq!(forgotten, (JOBS * 9 / 10) as u64);
    let counts = store.counts(JobFilter::all()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.of(JobState::Discarded)), (0, (JOBS / 10) as u64));
}
