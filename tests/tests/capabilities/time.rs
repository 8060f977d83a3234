//! Time: due instants, jumps of the clock, a million timers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use work_core::{Args, Clock, Job, LocalWorker, Router, Worker};

use crate::{Meter, millis};

#[tokio::test(start_paused = true)]
async fn ten_thousand_timers_are_never_early_and_run_in_order() {
    let ran = Arc::<Mutex<Vec<(u64, Duration)>>>::default();
    let (seen, start) = (ran.clone(), Instant::now());
    let handler = move |Args(due): Args<u64>| {
        seen.lock().unwrap().push((due, start.elapsed()));
        std::future::ready(())
    };
    let worker = LocalWorker::new(Router::new().route("due", handler));
    for n in 0..10_000_u64 {
        // Scattered over ten seconds, in no order.
        let due = n * 7_919 % 10_000;
        drop(worker.perform_in(Job::new("due", due), Duration::from_micros(due * 1_000 + 1)).await.unwrap());
    }
    sleep(millis(10_010)).await;
    let ran = ran.lock().unwrap();
    assert_eq!(ran.len(), 10_000);
    assert!(ran.iter().all(|(due, at)| *at >= millis(*due) && *at <= millis(*due + 2)));
    assert!(ran.is_sorted_by_key(|(due, _)| *due), "the earliest first");
}

fn noon() -> DateTime<Utc> {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn when_the_clock_jumps_by_hours_nothing_is_lost_or_doubled() {
    let clock = Clock::manual(noon());
    let meter = Meter::default();
    let router = Router::new().route("at", meter.taking(Duration::ZERO)).route("in", meter.taking(Duration::ZERO));
    let worker = LocalWorker::builder(router).clock(clock.clone()).build().unwrap();
    drop(worker.perform_at(Job::new("at", ()), noon() + TimeDelta::hours(2)).await.unwrap());
    drop(worker.perform_in(Job::new("in", ()), Duration::from_secs(60)).await.unwrap());

    clock.set(noon() - TimeDelta::hours(3));
    sleep(Duration::from_secs(50)).await;
    assert_eq!(meter.runs(), 0);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(meter.runs(), 1, "what is due in a minute is due in a minute");

    clock.set(noon() + TimeDelta::hours(5));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(meter.runs(), 2, "what is due at an instant is due at that instant, within two seconds");

    clock.set(noon());
    sleep(Duration::from_secs(100_000)).await;
    assert_eq!((meter.runs(), worker.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_million_jobs_may_be_pending() {
    let meter = Meter::default();
    let worker = LocalWorker::new(Router::new().route("later", meter.taking(Duration::ZERO)));
    for n in 0..1_000_000_u64 {
        let delay = Duration::from_millis(if n % 100 == 0 { 10 } else { 3_600_000 + n });
        drop(worker.perform_in(Job::new("later", n), delay).await.unwrap());
    }
    assert_eq!((worker.len(), worker.counts().delayed), (1_000_000, 1_000_000));
    assert!(worker.try_perform(Job::new("later", 0)).is_err(), "that is the capacity");
    sleep(millis(100)).await;
    assert_eq!((meter.runs(), worker.len()), (10_000, 990_000));
    let mut saved = 0;
    worker.rescue(|_, _| saved += 1);
    assert_eq!((saved, worker.len()), (990_000, 0));
    sleep(Duration::from_secs(10_000)).await;
    assert_eq!(meter.runs(), 10_000);
}
