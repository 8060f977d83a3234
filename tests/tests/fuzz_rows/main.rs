//! Rows whose columns somebody overwrote with anything that the table takes: the jobs beside them are performed, and whoever
//! looks gets an answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt as _;
use work_core::limit::Rate;
use work_core::store::{
    Change, ErrorRecord, Inspect, JobFilter, Lease, Order, Retention, Settle, Settlement, StoredSchedule, Want,
    WorkerInfo,
};
use work_core::testing::fuzz::{Random, check_message};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Queue, Schedule, Status, Unique};
use work_dashboard::Dashboard;

/// What texts are made of: what stands in rows.
pub(crate) const TEXTS: &[&str] = &[
    "mail",
    "mail:tenant-7",
    "other",
    "available",
    "running",
    "completed",
    "discarded",
    "cancelled",
    "none",
    "all:24",
    "skip",
    "every 90s",
    "0 9 * * * UTC",
    r#"{"traceparent":"00-a-b-01"}"#,
    r#"["a","b"]"#,
    r#"{"priority":3,"max_attempts":2,"headers":{}}"#,
    r#"{"work.chain":"[]"}"#,
    r#"{"work.on-error":"{}","work.previous":"null"}"#,
    "[[1,2]]",
    r#"{"user":{"id":7}}"#,
    "even",
    "sliding",
    "a\u{1b}[31m",
];

pub(crate) fn want() -> Want {
    let queues = vec![Queue::DEFAULT, Queue::each_key("mail")];
    Want { queues, limit: 100, worker: "fuzz".into(), ..Want::default() }
}

fn settle(lease: &Lease, settlement: Settlement, status: Status) -> Settle {
    let error =
        matches!(settlement, Settlement::Discard).then(|| ErrorRecord::new("refused").with_backtrace("0: main"));
    Settle { key: lease.key, status, settlement, error, then: vec![] }
}

/// A row in every table: a job that waits, runs or has ended, and what is known of queues, workers and schedules.
pub(crate) async fn fill(store: &dyn Inspect, random: &mut Random) {
    let job =
        |kind: &'static str| Job::new(kind, json!({ "user": { "id": 7 } })).tag("a").header("traceparent", "00-a-b-01");
    let hostile = job("hostile").unique(Unique::new("k")).timeout(Duration::from_secs(5)).on_error(Job::new("oops", 1));
    store.insert(vec![hostile.into_stored(DEFAULT_MAX_ARGS).unwrap()]).await.unwrap();
    let stage = random.below(4);
    if stage > 0 {
        let leased = store.lease(want()).await.unwrap().jobs;
        match stage {
            1 => store.set_progress(leased.iter().map(|lease| (lease.key, 0.5)).collect()).await.unwrap(),
            2 => drop(
                store
                    .settle(
                        leased.iter().map(|lease| settle(lease, Settlement::Discard, Status::BAD_REQUEST)).collect(),
                    )
                    .await,
            ),
            _ => {
                let done = Settlement::Complete { output: Some("{}".into()) };
                drop(
                    store
                        .settle(leased.iter().map(|lease| settle(lease, done.clone(), Status::SUCCESS)).collect())
                        .await,
                );
            }
        }
    }
    let other = || Queue::from_static("other");
    store.pause(other()).await.unwrap();
    store.limit_queue(other(), Some(5)).await.unwrap();
    let rate = Rate::sliding_window(10, Duration::from_secs(1)).unwrap();
    store.rate_queue(other(), Some(rate)).await.unwrap();
    store.keep_queues(Queue::from_static("kept.")).await.unwrap();
    let schedule = Schedule::every(Duration::from_secs(90)).unwrap();
    let made = job("daily").into_stored(DEFAULT_MAX_ARGS).unwrap();
    store.put_schedule(StoredSchedule::of("daily", made, &schedule)).await.unwrap();
    let mut worker = WorkerInfo::new("worker-1");
    worker.queues = vec![other()];
    store.beat(worker).await.unwrap();
}

