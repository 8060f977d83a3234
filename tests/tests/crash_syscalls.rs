//! A process that makes twenty jobs of all sorts and performs them is killed at one system call after the other; another
//! process goes on with what it left. Nothing accepted is lost, nothing ends twice, what follows a job is there once.
//!
//! | variable | what it sets | by default |
//! |---|---|---|
//! | `WORK_FAULTS=full` | a kill at every call of every kind | at every commit, and at some of the others, for half a minute |
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
use work_tests::fleet::At;
use work_tests::script::Orders;
use work_tests::{Chance, is_intact, seed};

/// So many processes at a time: most of the time they wait for leases to end.
const LANES: usize = 4;

/// How long kills go on, by default.
const BUDGET: Duration = Duration::from_secs(25);

/// Of the calls that are not swept whole, so many are left out after each at most.
const STRIDE: u64 = 24;

mod on_sqlite {
    use super::*;

    /// The first is that of commits. Those of the shared memory of the log make no system calls.
    const CALLS: [&str; 9] =
        ["fdatasync", "pwrite64", "fcntl", "fsync", "ftruncate", "unlink", "openat", "pread64", "write"];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_at_any_system_call_it_loses_and_doubles_nothing() {
        sweep("SQLite", &CALLS, |dir| Some(At::sqlite(dir))).await;
    }

    /// A power cut takes what was only written. Before an answer, somebody has asked for more.
    #[tokio::test]
    async fn what_is_accepted_was_flushed_before() {
        let Some(dir) = traced() else { return };
        let at = At::sqlite(dir.path());
        drop(at.open().await.unwrap());
        let orders = Orders { at, history: dir.path().join("history") };
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
        assert!(answers > 20, "{answers} answers were seen");
    }
}

mod on_postgres {
    use super::*;

    /// The first is that of requests.
    const CALLS: [&str; 6] = ["sendto", "recvfrom", "write", "writev", "connect", "close"];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn killed_at_any_system_call_it_loses_and_doubles_nothing() {
        if At::postgres().is_some() {
            sweep("Postgres", &CALLS, |_| At::postgres()).await;
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
    place: Place,
    start: Instant,
    /// The next call to be killed at, of the kind that is swept now.
    next: AtomicUsize,
    /// A run of this kind was not disturbed any more.
    over: AtomicBool,
    kills: AtomicUsize,
    runs: AtomicUsize,
}

type Place = fn(&Path) -> Option<At>;

async fn sweep(store: &str, calls: &[&str], place: Place) {
    let Some(dir) = traced() else { return };
    let full = std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full");
    let (start, mut chance) = (Instant::now(), Chance::new(seed()));
    let all = Sweep { dir, place, start, next: 0.into(), over: false.into(), kills: 0.into(), runs: 0.into() };
    let mut said = Vec::new();
    for (kind, call) in calls.iter().enumerate() {
        let (whole, before) = (full || kind == 0, all.kills.load(Ordering::SeqCst));
        all.next.store(1, Ordering::SeqCst);
        all.over.store(false, Ordering::SeqCst);
        let lanes = (0..LANES).map(|_| all.lane(call, whole, Chance::new(chance.below(u64::from(u32::MAX)))));
        futures_util::future::join_all(lanes).await;
        said.push(format!("{call} {}", all.kills.load(Ordering::SeqCst) - before));
    }
    let (kills, took) = (all.kills.load(Ordering::SeqCst), start.elapsed());
    println!("{store}: {kills} kills ({}) in {took:.1?}, no violation", said.join(", "));
    assert!(kills > 20, "few kills");
}

impl Sweep {
    /// Kills at one call of this kind after the other, until a run ends by itself.
    async fn lane(&self, call: &str, whole: bool, mut chance: Chance) {
        while !self.over.load(Ordering::SeqCst) && (whole || self.start.elapsed() < BUDGET) {
            let stride = if whole { 1 } else { 1 + chance.below(STRIDE) as usize };
            let n = self.next.fetch_add(stride, Ordering::SeqCst);
            let dir = self.dir.path().join(self.runs.fetch_add(1, Ordering::SeqCst).to_string());
            std::fs::create_dir(&dir).unwrap();
            let orders = Orders { at: (self.place)(&dir).unwrap(), history: dir.join("history") };
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
    drop(orders.at.open().await.unwrap());
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
    if let At::Sqlite(file) = &orders.at {
        assert!(is_intact(file), "{inject}");
    }
    killed
}
