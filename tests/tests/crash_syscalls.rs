//! A process that makes twenty jobs of all sorts and performs them is killed at one system call after the other; another
//! process goes on with what it left. Nothing accepted is lost, nothing ends twice, what follows a job is there once.
//!
//! | variable | what it sets | by default |
//! |---|---|---|
//! | `WORK_FAULTS=full` | a kill at every call of every kind | at many commits and some of the others, for half a minute |
//! | `WORK_SYSCALLS` | only these kinds, with commas between them, and every call of them | |
//! | `WORK_SEED` | which of the others | fresh, and printed |
//! | `WORK_TEST_POSTGRES` | the URL of a server; without it, that test is skipped | |
//!
//! `strace` counts the calls of each thread by itself, and the first thread that gets so far dies with the others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use work_core::testing::history::What;
use work_tests::script::{Orders, Place};
use work_tests::{Chance, is_intact, seed};

/// So many processes at a time: most of the time they wait for leases to end.
const LANES: usize = 4;

/// How long kills go on, by default.
const BUDGET: Duration = Duration::from_secs(25);

/// By default, the next call is so many behind the last one at most: of commits and requests, and of the others.
const STRIDES: [u64; 2] = [3, 24];

mod on_sqlite {
    use super::*;

    /// The first are those of commits. SQLite is built with one or the other.
    const CALLS: [&str; 9] =
        ["fsync", "fdatasync", "pwrite64", "fcntl", "ftruncate", "unlink", "openat", "pread64", "write"];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_at_any_system_call_it_loses_and_doubles_nothing() {
        sweep("SQLite", &CALLS, |dir| Some(Place::Sqlite(dir.join("store.db")))).await;
    }

