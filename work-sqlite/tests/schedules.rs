//! Schedulers that are killed: each slot is dealt with once, whoever is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use work_core::store::{JobFilter, Order};
use work_core::{CatchUp, Job, JobState, Overlap, QueueWorker, Router, Schedule};
use work_sqlite::SqliteStore;

const FILE: &str = "WORK_TEST_SCHEDULES";

const STEP: Duration = Duration::from_millis(20);

async fn worker(path: PathBuf) -> QueueWorker {
    let store = SqliteStore::open(path).await.unwrap();
    QueueWorker::builder(store, Router::new().route("tick", async || {}))
        .lease_for(Duration::from_secs(1))
        .build()
        .unwrap()
}

/// Runs until it is killed. Each one says anew what is to be done, as a program that starts does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_keeps_a_schedule() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let worker = worker(path).await;
    let schedule = Schedule::every(STEP).unwrap().overlap(Overlap::Allow).catch_up(CatchUp::All { max: 100_000 });
    worker.schedule("tick", Job::new("tick", ()), schedule).await.unwrap();
    worker.run_until(std::future::pending()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_slot_makes_one_job_though_schedulers_are_killed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let spawn = || -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_that_keeps_a_schedule"]).env(FILE, &path).stdout(Stdio::null());
        child.spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..3).map(|_| spawn()).collect();
    for round in 0..24 {
        // Not in step with the slots.
        tokio::time::sleep(Duration::from_millis(90 + 37 * (round % 7))).await;
        let at = usize::try_from(round).unwrap() % children.len();
        children[at].kill().unwrap();
        children[at].wait().unwrap();
        children[at] = spawn();
    }
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let store = worker(path).await;
    let stop = tokio::time::sleep(Duration::from_millis(1_500));
    store.store().pause_schedule("tick".into()).await.unwrap();
    store.clone().run_until(stop).await.unwrap();
    let page = store.store().list(JobFilter::all(), Order::OldestFirst, None, 10_000).await.unwrap();
    let mut slots: Vec<_> = page.jobs.iter().map(|job| job.job.parts.scheduled_at.unwrap()).collect();
    slots.sort_unstable();
    assert!(slots.len() > 50, "{} slots", slots.len());
    let step = TimeDelta::from_std(STEP).unwrap();
    assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == step), "no slot twice, and none left out: {slots:?}");
    let last = store.store().schedules().await.unwrap()[0].last_slot;
    assert_eq!(last, slots.last().copied());
    assert!(page.jobs.iter().all(|job| job.state == JobState::Completed), "each was performed");
}
