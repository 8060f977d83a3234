//! Time: due instants, jumps of the clock, a million timers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use work_core::{Args, Clock, Job, LocalWorker, Router, Schedule, Worker};

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
async fn a_schedule_by_wall_time_loses_and_doubles_nothing_when_the_clock_jumps() {
    let clock = Clock::manual(noon());
    let slots = Arc::<Mutex<Vec<DateTime<Utc>>>>::default();
    let (seen, now) = (slots.clone(), clock.clone());
    let handler = move || {
        seen.lock().unwrap().push(now.now());
        std::future::ready(())
    };
    let router = Router::new().route("hourly", handler);
    let worker = LocalWorker::builder(router).clock(clock.clone()).build().unwrap();
    let hourly = Schedule::cron("0 * * * *", "UTC").unwrap();
    let hourly = worker.perform_every(Job::new("hourly", ()), hourly).await.unwrap();
    let to = async |hours: i64, minutes: i64| {
        clock.set(noon() + TimeDelta::hours(hours) + TimeDelta::minutes(minutes));
        sleep(Duration::from_secs(2)).await;
        slots.lock().unwrap().len()
    };
    assert_eq!(to(0, 59).await, 0, "not at once, and not early");
    assert_eq!(to(1, 0).await, 1, "within two seconds");
    assert_eq!(to(1, 30).await, 1);
    assert_eq!(to(5, 10).await, 2, "four slots that were leapt over are one run, and not four");
    assert_eq!(to(2, 50).await, 2);
    assert_eq!(to(3, 0).await, 2, "a slot that comes again is not run again");
    assert_eq!(to(5, 0).await, 2);
    assert_eq!(to(6, 0).await, 3);
    hourly.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_nightly_job_runs_once_where_clocks_are_changed() {
    for (day, half_past_two) in
        [("2026-03-28", ["01:30", "01:00", "00:30"]), ("2026-10-24", ["00:30", "00:30", "01:30"])]
    {
        let start: DateTime<Utc> = format!("{day}T00:00:00Z").parse().unwrap();
        let clock = Clock::tokio(start);
        let slots = Arc::<Mutex<Vec<String>>>::default();
        let (seen, now) = (slots.clone(), clock.clone());
        let handler = move || {
            seen.lock().unwrap().push(now.now().format("%H:%M").to_string());
            std::future::ready(())
        };
        let worker = LocalWorker::builder(Router::new().route("nightly", handler)).clock(clock).build().unwrap();
        let nightly = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
        let nightly = worker.perform_every(Job::new("nightly", ()), nightly).await.unwrap();
        sleep(Duration::from_secs(3 * 24 * 60 * 60)).await;
        nightly.cancel();
        assert_eq!(*slots.lock().unwrap(), half_past_two, "from {day} on");
    }
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
