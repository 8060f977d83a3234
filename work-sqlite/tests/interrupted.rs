//! Calls that are broken off: the future is dropped, or the process is killed. What was asked is done whole or not at all, and
//! the next call works.
//!
//! With `WORK_FAULTS=full` there are ten times as many kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::fmt::Debug;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use work_core::store::{
    BoxFuture, Inserted, Inspect, JobFilter, Lease, NewJob, Settle, Settled, Settlement, Store, Want,
};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Status};
use work_sqlite::SqliteStore;

/// Where a child process finds its file; without it, the test for children does nothing.
const FILE: &str = "WORK_SQLITE_CHILD_FILE";

const LARGE: usize = 12_000;

fn batch(jobs: usize) -> Vec<NewJob> {
    (0..jobs).map(|n| Job::new("greet", n).into_stored(DEFAULT_MAX_ARGS).unwrap()).collect()
}

fn complete(lease: &Lease) -> Settle {
    let settlement = Settlement::Complete { output: None };
    Settle { key: lease.key, status: Status::SUCCESS, settlement, error: None, then: vec![] }
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls a future so many times, each after it asked for that, and drops it. True if it was done by then.
async fn dropped_after<T>(polls: usize, mut future: BoxFuture<'_, T>) -> bool {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for poll in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        while poll + 1 < polls && !woken.0.swap(false, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
    false
}

/// Drops what `call` makes after each number of polls, up to the one that ends it. After each, `check` looks at what is there.
async fn at_every_poll<'s, I: Debug>(
    name: &str,
    prepare: impl AsyncFn() -> I,
    call: impl Fn(&I) -> BoxFuture<'s, bool>,
    check: impl AsyncFn(&I),
) {
    for polls in 0..1_000 {
        let input = prepare().await;
        let done = dropped_after(polls, call(&input)).await;
        check(&input).await;
        if done {
            println!("{name}: dropped after each of {polls} polls");
            assert!(polls > 1, "{name} is done at once, so nothing was dropped");
            return;
        }
    }
    panic!("{name} has no end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_at_any_poll_a_call_is_whole_or_nothing_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = &SqliteStore::open(dir.path().join("jobs.db")).await.unwrap();
    for jobs in [1, 3, LARGE] {
        let insert = |batch: &Vec<NewJob>| {
            let insert = store.insert(batch.clone());
            Box::pin(async { insert.await.is_ok() }) as BoxFuture<'_, bool>
        };
        at_every_poll(
            "insert",
            async || batch(jobs),
            insert,
            async |batch| {
                let answers = store.insert(batch.clone()).await.unwrap();
                let new = answers.iter().filter(|answer| matches!(answer, Inserted::New(_))).count();
                assert!(new == 0 || new == jobs, "{new} of {jobs} were not there");
            },
        )
        .await;
    }
    let all = || store.counts(JobFilter::all());
    let before = all().await.unwrap().total();

    let want = || Want { limit: 5, lease_for: Duration::from_secs(600), worker: "test".into(), ..Want::default() };
    let leases = |_: &()| {
        let call = store.lease(want());
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    let none = async || ();
    at_every_poll("lease", none, leases, async |()| assert_eq!(all().await.unwrap().total(), before)).await;

    let leased = async || store.lease(want()).await.unwrap().jobs;
    let settles = |leases: &Vec<Lease>| {
        let call = store.settle(leases.iter().map(complete).collect());
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    at_every_poll("settle", leased, settles, async |leases| {
        let again = store.settle(leases.iter().map(complete).collect()).await.unwrap();
        let fresh = again.iter().filter(|answer| **answer == Settled::Done).count();
        assert!(fresh == 0 || fresh == leases.len(), "{again:?}");
    })
    .await;

    let extends = |leases: &Vec<Lease>| {
        let call = store.extend(leases.iter().map(|lease| lease.key).collect(), Duration::from_secs(600));
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    at_every_poll("extend", leased, extends, async |leases| {
        let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
        assert_eq!(store.extend(keys.clone(), Duration::from_secs(600)).await.unwrap().len(), keys.len());
    })
    .await;

    let cancels = |batch: &Vec<NewJob>| {
        let call = store.cancel(batch.iter().map(|job| job.parts.id).collect());
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    let inserted = async || {
        let batch = batch(20);
        store.insert(batch.clone()).await.unwrap();
        batch
    };
    at_every_poll("cancel", inserted, cancels, async |batch| {
        store.cancel(batch.iter().map(|job| job.parts.id).collect()).await.unwrap();
        for job in batch {
            assert_eq!(store.get(job.parts.id).await.unwrap().unwrap().state, JobState::Cancelled);
        }
    })
    .await;
}

#[tokio::test]
async fn child_that_inserts() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = SqliteStore::open(file).await.unwrap();
    let jobs = batch(LARGE);
    println!("begins");
    store.insert(jobs).await.unwrap();
}

/// A process that is about to insert.
fn inserting(file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_that_inserts", "--nocapture"]).env(FILE, file);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map_while(Result::ok).find(|line| line.contains("begins")).expect("it begins");
    child
}

#[test]
fn a_large_batch_whose_process_is_killed_is_there_whole_or_not_at_all() {
    let kills = if std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full") { 100 } else { 10_u32 };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jobs.db");
    let mut whole = inserting(&file);
    let since = Instant::now();
    assert!(whole.wait().unwrap().success());
    let takes = since.elapsed();
    let (mut kept, mut lost) = (0, 0);
    Connection::open(&file).unwrap().execute("DELETE FROM jobs", []).unwrap();
    for n in 0..kills {
        let mut process = inserting(&file);
        std::thread::sleep(takes.mul_f64(1.1 * f64::from(n + 1) / f64::from(kills)));
        process.kill().unwrap();
        process.wait().unwrap();
        let connection = Connection::open(&file).unwrap();
        let total: i64 = connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get(0)).unwrap();
        let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "after kill {n}");
        assert!(total == 0 || total == LARGE as i64, "after kill {n}: {total} of {LARGE} jobs");
        *(if total > 0 { &mut kept } else { &mut lost }) += 1;
        connection.execute("DELETE FROM jobs", []).unwrap();
    }
    println!("{kills} kills: {kept} batches are there, {lost} are not");
    assert!(lost > 0, "no kill came in time");
}
