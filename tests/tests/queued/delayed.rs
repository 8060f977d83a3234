//! Jobs that are due later, and again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use work_core::store::Inspect;
use work_core::{Clock, Job, QueueWorker, Router, Schedule, Worker};

use crate::Log;
use crate::stores::{Running, Store, all_done, on_every_store};

on_every_store!(
    a_job_that_is_due_in_200_ms_runs_then_and_not_before,
    a_thousand_jobs_that_are_due_start_within_a_second_the_earliest_first,
    a_job_of_every_second_runs_5_times_in_5_seconds_also_if_a_run_fails,
    a_durable_schedule_goes_on_after_a_run_that_fails,
);

async fn a_job_that_is_due_in_200_ms_runs_then_and_not_before(store: Store) {
    let ran = Arc::<Mutex<Option<Instant>>>::default();
    let noted = ran.clone();
    let router = Router::new().route("later", move || {
        *noted.lock().unwrap() = Some(Instant::now());
        std::future::ready(())
    });
    let running = Running::start(QueueWorker::builder(store.clone(), router));
    let asked = Instant::now();
    running.worker.perform_in(Job::new("later", ()), Duration::from_millis(200)).await.unwrap();
    all_done(&store).await;
    let after = ran.lock().unwrap().unwrap() - asked;
    // 200 to 250 ms with the machine to itself. Stores keep instants by the millisecond or better.
    assert!((Duration::from_millis(199)..Duration::from_millis(700)).contains(&after), "{after:?}");
    running.stop().await;
}

async fn a_thousand_jobs_that_are_due_start_within_a_second_the_earliest_first(store: Store) {
    let log = Log::default();
    let builder = QueueWorker::builder(store.clone(), log.router()).concurrency(1);
    let worker = builder.clone().build().unwrap();
    let due = Clock::system().now();
    // The later ones come first.
    let jobs = (0..1_000).rev().map(|n| {
        let before = chrono::TimeDelta::milliseconds(100_000 - i64::from(n) * 10);
        Job::new("note", n).scheduled_at(due - before)
    });
    worker.perform_many(jobs).await.unwrap();
    let began = Instant::now();
    let running = Running::start(builder);
    all_done(&store).await;
    let took = began.elapsed();
    running.stop().await;
    assert_eq!(log.all(), (0..1_000).collect::<Vec<_>>());
    assert!(took < Duration::from_secs(3), "a second with the machine to itself: {took:?}");
}

/// Notes its runs, and fails in every second one: for good, by an error or by a panic.
fn sometimes_failing(log: &Log) -> Router {
    let log = log.clone();
    Router::new().route("often", move || {
        let runs = u32::try_from(log.all().len()).unwrap();
        log.push(runs);
        async move {
            assert!(runs % 4 != 1, "a panic");
            if runs % 4 == 3 { Err("an error") } else { Ok(()) }
        }
    })
}

async fn a_job_of_every_second_runs_5_times_in_5_seconds_also_if_a_run_fails(store: Store) {
    let log = Log::default();
    let running = Running::start(QueueWorker::builder(store.clone(), sometimes_failing(&log)));
    let job = Job::new("often", ()).max_attempts(1);
    let recurring = running.worker.perform_every(job, Schedule::every(Duration::from_secs(1)).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    recurring.cancel();
    let runs = log.all().len();
    assert!((4..=6).contains(&runs), "{runs} runs");
    running.stop().await;
}

async fn a_durable_schedule_goes_on_after_a_run_that_fails(store: Store) {
    let log = Log::default();
    let running = Running::start(QueueWorker::builder(store.clone(), sometimes_failing(&log)));
    let job = Job::new("often", ()).max_attempts(1);
    running.worker.schedule("often", job, Schedule::every(Duration::from_secs(1)).unwrap()).await.unwrap();
    crate::stores::becomes(async || log.all().len() >= 4).await;
    store.remove_schedule("often".to_owned()).await.unwrap();
    running.stop().await;
}