/// The job beside it is performed, whatever is there, and settled.
pub(crate) async fn neighbours_are_performed(store: &dyn Inspect) {
    let fine = |queue| Job::new("fine", ()).queue(queue).into_stored(DEFAULT_MAX_ARGS).unwrap();
    let fine = [fine(Queue::DEFAULT), fine(Queue::of_key("mail", "fine"))];
    let mut waiting: Vec<_> = fine.iter().map(|job| job.parts.id).collect();
    store.insert(fine.into()).await.unwrap();
    for _ in 0..3 {
        let leased = store.lease(want()).await.unwrap().jobs;
        waiting.retain(|id| leased.iter().all(|lease| lease.key.id != *id));
        let keys: Vec<_> = leased.iter().map(|lease| lease.key).collect();
        store.extend(keys, Duration::from_secs(30)).await.unwrap();
        let done = Settlement::Complete { output: None };
        let done = leased.iter().map(|lease| settle(lease, done.clone(), Status::SUCCESS)).collect();
        store.settle(done).await.unwrap();
    }
    assert_eq!(waiting, [], "the jobs beside it were not leased");
}

/// Whoever looks gets an answer.
pub(crate) async fn it_can_be_looked_at(store: &Arc<dyn Inspect>, random: &mut Random) {
    store.rescue(100, 3).await.unwrap();
    store.stop_requests().await.unwrap();
    let jobs = store.list(JobFilter::all(), Order::NewestFirst, None, 100).await.unwrap().jobs;
    for job in &jobs {
        store.get(job.job.parts.id).await.unwrap();
        if job.job.parts.kind.as_str() != "hostile"
            && job.state == JobState::Discarded
            && let Some(error) = job.last_error()
        {
            check_message(&error.message);
        }
    }
    store.counts(JobFilter::all()).await.unwrap();
    store.counts(JobFilter::all().args("user.id", 7).error_contains("refused").tag("a")).await.unwrap();
    store.list(JobFilter::all().args("user.id", 7), Order::OldestFirst, Some(random.number()), 10).await.unwrap();
    store.queues().await.unwrap();
    store.workers().await.unwrap();
    for schedule in store.schedules().await.unwrap() {
        // Whatever its job is: made, or refused.
        drop(store.run_schedule_now(schedule.name.clone()).await);
        if let Err(error) = schedule.schedule() {
            check_message(error);
        }
        drop(schedule.next_slots(work_core::Clock::system().now(), 10));
    }
    let id = jobs.first().map(|job| job.job.parts.id.to_string()).unwrap_or_default();
    let paths = [
        "/",
        "/jobs",
        "/dead",
        "/queues",
        "/schedules",
        "/workers",
        "/workflows",
        "/metrics",
        "/api/v1/jobs",
        "/api/v1/overview",
        "/api/v1/queues",
        "/api/v1/schedules",
        "/api/v1/workers",
        "/api/v1/dead-letters",
        "/api/v1/workflows",
    ];
    let site = Dashboard::builder(Arc::clone(store)).show_args().build().unwrap().router();
    let some = *random.pick(&paths);
    for path in [some, &format!("/jobs/{id}"), &format!("/api/v1/jobs/{id}")] {
        let request = Request::builder().uri(path).header("host", "localhost:8080").body(Body::empty()).unwrap();
        let status = site.clone().oneshot(request).await.unwrap().status();
        assert!(status.as_u16() < 500, "{path}: {status}");
    }
    store
        .change_all(*random.pick(&[Change::Retry, Change::Cancel, Change::Delete]), JobFilter::all(), 100)
        .await
        .unwrap();
    let at_once = Retention::default().completed(Duration::ZERO).discarded(Duration::ZERO).cancelled(Duration::ZERO);
    store.prune(at_once, 100).await.unwrap();
}
