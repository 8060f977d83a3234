//! The group commit and those who wait for jobs, in thousands of the orders in which their steps can come.
//!
//! The sources are those of the store, compiled a second time against [`sync`]; only what a transaction does is a model. A
//! scheduler chooses by a seed; a deadlock is found by there being nobody left to go on. `WORK_SCHEDULES=100000` looks at more
//! of them, `WORK_SEED=7` begins with another one.

#![allow(dead_code, clippy::duplicate_mod, reason = "the parts are compiled again, and not all of each is used")]

#[path = "../arrivals.rs"]
mod arrivals;
#[path = "../group.rs"]
mod group;
mod sync;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use tokio::sync::{mpsc, oneshot};
use work_core::StoreError;

use crate::error::{Failed, Phase, failure};
use arrivals::Arrivals;
use group::{Asked, Commits};
use sync::{AtomicBool, Ordering, point};

/// What a store keeps: numbers.
#[derive(Default)]
struct Disk {
    kept: Mutex<BTreeSet<u32>>,
    /// Whose commit failed in a way that says nothing about it.
    unknown: Mutex<BTreeSet<u32>>,
    /// Who was answered.
    answered: Mutex<Vec<u32>>,
}

struct Put {
    number: u32,
    rows: usize,
    /// Fails whenever it runs.
    bad: bool,
    disk: Arc<Disk>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl Asked for Put {
    fn rows(&self) -> usize {
        self.rows
    }

    fn answer(self, result: Result<(), StoreError>) {
        point();
        self.disk.answered.lock().unwrap().push(self.number);
        let _ = self.reply.send(result);
    }
}

/// As the thread that writes, with a disk that fails now and then.
struct Model {
    disk: Arc<Disk>,
    arrivals: Arc<Arrivals>,
    /// Another process has written, and nobody has looked.
    written: Arc<AtomicBool>,
}

impl Commits for Model {
    type Request = Put;

    fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    fn transaction(&mut self, requests: &mut [Put]) -> Result<(), Failed> {
        let failed = |phase, at| Failed { phase, at, error: failure(rusqlite::ffi::SQLITE_IOERR, &"by lot") };
        let lot = thread_rng().gen_range(0..12);
        if lot == 0 {
            return Err(failed(Phase::Begin, 0));
        }
        for (at, request) in requests.iter().enumerate() {
            point();
            self.arrivals.made_available();
            if request.bad {
                self.arrivals.forget_changes();
                return Err(failed(Phase::Run, at));
            }
        }
        let numbers = requests.iter().map(|request| request.number);
        if lot == 1 {
            self.arrivals.forget_changes();
            self.disk.unknown.lock().unwrap().extend(numbers);
            return Err(failed(Phase::Commit, 0));
        }
        self.disk.kept.lock().unwrap().extend(numbers);
        Ok(())
    }

    fn look(&mut self) {
        if self.written.swap(false, Ordering::SeqCst) {
            self.arrivals.wake();
        }
    }

