//! Rows written by hand: none of them stops the jobs beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::Duration;

use support::{Place, complete, count, in_state, job, lease};
use work_core::store::{ErrorRecord, Inspect, JobFilter, Order, Rescued, Settle, Settled, Settlement, Store};
use work_core::{Job, JobState, Status};

#[tokio::test]
async fn rows_that_are_no_jobs_are_dead_letters_with_the_reason_and_the_queue_goes_on() {
    let place = Place::new();
    let store = place.builder().max_args(1_000).connect().await.unwrap();
    let other = place.other().await;
    let rows = [
        ("kind", "'a b'", "invalid kind name"),
        ("kind", "repeat('x', 1000000)", "invalid kind name"),
        ("kind", "''", "it is empty"),
        ("attempt", "-2147483648", "the next attempt -2147483647 is out of range; use 0 to"),
        ("attempt", "2147483647", "of at most 25"),
        ("attempt", "25", "this would be attempt 26 of at most 25"),
        ("max_attempts", "0", "max_attempts 0"),
        ("max_attempts", "-1", "max_attempts"),
        ("fence", "9223372036854775807", "the next fence 9223372036854775807"),
        ("fence", "-9223372036854775808", "the next fence -9223372036854775807"),
        ("timeout_ms", "-1", "timeout"),
        ("unique_key", "''", "unique key"),
        ("unique_key", "repeat('x', 2000)", "unique key"),
        ("headers", "'{\"a\": \"\\u0007\"}'", "header"),
        ("expires_at", "'-infinity'", "expired"),
        ("args", "convert_to(repeat('x', 1001), 'UTF8')", "args have 1001 bytes; at most 1000 are accepted"),
    ];
    for (column, value, _) in rows {
        let (kind, name) = if column == "kind" { ("", "") } else { ("kind, ", "'bad', ") };
        other.run(&format!("INSERT INTO work.jobs ({kind}{column}) VALUES ({name}{value})")).await.unwrap();
    }
    other.run("INSERT INTO work.jobs (kind, headers) VALUES ('fine', 'no json')").await.unwrap();
    store.insert(vec![job("fine", 1)]).await.unwrap();
    let leases = lease(&store, 100).await.jobs;
    assert_eq!(leases.iter().map(|lease| lease.job.parts.kind.as_str()).collect::<Vec<_>>(), ["fine", "fine"]);
    let dead = in_state(&store, JobState::Discarded).await;
    assert_eq!(dead.len(), rows.len());
    for (job, (column, value, reason)) in dead.iter().zip(rows) {
        let message = &job.last_error().unwrap().message;
        assert!(message.contains(reason), "{column} = {value}: {message}");
    }
    assert_eq!(store.settle(leases.iter().map(complete).collect()).await.unwrap(), [Settled::Done; 2]);
}

#[tokio::test]
async fn one_job_is_found_behind_rows_that_are_none() {
    let place = Place::new();
    let store = place.open().await;
    let rows = "INSERT INTO work.jobs (kind) SELECT 'a b' FROM generate_series(1, 500)";
    place.other().await.run(rows).await.unwrap();
    store.insert(vec![job("fine", 1)]).await.unwrap();
    assert_eq!(lease(&store, 1).await.jobs.len(), 1);
    assert_eq!(count(&store, JobState::Discarded).await, 500);
}

#[tokio::test]
async fn an_impossible_state_or_priority_is_refused_by_the_table() {
    let place = Place::new();
    let _store = place.open().await;
    let other = place.other().await;
    for priority in [-1, 10] {
        let sql = format!("INSERT INTO work.jobs (kind, priority) VALUES ('k', {priority})");
        assert!(other.run(&sql).await.unwrap_err().contains("violates check constraint"));
    }
    for state in ["flying", "completed", "running"] {
        let error =
            other.run(&format!("INSERT INTO work.jobs (kind, state) VALUES ('k', '{state}')")).await.unwrap_err();
        assert!(error.contains("violates check constraint"), "{error}");
    }
}

#[tokio::test]
async fn due_times_at_the_edge_are_now_or_never() {
    let place = Place::new();
    let store = place.open().await;
    for at in ["-infinity", "infinity"] {
        let sql = format!("INSERT INTO work.jobs (kind, scheduled_at, created_at) VALUES ('edge', '{at}', '{at}')");
        place.other().await.run(&sql).await.unwrap();
    }
    let leased = lease(&store, 10).await;
    assert_eq!(leased.jobs.len(), 1);
    assert!(leased.next_due_in.unwrap() > Duration::from_secs(1_000_000_000));
    assert_eq!(store.list(JobFilter::all(), Order::OldestFirst, None, 10).await.unwrap().jobs.len(), 2);
}