    /// A power cut takes what was only written. Before an answer, somebody has asked for more.
    #[tokio::test]
    async fn what_is_accepted_was_flushed_before() {
        let Some(dir) = traced() else { return };
        let place = Place::Sqlite(dir.path().join("store.db"));
        drop(place.open(None).await);
        let orders = Orders { place, history: dir.path().join("history") };
        let log = dir.path().join("calls");
        let options = ["-e", "trace=fdatasync,fsync,write", "-s", "100000", "-o", log.to_str().unwrap()];
        assert!(script(&options, &orders).success());
        let (mut flushed, mut answers) = (false, 0);
        for line in std::fs::read_to_string(&log).unwrap().lines() {
            let says = |what: &str| line.contains(&format!(r#"\"is\":\"{what}\""#));
            if says("offered") || says("settling") {
                flushed = false;
            } else if line.contains("sync") && line.ends_with("= 0") {
                flushed = true;
            } else if says("accepted") || says("settled") {
                answers += 1;
                assert!(flushed, "answer {answers} was given without a flush: {line}");
            }
        }
        assert!(answers > 14, "{answers} answers were seen");
    }
}

mod on_postgres {
    use super::*;

    /// The first are those of requests.
    const CALLS: [&str; 6] = ["sendto", "writev", "recvfrom", "write", "connect", "close"];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_at_any_system_call_it_loses_and_doubles_nothing() {
        if Place::postgres().is_some() {
            sweep("Postgres", &CALLS, |_| Place::postgres()).await;
        } else {
            println!("SKIPPED: WORK_TEST_POSTGRES is not set; `cargo xtask test crash` starts a server and sets it");
        }
    }
}

/// A folder, if processes can be traced here.
fn traced() -> Option<tempfile::TempDir> {
    let mut strace = Command::new("strace");
    let traced = strace.args(["-f", "-qq", "-o", "/dev/null", "true"]).stdin(Stdio::null()).output();
    let why = match traced {
        Ok(output) if output.status.success() => return Some(tempfile::tempdir().unwrap()),
        Ok(output) => format!("strace may not trace: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("strace cannot be started ({error}); `cargo xtask test crash` installs it if it may"),
    };
    println!("SKIPPED: no process is killed at its system calls: {why}");
    None
}

/// Runs the script below `strace`, and answers how it ended.
fn script(options: &[&str], orders: &Orders) -> ExitStatus {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(env!("CARGO_BIN_EXE_script"));
    command.arg(serde_json::to_string(orders).unwrap()).stdin(Stdio::null()).stdout(Stdio::null());
    command.status().unwrap()
}

/// What the lanes share.
struct Sweep {
    dir: tempfile::TempDir,
    make: MakePlace,
    start: Instant,
    /// The next call to be killed at, of the kind that is swept now.
    next: AtomicUsize,
    /// A run of this kind was not disturbed any more.
    over: AtomicBool,
    kills: AtomicUsize,
    runs: AtomicUsize,
}

type MakePlace = fn(&Path) -> Option<Place>;

async fn sweep(store: &str, calls: &[&str], make: MakePlace) {
    let Some(dir) = traced() else { return };
    let full = std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full");
    let only = std::env::var("WORK_SYSCALLS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|call| !call.is_empty()).collect();
    let (start, mut chance) = (Instant::now(), Chance::new(seed()));
    let all = Sweep { dir, make, start, next: 0.into(), over: false.into(), kills: 0.into(), runs: 0.into() };
    let mut said = Vec::new();
    for (kind, call) in calls.iter().enumerate().filter(|(_, call)| only.is_empty() || only.contains(call)) {
        let before = all.kills.load(Ordering::SeqCst);
        let stride = if full || !only.is_empty() { None } else { Some(STRIDES[usize::from(kind > 1)]) };
        all.next.store(1, Ordering::SeqCst);
        all.over.store(false, Ordering::SeqCst);
        let lanes = (0..LANES).map(|_| all.lane(call, stride, Chance::new(chance.below(u64::from(u32::MAX)))));
        futures_util::future::join_all(lanes).await;
        said.push(format!("{call} {}", all.kills.load(Ordering::SeqCst) - before));
    }
    let (kills, took) = (all.kills.load(Ordering::SeqCst), start.elapsed());
    println!("{store}: {kills} kills ({}) in {took:.1?}, no violation", said.join(", "));
    assert!(kills > 20, "few kills");
}

impl Sweep {
    /// Kills at one call of this kind after the other, until a run ends by itself.
    async fn lane(&self, call: &str, stride: Option<u64>, mut chance: Chance) {
        while !self.over.load(Ordering::SeqCst) && (stride.is_none() || self.start.elapsed() < BUDGET) {
            let step = stride.map_or(1, |most| 1 + chance.below(most) as usize);
            let n = self.next.fetch_add(step, Ordering::SeqCst);
            let dir = self.dir.path().join(self.runs.fetch_add(1, Ordering::SeqCst).to_string());
            std::fs::create_dir(&dir).unwrap();
            let orders = Orders { place: (self.make)(&dir).unwrap(), history: dir.join("history") };
            if one(&orders, &format!("{call}:signal=KILL:when={n}")).await {
                self.kills.fetch_add(1, Ordering::SeqCst);
            } else {
                self.over.store(true, Ordering::SeqCst);
            }
            std::fs::remove_dir_all(dir).unwrap();
        }
    }
}

/// One run, and what another process makes of it. Answers whether it was killed.
async fn one(orders: &Orders, inject: &str) -> bool {
    drop(orders.place.open(None).await);
    let (at, told) = (format!("inject={inject}"), orders.clone());
    let run = move || script(&["-o", "/dev/null", "-e", &at], &told);
    let status = tokio::task::spawn_blocking(run).await.unwrap();
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{inject}: {status}");
    // Who wrote the first line.
    let victim =
        if orders.history.exists() { orders.history().lines().first().map(|line| line.event.pid) } else { None };
    let recorder = orders.recorder();
    if let Some(victim) = victim.filter(|_| killed) {
        recorder.note(What::Killed { victim }).unwrap();
    }
    let report = orders.finish(&recorder).await;
    assert!(report.is_clean(), "{inject}: {report}");
    if let Place::Sqlite(file) = &orders.place {
        assert!(is_intact(file), "{inject}");
    }
    killed
}
