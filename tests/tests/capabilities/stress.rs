//! Nothing panics, is lost or runs twice, whatever happens at once. Each on real threads, and on one thread in an order
//! that a seed decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use work_core::{Accepted, Args, Clock, Job, JobId, LocalWorker, Router, Status, Worker};

use crate::{Meter, millis};

/// A small generator of random numbers: the same seed, the same numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

async fn receivers_stopped_midway(seed: u64, messages: usize) {
    let mut dice = Dice(seed);
    let meter = Meter::default();
    let router = Router::new().route("item", meter.taking(Duration::ZERO));
    let (sender, items) = async_channel::bounded(messages);
    (0..messages).for_each(|n| sender.try_send(n).unwrap());
    let worker = LocalWorker::builder(router).concurrency(8).capacity(64).build().unwrap();
    let mut receivers = Vec::new();
    for _ in 0..10 {
        receivers.push(worker.perform_receive("item", items.clone()).await.unwrap());
    }
    for _ in 0..dice.roll(200) {
        tokio::task::yield_now().await;
    }
    for receiver in &receivers {
        receiver.cancel();
    }
    for receiver in &receivers {
        receiver.ended().await;
    }
    let made: u64 = receivers.iter().map(work_core::Recurring::made).sum();
    worker.stop().await;
    assert_eq!((meter.runs(), meter.cancelled()), (usize::try_from(made).unwrap(), 0), "seed {seed}");
    assert_eq!(meter.runs() + items.len(), messages, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_receivers_stopped_midway_through_ten_thousand_messages() {
    for seed in 0..10 {
        receivers_stopped_midway(seed, 10_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn receivers_stopped_midway_in_the_order_of_a_seed() {
    for seed in 0..300 {
        receivers_stopped_midway(seed, 500).await;
    }
}

#[tokio::test(start_paused = true)]
async fn performed_and_stopped_in_the_order_of_a_seed() {
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let meter = Meter::default();
        let router = Router::new().route("job", meter.taking(millis(dice.roll(3))));
        let worker = LocalWorker::builder(router).concurrency(2).capacity(4).build().unwrap();
        let performers: Vec<_> = (0..4)
            .map(|n| {
                let (worker, pauses) = (worker.clone(), dice.roll(6));
                tokio::spawn(async move {
                    for _ in 0..pauses {
                        tokio::task::yield_now().await;
                    }
                    worker.perform(Job::new("job", n)).await.is_ok()
                })
            })
            .collect();
        for _ in 0..dice.roll(8) {
            tokio::task::yield_now().await;
        }
        worker.stop().await;
        let mut accepted = 0;
        for performer in performers {
            accepted += usize::from(performer.await.unwrap());
        }
        assert_eq!((meter.runs(), meter.now(), meter.cancelled()), (accepted, 0, 0), "seed {seed}");
    }
}

/// How often each accepted job ran.
type Runs = Arc<Mutex<BTreeMap<u64, u32>>>;

/// What became of the jobs of one caller.
#[derive(Default)]
struct Tally {
    accepted: u64,
    ended: BTreeMap<u16, u64>,
}

/// One caller that fills, cancels and lets expire, and checks the end of each of its jobs.
async fn caller(worker: LocalWorker, mut dice: Dice, name: u64, until: impl Fn(u64) -> bool) -> Tally {
    let mut tally = Tally::default();
    let (mut step, clock) = (0, Clock::system());
    while until(step) {
        step += 1;
        let job = Job::new("slow", name << 32 | step).with_id(JobId::new());
        let handle = match dice.roll(4) {
            0 => worker.try_perform(job).ok(),
            1 => worker.perform_in(job, millis(1 + dice.roll(4))).await.ok(),
            2 => worker.perform(job.expires_at(clock.now() + chrono::TimeDelta::milliseconds(1))).await.ok(),
            _ => worker.perform(job).await.ok(),
        };
        let Some(handle) = handle else {
            tokio::task::yield_now().await;
            continue;
        };
        assert_eq!(handle.accepted(), Accepted::New);
        tally.accepted += 1;
        if dice.roll(3) == 0 {
            worker.cancel(handle.id()).await.unwrap();
        }
        let outcome = handle.outcome().await.unwrap();
        *tally.ended.entry(outcome.status().code()).or_default() += 1;
    }
    tally
}

async fn bucket(seed: u64, callers: u64, until: impl Fn(u64) -> bool + Clone + Send + 'static) {
    let runs = Runs::default();
    let counted = runs.clone();
    let handler = move |Args(job): Args<u64>| {
        *counted.lock().unwrap().entry(job).or_default() += 1;
        sleep(Duration::from_micros(job % 7 * 100))
    };
    let worker =
        LocalWorker::builder(Router::new().route("slow", handler)).concurrency(4).capacity(16).build().unwrap();
    let all: Vec<_> = (0..callers)
        .map(|name| tokio::spawn(caller(worker.clone(), Dice(seed * 1_000 + name), name, until.clone())))
        .collect();
    let (mut accepted, mut ended) = (0, BTreeMap::<u16, u64>::new());
    for caller in all {
        let tally = caller.await.unwrap();
        accepted += tally.accepted;
        tally.ended.into_iter().for_each(|(status, n)| *ended.entry(status).or_default() += n);
    }
    let counts = worker.counts();
    worker.stop().await;
    let of = |status: Status| ended.get(&status.code()).copied().unwrap_or_default();
    assert_eq!((counts.submitted, counts.open(), counts.dropped), (accepted, 0, 0), "seed {seed}: {counts:?}");
    assert_eq!(counts.succeeded, of(Status::SUCCESS), "seed {seed}");
    assert_eq!(counts.cancelled, of(Status::CANCELLED), "seed {seed}");
    assert_eq!(counts.expired, of(Status::BAD_REQUEST), "seed {seed}");
    let runs = runs.lock().unwrap();
    assert!(runs.values().all(|times| *times == 1), "seed {seed}: no job ran twice");
    assert!(runs.len() as u64 >= counts.succeeded && runs.len() as u64 <= counts.succeeded + counts.cancelled);
    assert!(worker.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_callers_fill_cancel_and_let_expire_for_ten_seconds() {
    let end = Instant::now() + Duration::from_secs(10);
    bucket(1, 64, move |_| Instant::now() < end).await;
}

#[tokio::test(start_paused = true)]
async fn callers_fill_cancel_and_let_expire_in_the_order_of_a_seed() {
    for seed in 0..50 {
        bucket(seed, 16, |step| step < 20).await;
    }
}