#[tokio::test]
async fn a_running_row_written_by_hand_does_not_stop_the_rescue_of_others() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    for row in ["-5, 1, false", "2147483647, 1, false", "0, -2147483648, false", "0, 1, true"] {
        let columns = "kind, state, lease_until, crashes, attempt, cancel_requested";
        let sql = format!("INSERT INTO work.jobs ({columns}) VALUES ('bad', 'running', '2000-01-01', {row})");
        other.run(&sql).await.unwrap();
    }
    assert_eq!(store.rescue(100, 3).await.unwrap(), Rescued { available: 2, discarded: 1 });
    assert_eq!((count(&store, JobState::Running).await, count(&store, JobState::Cancelled).await), (0, 1));
}

#[tokio::test]
async fn a_row_that_waits_for_a_key_and_was_never_due_goes_on() {
    let place = Place::new();
    let store = place.open().await;
    place.other().await.run("INSERT INTO work.jobs (kind, after_key) VALUES ('bad', 'nobody')").await.unwrap();
    store.insert(vec![job("fine", 1)]).await.unwrap();
    store.rescue(100, 3).await.unwrap();
    assert_eq!(lease(&store, 10).await.jobs.len(), 2);
}

#[tokio::test]
async fn a_dead_letter_with_an_impossible_priority_is_retried_with_the_nearest_one() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    other.run("INSERT INTO work.jobs (kind, max_attempts) VALUES ('bad', 0), ('bad', 0)").await.unwrap();
    assert_eq!(lease(&store, 10).await.jobs.len(), 0);
    other
        .run("UPDATE work.history SET priority = -26150 WHERE seq = (SELECT min(seq) FROM work.history)")
        .await
        .unwrap();
    assert_eq!(store.retry_all(JobFilter::all(), 10).await.unwrap(), 2);
}

#[tokio::test]
async fn a_job_ends_although_somebody_wrote_its_id_and_its_key_into_the_history() {
    let place = Place::new();
    let store = place.open().await;
    let held = Job::new("greet", 1).unique(work_core::Unique::while_kept("k")).into_stored(100).unwrap();
    store.insert(vec![held]).await.unwrap();
    let lease = lease(&store, 1).await.jobs.pop().unwrap();
    let copy = "INSERT INTO work.history SELECT seq, scheduled_at, created_at, now(), fence, id, attempt, max_attempts,
        crashes, priority, unique_scope, 200, 'completed', queue, kind, expires_at, timeout_ms, unique_key, headers, args
        FROM work.jobs";
    place.other().await.run(copy).await.unwrap();
    assert_eq!(store.settle(vec![complete(&lease)]).await.unwrap(), [Settled::Done]);
}

#[tokio::test]
async fn texts_that_postgres_does_not_know_are_kept_without_what_it_does_not_know() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(vec![job("greet", 1)]).await.unwrap();
    let mut want = support::want(1);
    want.worker = "a\0b".to_owned();
    let lease = store.lease(want).await.unwrap().jobs.pop().unwrap();
    let error = ErrorRecord::new("a\0b").with_backtrace("c\0d");
    let settlement = Settlement::Discard;
    let failed = Settle { key: lease.key, status: Status::BAD_REQUEST, settlement, error: Some(error), then: vec![] };
    assert_eq!(store.settle(vec![failed]).await.unwrap(), [Settled::Done]);
    let dead = store.get(lease.key.id).await.unwrap().unwrap();
    assert_eq!(dead.last_error().unwrap(), &ErrorRecord::new("a\u{fffd}b").with_backtrace("c\u{fffd}d"));
}

#[tokio::test]
async fn args_that_are_no_text_come_back_as_they_were() {
    let place = Place::new();
    let store = place.open().await;
    let bytes = bytes::Bytes::from_static(b"\xff\0\x01");
    store.insert(vec![Job::from_json("raw", bytes.clone()).into_stored(100).unwrap()]).await.unwrap();
    assert_eq!(lease(&store, 1).await.jobs[0].job.args, bytes);
}

#[tokio::test]
async fn an_on_error_job_that_cannot_be_inserted_holds_up_no_rescue() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    let with_on_error = |n: u32| Job::new("k", n).on_error(Job::new("oops", n));
    store.insert((0..4).map(|n| with_on_error(n).into_stored(1024).unwrap()).collect()).await.unwrap();
    for (n, name) in [(1, "a b"), (2, r"a\\\\u0000b"), (3, r#"\""#)] {
        let at = format!("args = convert_to('{n}', 'UTF8')");
        other
            .run(&format!("UPDATE work.jobs SET headers = replace(headers, 'oops', '{name}') WHERE {at}"))
            .await
            .unwrap();
    }
    assert_eq!(lease(&store, 10).await.jobs.len(), 4);
    other.run("UPDATE work.jobs SET lease_until = now() - '1 s'::interval").await.unwrap();
    assert_eq!(store.rescue(10, 1).await.unwrap(), Rescued { available: 0, discarded: 4 });
    let made = in_state(&store, JobState::Available).await;
    assert_eq!(made.iter().map(|stored| stored.job.parts.kind.as_str()).collect::<Vec<_>>(), ["oops"]);
}
