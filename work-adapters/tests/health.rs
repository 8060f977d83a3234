//! When a worker is well.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::time::Duration;

use tokio::time::{Instant, advance};
use work_adapters::health::{HealthStatus, InvalidHealth};
use work_adapters::{Health, HealthLayer};
use work_core::{Args, BoxError, Job, LocalWorker, Router, Status, Worker};

const MINUTE: Duration = Duration::from_secs(60);

async fn ends_with(Args(code): Args<u16>) -> Result<Status, BoxError> {
    if code == 0 { panic!("no such luck") } else { Ok(Status::new(code)?) }
}

/// A worker whose jobs end with the status that they are given.
fn worker(health: &Health) -> LocalWorker {
    LocalWorker::new(Router::new().route("ends", ends_with).layer(HealthLayer::new(health.clone())))
}

async fn perform(worker: &LocalWorker, status: u16, times: usize) {
    for _ in 0..times {
        worker.perform(Job::new("ends", status)).await.unwrap().outcome().await.unwrap();
    }
}

#[tokio::test]
async fn by_count_one_bad_is_up_ten_bad_are_down_and_three_good_are_up_again() {
    let health = Health::by_count(4).minimum(3).allowed_share(0.25).build().unwrap();
    let worker = worker(&health);
    perform(&worker, 500, 1).await;
    assert_eq!(health.status(), HealthStatus::Up, "fewer than the minimum");
    perform(&worker, 500, 10).await;
    assert_eq!(health.status(), HealthStatus::Down);
    perform(&worker, 200, 3).await;
    assert_eq!(health.error_share(), 0.25);
    assert_eq!(health.status(), HealthStatus::Up, "the bound is strict");
}

#[test]
fn the_share_follows_the_last_four() {
    let health = Health::by_count(4).minimum(3).build().unwrap();
    let statuses = [500, 500, 200, 408, 503, 200, 299, 444];
    let shares = statuses.map(|status| {
        health.record(Status::new(status).unwrap());
        (health.error_share() * 1000.0).round()
    });
    assert_eq!(shares, [0.0, 0.0, 667.0, 750.0, 750.0, 500.0, 500.0, 250.0]);
}

#[tokio::test]
async fn only_408_500_503_and_panics_are_errors() {
    for (status, is_error) in
        [(408, true), (500, true), (503, true), (0, true), (400, false), (429, false), (502, false)]
    {
        let health = Health::by_count(1).build().unwrap();
        perform(&worker(&health), status, 1).await;
        assert_eq!(health.status() == HealthStatus::Down, is_error, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn by_time_ten_errors_age_out_exactly_one_window_after_they_came_without_traffic() {
    let health = Health::by_time(15 * MINUTE).build().unwrap();
    let worker = worker(&health);
    // In the middle of a window, however windows may be cut.
    advance(7 * MINUTE).await;
    perform(&worker, 500, 10).await;
    let came = Instant::now();
    assert_eq!(health.status(), HealthStatus::Down);
    advance(15 * MINUTE - Duration::from_nanos(1)).await;
    assert_eq!((health.status(), came.elapsed()), (HealthStatus::Down, 15 * MINUTE - Duration::from_nanos(1)));
    advance(Duration::from_nanos(1)).await;
    assert_eq!(health.status(), HealthStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn by_time_an_error_is_forgotten_at_most_a_thousandth_of_the_window_late() {
    let health = Health::by_time(1000 * MINUTE).minimum(1).allowed_share(0.0).build().unwrap();
    health.record(Status::INTERNAL_ERROR);
    advance(Duration::from_secs(59)).await;
    health.record(Status::SUCCESS);
    advance(1000 * MINUTE - Duration::from_secs(1)).await;
    assert_eq!(health.status(), HealthStatus::Down, "kept together with what came 59 s later");
    advance(Duration::from_secs(1)).await;
    assert_eq!(health.status(), HealthStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn by_time_good_ones_make_up_for_bad_ones() {
    let health = Health::by_time(MINUTE).minimum(4).allowed_share(0.25).build().unwrap();
    let worker = worker(&health);
    perform(&worker, 500, 2).await;
    assert_eq!(health.status(), HealthStatus::Up, "fewer than the minimum");
    perform(&worker, 200, 4).await;
    assert_eq!(health.status(), HealthStatus::Down, "2 of 6");
    perform(&worker, 200, 2).await;
    assert_eq!(health.status(), HealthStatus::Up, "2 of 8");
}

#[tokio::test(start_paused = true)]
async fn all_errors_are_down_by_default() {
    let health = Health::default();
    let worker = worker(&health);
    perform(&worker, 503, 4).await;
    assert_eq!(health.status(), HealthStatus::Up, "too few to say");
    perform(&worker, 503, 1).await;
    assert_eq!(health.status(), HealthStatus::Down);
    advance(5 * MINUTE).await;
    assert_eq!(health.status(), HealthStatus::Up);
}

#[test]
fn what_could_say_nothing_is_refused_with_what_is_accepted() {
    for (builder, error) in [
        (Health::by_count(0), "count 0 is out of range; use 1 to 1000000"),
        (Health::by_time(Duration::ZERO), "time 0ns is out of range; use more than zero"),
        (Health::by_count(4).allowed_share(1.0), "allowed share 1 is out of range; use 0 to less than 1"),
        (Health::by_count(4).allowed_share(f64::NAN), "allowed share NaN is out of range; use 0 to less than 1"),
        (Health::by_count(4).minimum(5), "minimum 5 is never reached by a count of 4; use at most that"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), error);
    }
    assert!(matches!(work_adapters::health::Heartbeat::new(Duration::ZERO), Err(InvalidHealth::Time(_))));
}