    fn rest(&mut self) {}
}

impl Disk {
    /// An answer says what is so.
    fn check(&self, number: u32, bad: bool, answer: Result<(), StoreError>) {
        let (kept, unknown) = (self.kept.lock().unwrap().contains(&number), self.unknown.lock().unwrap());
        match answer {
            Ok(()) => assert!(kept && !bad, "{number} was accepted, and is not there"),
            Err(error) if error.is_unknown() => assert!(unknown.contains(&number), "{number} was not even tried"),
            Err(_) => assert!(!kept, "{number} was refused, and is there"),
        }
    }
}

/// Two callers who wait for each of their answers, and one who goes away; then all senders are gone.
fn commits() {
    let (disk, arrivals) = (Arc::new(Disk::default()), Arc::new(Arrivals::new()));
    let (sender, requests) = mpsc::channel(2);
    let mut model = Model { disk: disk.clone(), arrivals, written: Arc::default() };
    let writer = shuttle::thread::spawn(move || group::run(&mut model, requests));
    let callers = (0..3).map(|caller| {
        let (sender, disk) = (sender.clone(), disk.clone());
        spawn(async move {
            for n in 0..2 {
                let (reply, answer) = oneshot::channel();
                let (number, bad) = (caller * 10 + n, thread_rng().gen_ratio(1, 5));
                let rows = if thread_rng().gen_ratio(1, 5) { 30_000 } else { 1 };
                point();
                assert!(
                    sender.send(Put { number, rows, bad, disk: disk.clone(), reply }).await.is_ok(),
                    "the thread went away"
                );
                if caller == 2 && thread_rng().gen_bool(0.5) {
                    continue;
                }
                disk.check(number, bad, answer.await.expect("every request is answered"));
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    drop(sender);
    block_on(async move {
        for caller in callers {
            caller.await.unwrap();
        }
    });
    writer.join().expect("it ends with the last sender");
    let mut answered = disk.answered.lock().unwrap().clone();
    answered.sort_unstable();
    assert_eq!(
        answered,
        [0, 1, 10, 11, 20, 21],
        "each that was handed over is answered, also who does not wait for it"
    );
}

/// One who waits for jobs, of this process or of another one, as a runner does: it registers, looks, and then waits.
fn arrivals_are_seen() {
    let (disk, arrivals) = (Arc::new(Disk::default()), Arc::new(Arrivals::new()));
    let (sender, requests) = mpsc::channel::<Put>(2);
    let written = Arc::new(AtomicBool::new(false));
    let mut model = Model { disk: disk.clone(), arrivals: arrivals.clone(), written: written.clone() };
    let writer = shuttle::thread::spawn(move || group::run(&mut model, requests));
    let other = Arc::new(AtomicBool::new(false));
    let other_process = {
        let (written, other) = (written, other.clone());
        shuttle::thread::spawn(move || {
            other.store(true, Ordering::SeqCst);
            written.store(true, Ordering::SeqCst);
        })
    };
    let of_caller = disk.clone();
    let caller = spawn(async move {
        // What fails is asked again, as an insert whose answer is unknown is.
        for number in 0.. {
            let (reply, answer) = oneshot::channel();
            point();
            assert!(sender.send(Put { number, rows: 1, bad: false, disk: of_caller.clone(), reply }).await.is_ok());
            if answer.await.expect("an answer").is_ok() {
                break;
            }
        }
        sender
    });
    let sender = block_on(async {
        loop {
            let mut arrival = Box::pin(arrivals.arrival());
            let told = (&mut arrival).now_or_never().is_some();
            let seen = !disk.kept.lock().unwrap().is_empty() && other.load(Ordering::SeqCst);
            if seen {
                break;
            }
            if !told {
                arrival.await;
            }
            yield_now().await;
        }
        caller.await.unwrap()
    });
    other_process.join().unwrap();
    drop(sender);
    writer.join().expect("it ends with the last sender");
}

fn explore(name: &str, schedules: usize, model: fn()) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("WORK_SEED").unwrap_or(1);
    let schedules = number("WORK_SCHEDULES").map_or(schedules, |given| usize::try_from(given).unwrap_or(usize::MAX));
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    eprintln!("{name}: {schedules} schedules from seed {seed}");
    let by_lot = shuttle::scheduler::RandomScheduler::new_from_seed(seed, schedules);
    shuttle::Runner::new(by_lot, config.clone()).run(model);
    let seldom = shuttle::scheduler::PctScheduler::new_from_seed(seed, 3, schedules);
    shuttle::Runner::new(seldom, config).run(model);
}

#[test]
fn each_request_is_answered_once_and_truly_in_any_order_of_steps() {
    explore("commits", 3_000, commits);
}

#[test]
fn who_waits_for_jobs_is_told_of_them_in_any_order_of_steps() {
    explore("arrivals", 3_000, arrivals_are_seen);
}
