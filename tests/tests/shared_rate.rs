//! Four processes on one store share a rate of 100 a second. What counts is when the store leased each job, by its own
//! clock; when the handlers started is printed too. `WORK_LONG=1` makes it 30 seconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use work_core::limit::Rate;
use work_core::runner::Queues;
use work_core::store::{
    BoxFuture, HandedOver, Inserted, Inspect, JobFilter, LeaseKey, Leased, NewJob, Settle, Settled, Store, Told, Want,
};
use work_core::{Clock, Job, JobState, Queue, QueueWorker, Router, StoreError};
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

/// Where the children find their folder; without it, the test for them does nothing.
const FOLDER: &str = "WORK_SHARED_RATE";
const SCHEMA: &str = "WORK_SHARED_RATE_SCHEMA";
const SERVER: &str = "WORK_TEST_POSTGRES";

const PROCESSES: u32 = 4;
const RATE: u32 = 100;
/// With it, at most 110 in any second.
const BURST: u32 = 10;

fn seconds() -> u32 {
    if std::env::var_os("WORK_LONG").is_some() { 30 } else { 5 }
}

/// Notes the instant of each lease, as the store says it.
struct Logged<S> {
    store: S,
    log: File,
}

impl<S> Logged<S> {
    fn note(&self, leased: &Leased, lease_for: Duration) {
        let at = |until: chrono::DateTime<chrono::Utc>| (until - lease_for).timestamp_micros();
        let lines: String = leased.jobs.iter().map(|lease| format!("{}\n", at(lease.until))).collect();
        (&self.log).write_all(lines.as_bytes()).unwrap();
    }
}

impl<S: Inspect> Store for Logged<S> {
    work_core::forward_upkeep!(self => self.store);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.store.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move {
            let lease_for = want.lease_for;
            let leased = self.store.lease(want).await?;
            self.note(&leased, lease_for);
            Ok(leased)
        })
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.store.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.store.settle(done)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }

    fn hand_over<'a>(&'a self, want: Want, told: Told<'a>) -> BoxFuture<'a, Option<HandedOver>> {
        Box::pin(async move {
            let lease_for = want.lease_for;
            let handed = self.store.hand_over(want, told).await?;
            self.note(&handed.leased, lease_for);
            Some(handed)
        })
    }
}

impl<S: Inspect> Inspect for Logged<S> {
    work_core::forward_inspect!(self => self.store);
}

fn append(path: PathBuf) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

async fn work(store: impl Inspect, folder: &Path) {
    let starts = Arc::new(append(folder.join("starts")));
    let router = Router::new().route("call", move || {
        let line = format!("{}\n", Clock::system().now().timestamp_micros());
        (&*starts).write_all(line.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(5))
    });
    let rate = Rate::even(RATE, Duration::from_secs(1)).unwrap().burst(BURST).unwrap();
    let store = Arc::new(Logged { store, log: append(folder.join("leases")) });
    let queues = Queues::strict(["calls"]).rate_everywhere("calls", rate);
    let worker = QueueWorker::builder(store, router).queues(queues).concurrency(20).build().unwrap();
    let stop = async {
        while !folder.join("stop").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    worker.run_until(stop).await.unwrap();
}

async fn postgres(schema: &str) -> Option<PostgresStore> {
    let url = std::env::var(SERVER).ok()?;
    Some(PostgresStore::builder(&url).schema(schema).pool_size(4).connect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_of_the_rate() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    match std::env::var(SCHEMA) {
        Ok(schema) => work(postgres(&schema).await.unwrap(), &folder).await,
        Err(_) => work(SqliteStore::open(folder.join("jobs.db")).await.unwrap(), &folder).await,
    }
}

/// Stopped when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, schema: Option<&str>) -> Process {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_of_the_rate", "--nocapture"]).env(FOLDER, folder);
    schema.map(|schema| child.env(SCHEMA, schema));
    Process(child.stdout(Stdio::null()).spawn().unwrap())
}

fn instants(file: PathBuf) -> Vec<i64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut instants: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
    instants.sort_unstable();
    instants
}

/// The most in any second.
fn peak(instants: &[i64]) -> usize {
    let until = |at: i64| instants.partition_point(|other| *other < at + 1_000_000);
    instants.iter().enumerate().map(|(n, at)| until(*at) - n).max().unwrap_or(0)
}

async fn four_processes(store: impl Inspect, folder: &Path, schema: Option<&str>) {
    let seconds = seconds();
    let jobs: Vec<NewJob> =
        (0..RATE * seconds * 2).map(|n| Job::new("call", n).queue("calls").into_stored(64).unwrap()).collect();
    for jobs in jobs.chunks(1_000) {
        store.insert(jobs.to_vec()).await.unwrap();
    }
    let processes: Vec<Process> = (0..PROCESSES).map(|_| start(folder, schema)).collect();
    // All of them at work: the first second is as good as any other.
    while store.workers().await.unwrap().len() < PROCESSES as usize {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(u64::from(seconds)) + Duration::from_millis(500)).await;
    File::create(folder.join("stop")).unwrap();
    for mut process in processes {
        assert!(process.0.wait().unwrap().success());
    }
    let (leases, starts) = (instants(folder.join("leases")), instants(folder.join("starts")));
    let span = i64::from(seconds) * 1_000_000;
    // The last so many seconds of the leases.
    let from = leases.last().unwrap() - span;
    let used = leases.iter().filter(|at| **at > from).count() as f64 / f64::from(RATE * seconds);
    println!(
        "{PROCESSES} processes, {RATE} a second, {seconds} s: at most {} leases and {} starts in any second, {:.1} % used",
        peak(&leases),
        peak(&starts),
        used * 100.0
    );
    assert!(peak(&leases) <= 110, "the store leased more");
    // The few seconds of every day are of a machine that does much else.
    assert!(used >= if seconds >= 30 { 0.95 } else { 0.8 }, "{used}");
    assert_eq!(leases.len(), starts.len());
    let first =
        store.list(JobFilter::all().state(JobState::Available), work_core::store::Order::OldestFirst, None, 1_000);
    let waiting = first.await.unwrap().jobs;
    assert!(!waiting.is_empty() && waiting.iter().all(|job| job.attempt == 0), "who waits has no attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_keep_a_rate_together_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
    four_processes(store, folder.path(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_keep_a_rate_together_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let schema = format!("t_{}", work_core::JobId::new().as_uuid().simple());
    let Some(store) = postgres(&schema).await else {
        println!("SKIPPED: {SERVER} is not set; `cargo xtask test test` starts a server and sets it");
        return;
    };
    four_processes(store, folder.path(), Some(&schema)).await;
}
