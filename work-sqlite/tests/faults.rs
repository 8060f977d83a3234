//! Disks that fill up, processes that die or hold locks, files with damage in them: what was accepted is kept and drained,
//! and what is wrong is said.
//!
//! With `WORK_FAULTS=full`, a process is killed 200 times instead of 20.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use work_core::runner::{Report, Runner};
use work_core::store::{Inspect, JobFilter, NewJob, Order, Store, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, JobState, Queue, Router};
use work_sqlite::{OpenError, SqliteStore};

/// Where a child process finds the file it is to use; without it, the tests for children do nothing.
const FILE: &str = "WORK_SQLITE_CHILD_FILE";

/// How many jobs the file of an older program has: its migration takes a while.
const OLD_JOBS: i64 = 30_000;

fn job(bytes: usize) -> NewJob {
    Job::new("greet", "x".repeat(bytes)).into_stored(DEFAULT_MAX_ARGS).unwrap()
}

/// Runs one test of this program again, in a process of its own.
fn child(test: &str, file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(FILE, file).stdout(Stdio::null()).stderr(Stdio::null());
    child.spawn().unwrap()
}

fn number(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn is_intact(path: &Path) -> bool {
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    Connection::open(path).unwrap().query_row("PRAGMA integrity_check", [], check).unwrap() == "ok"
}

async fn total(store: &SqliteStore) -> u64 {
    store.counts(JobFilter::all()).await.unwrap().total()
}

/// A file as the first version of this program left it.
fn make_old(path: &Path) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(include_str!("../src/sql/1_jobs.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA journal_mode = wal;
        CREATE TABLE work_schema (version INTEGER NOT NULL) STRICT; INSERT INTO work_schema VALUES (1);
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {OLD_JOBS})
        INSERT INTO jobs (kind, state, finished_at, status)
            SELECT 'dead', iif(n % 10 = 0, 'available', 'discarded'), iif(n % 10 = 0, NULL, 5), 500 FROM n;"
    ))
    .unwrap();
}

#[tokio::test]
async fn child_that_opens() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    std::fs::write(path.with_extension("starts"), "").unwrap();
    SqliteStore::open(path).await.unwrap();
}

/// A process that is about to open the file.
fn opening(file: &Path) -> Child {
    let starts = file.with_extension("starts");
    let _ = std::fs::remove_file(&starts);
    let process = child("child_that_opens", file);
    let since = Instant::now();
    while !starts.exists() {
        assert!(since.elapsed() < Duration::from_secs(30), "the process does not start");
        std::thread::sleep(Duration::from_micros(200));
    }
    process
}

fn time_of(mut process: Child) -> Duration {
    let before = Instant::now();
    assert!(process.wait().unwrap().success());
    before.elapsed()
}

#[tokio::test]
async fn a_migration_that_is_killed_at_any_moment_is_done_by_the_next_process() {
    let kills = if std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full") { 200 } else { 20_u32 };
    let dir = tempfile::tempdir().unwrap();
    let (model, path) = (dir.path().join("old.db"), dir.path().join("jobs.db"));
    make_old(&model);
    std::fs::copy(&model, &path).unwrap();
    let (whole, new) = (time_of(opening(&path)), dir.path().join("new.db"));
    let whole_new = time_of(opening(&new));
    let (mut before, mut within, mut after) = (0, 0, 0);
    for n in 0..kills {
        // From the start on, evenly, and every other one of a file that is made anew.
        let (file, jobs, whole) = if n % 2 == 0 { (&path, OLD_JOBS, whole) } else { (&new, 0, whole_new) };
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
        if jobs > 0 {
            std::fs::copy(&model, file).unwrap();
        }
        let mut process = opening(file);
        std::thread::sleep(whole.mul_f64(f64::from(n + 1) / f64::from(kills)));
        process.kill().unwrap();
        let ended = process.wait().unwrap().success();
        let wal = std::fs::metadata(format!("{}-wal", file.display())).is_ok_and(|wal| wal.len() > 0);
        *(if ended {
            &mut after
        } else if wal {
            &mut within
        } else {
            &mut before
        }) += 1;
        if file.exists() {
            assert!(is_intact(file), "after kill {n}");
        }
        let store = SqliteStore::open(file).await.unwrap_or_else(|error| panic!("after kill {n}: {error}"));
        assert_eq!(total(&store).await, jobs.unsigned_abs());
        store.insert(vec![job(1)]).await.unwrap();
        assert_eq!(store.counts(JobFilter::all()).await.unwrap().open(), (jobs / 10 + 1).unsigned_abs());
        assert_eq!(number(file, "SELECT max(version) FROM work_schema"), SqliteStore::SCHEMA_VERSION);
    }
    println!("{kills} kills: {before} before the first write, {within} during it, {after} came too late");
    assert!(within > 0 || kills < 200);
}

/// A disk of its own, if this user may have one.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&path).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Performs everything that is there.
async fn drain(store: &SqliteStore) -> Report {
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("greet", async || {}));
    let watched = store.clone();
    let until = async move {
        while !watched.counts(JobFilter::all()).await.is_ok_and(|counts| counts.open() == 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let report = tokio::time::timeout(Duration::from_secs(60), runner.run_until(until)).await.expect("drained");
    report.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_refuses_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(dir.path().join("disk"), "size=12m") else {
        eprintln!("skipped: this user may not mount a disk");
        return;
    };
    let (path, rest) = (disk.0.join("jobs.db"), disk.0.join("rest"));
    let store = SqliteStore::open(&path).await.unwrap();
    std::fs::write(&rest, vec![1; 5_500_000]).unwrap();
    let (mut accepted, mut unknown, mut full) = (BTreeSet::new(), BTreeSet::new(), 0);
    for _ in 0..200 {
        let next = job(50_000);
        match store.insert(vec![next.clone()]).await {
            Ok(_) => _ = accepted.insert(next.parts.id),
            Err(error) if error.is_unknown() => _ = unknown.insert(next.parts.id),
            Err(error) => {
                assert!(error.is_full() || error.is_unavailable(), "{error}");
                full += 1;
            }
        }
    }
    assert!(!accepted.is_empty() && full + unknown.len() > 0, "{} accepted, {full} refused", accepted.len());
    assert!(total(&store).await >= accepted.len() as u64, "it can be read");
    let new = SqliteStore::open(disk.0.join("new.db")).await;
    assert!(matches!(new, Err(OpenError::DiskFull { .. } | OpenError::Other { .. }) | Ok(_)), "{new:?}");
    std::fs::remove_file(&rest).unwrap();
    let next = job(1_000);
    store.insert(vec![next.clone()]).await.unwrap();
    accepted.insert(next.parts.id);
    drain(&store).await;
    let kept = store.list(JobFilter::all(), Order::OldestFirst, None, 1_000).await.unwrap().jobs;
    let kept: BTreeSet<JobId> = kept.iter().map(|job| job.job.parts.id).collect();
    assert!(accepted.is_subset(&kept), "what was accepted is there");
    assert!(kept.is_subset(&accepted.union(&unknown).copied().collect()), "what was refused is not");
    println!("{} accepted, {} unknown, {full} refused", accepted.len(), unknown.len());
    drop(store);
    assert!(is_intact(&path));
}

#[tokio::test]
async fn child_that_locks() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::fs::write(path.with_extension("locked"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Longer than a statement waits for the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_holds_the_lock_for_ten_seconds_costs_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let ran: Arc<Mutex<Vec<JobId>>> = Arc::default();
    let log = ran.clone();
    let handler = move |id: JobId| {
        let log = log.clone();
        async move { log.lock().unwrap().push(id) }
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("greet", handler));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(runner.lease_for(Duration::from_secs(3)).run_until(async { drop(stopped.await) }));
    let (ending, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let maker = tokio::spawn(make(store.clone(), ending.clone(), busy.clone()));

    let mut locker = child("child_that_locks", &path);
    while !path.with_extension("locked").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = ran.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    locker.kill().unwrap();
    locker.wait().unwrap();
    let free = Instant::now();
    while ran.lock().unwrap().len() <= before + 1 {
        assert!(free.elapsed() < Duration::from_secs(5), "nothing is performed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("performing {:?} after the lock was gone", free.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;
    ending.store(true, Ordering::SeqCst);
    let accepted = maker.await.unwrap();
    drain(&store).await;
    drop(stop);
    running.await.unwrap().unwrap();
    // After 5 s, as long as the processor has time for them.
    println!("callers were told {} times that it is locked", busy.load(Ordering::SeqCst));
    let counts = store.counts(JobFilter::all()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.total()), (accepted.len() as u64, accepted.len() as u64));
}

/// Makes jobs, and repeats each until it is accepted.
async fn make(store: SqliteStore, ending: Arc<AtomicBool>, busy: Arc<AtomicUsize>) -> Vec<JobId> {
    let mut accepted = Vec::new();
    while !ending.load(Ordering::SeqCst) {
        let next = job(10);
        while let Err(error) = store.insert(vec![next.clone()]).await {
            assert!(error.is_busy() && !error.is_unknown(), "{error}");
            busy.fetch_add(1, Ordering::SeqCst);
        }
        accepted.push(next.parts.id);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    accepted
}

/// Pages in the middle of the file are overwritten, one after the other: each call either answers or says what is wrong,
/// and none of them hangs or panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_damaged_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.db");
    let store = SqliteStore::open(&whole).await.unwrap();
    store.insert((0..200).map(|_| job(2_000)).collect()).await.unwrap();
    drop(store);
    while dir.path().join("whole.db-wal").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let bytes = std::fs::read(&whole).unwrap();
    let (pages, mut damaged) = (bytes.len() / 4_096, 0);
    for page in (1..pages).step_by(pages / 16) {
        let mut bytes = bytes.clone();
        bytes[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        // Each has a name of its own: the store before may still be closing.
        let path = dir.path().join(format!("{page}.db"));
        std::fs::write(&path, bytes).unwrap();
        let said = use_it(&path).await;
        damaged += usize::from(!said.is_empty());
        for error in said {
            assert!(error.contains("damaged") || error.contains("refused"), "page {page}: {error}");
        }
    }
    assert!(damaged > 3, "{damaged} of {pages} pages");
}

/// Answers the errors.
async fn use_it(path: &Path) -> Vec<String> {
    let store = match SqliteStore::open(path).await {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Other { .. }), "{error:?}");
            return vec![error.to_string()];
        }
    };
    let want = Want {
        queues: vec![Queue::DEFAULT],
        limit: 500,
        lease_for: Duration::from_secs(9),
        worker: "w".into(),
        ..Want::default()
    };
    let calls = async {
        let found = [
            store.lease(want).await.map(drop),
            store.insert(vec![job(9_000)]).await.map(drop),
            store.list(JobFilter::all(), Order::OldestFirst, None, 1_000).await.map(drop),
            store.counts(JobFilter::all()).await.map(drop),
        ];
        found.into_iter().filter_map(|found| found.err().map(|error| error.to_string())).collect()
    };
    tokio::time::timeout(Duration::from_secs(30), calls).await.expect("no call hangs")
}
