//! More than one relay on one table.

use std::time::Duration;

use work_core::store::{Inspect, JobFilter};
use work_core::{Args, Clock, QueueWorker, Router, Worker};
use work_sqlite::SqliteStore;
use work_sqlite::outbox::OutboxRow;

use crate::place::{Place, Seen, TABLE, a_while, ids, receiver, receiver_after, relay, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_relays_one_works_and_the_other_follows_when_it_ends() {
    let place = Place::new(TABLE);
    let (first, second) = (Seen::default(), Seen::default());
    let workers = [receiver(&first, |_| 200), receiver(&second, |_| 200)];
    let working = workers[0].perform_receive("hook", place.outbox().open().await.unwrap()).await.unwrap();
    until("leads", || place.number("SELECT count(*) FROM work_outbox_leases", []) == 1).await;
    relay(place.outbox(), &workers[1]).await;
    for _ in 0..100 {
        place.add(Some("a"), "1");
    }
    until("published", || place.pending() == 0).await;
    assert_eq!((ids(&first).len(), ids(&second).len()), (100, 0));
    working.cancel();
    place.add(Some("a"), "1");
    until("published by the other", || place.pending() == 0).await;
    assert_eq!(ids(&second), ["101"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_extends_is_taken_over_at_its_end_and_not_before() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    drop(place.outbox().open().await.unwrap());
    let clock = Clock::manual("2026-03-29T00:59:59Z".parse().unwrap());
    let until_then = clock.now().timestamp_millis() + 10_000;
    let lease = "INSERT OR REPLACE INTO work_outbox_leases VALUES ('outbox', 'n', 'another', 7, ?1)";
    place.user.execute(lease, [until_then]).unwrap();
    place.add(None, "1");
    relay(place.outbox().clock(clock.clone()), &worker).await;
    clock.advance(Duration::from_millis(9_990));
    a_while().await;
    assert!(ids(&seen).is_empty(), "the other may still live");
    clock.advance(Duration::from_millis(20));
    until("published", || place.pending() == 0).await;
    assert_eq!(place.number("SELECT fence FROM work_outbox_leases", []), 8);
    assert_eq!(place.number("SELECT published_at = '2026-03-29T01:00:09.010Z' FROM outbox", []), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_lease_marks_nothing() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    place.add(Some("a"), "1");
    relay(place.outbox(), &worker).await;
    until("delivered", || ids(&seen).len() == 1).await;
    let taken = "UPDATE work_outbox_leases SET owner = 'another', fence = fence + 1, expires_at = expires_at + 60000";
    place.user.execute(taken, []).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((place.pending(), ids(&seen).len()), (1, 1), "that row is the other's now");
    place.user.execute("UPDATE work_outbox_leases SET expires_at = 0", []).unwrap();
    until("published", || place.pending() == 0).await;
    assert_eq!(ids(&seen), ["1", "1"], "at least once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_one_file_have_relays_of_their_own() {
    let place = Place::new(&(TABLE.to_owned() + &TABLE.replace("outbox", "other")));
    let (first, second) = (Seen::default(), Seen::default());
    let workers = [receiver(&first, |_| 200), receiver(&second, |_| 200)];
    place.user.execute_batch("INSERT INTO outbox(key) VALUES ('a'); INSERT INTO other(id) VALUES (5)").unwrap();
    relay(place.outbox(), &workers[0]).await;
    let other = work_sqlite::outbox::SqliteOutbox::builder(place.path(), "OTHER");
    relay(other, &workers[1]).await;
    until("both", || ids(&first) == ["1"] && ids(&second) == ["5"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_locked_for_long_is_waited_for() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    relay(place.outbox(), &worker).await;
    until("leads", || place.number("SELECT count(*) FROM work_outbox_leases", []) == 1).await;
    place.add(Some("a"), "1");
    place.user.execute_batch("BEGIN IMMEDIATE; INSERT INTO outbox(key) VALUES ('b')").unwrap();
    // Longer than any statement waits.
    tokio::time::sleep(Duration::from_secs(6)).await;
    place.user.execute_batch("COMMIT").unwrap();
    until("published", || place.pending() == 0).await;
    let mut got = ids(&seen);
    got.dedup();
    assert_eq!(got, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_delivered_again_finds_its_job_in_the_store() {
    let place = Place::new(TABLE);
    let store = SqliteStore::open(place.path()).await.unwrap();
    let worker = QueueWorker::new(store.clone(), Router::new().route("hook", async |_: Args<OutboxRow>| {}));
    place.add(Some("a"), "1");
    // The lease is looked at often.
    let outbox = place.outbox().lease(Duration::from_millis(300));
    worker.perform_receive("hook", outbox.open().await.unwrap()).await.unwrap();
    let jobs = || place.number("SELECT count(*) FROM jobs", []);
    until("stored", || jobs() == 1).await;
    // As after a crash: nobody knows any more what was delivered.
    for fence in 2..5 {
        place.user.execute("UPDATE work_outbox_leases SET owner = 'another', expires_at = 0", []).unwrap();
        let taken = || place.number("SELECT fence FROM work_outbox_leases WHERE owner <> 'another'", []) == fence;
        let is_there = || place.number("SELECT count(*) FROM work_outbox_leases WHERE owner <> 'another'", []) == 1;
        until("taken", || is_there() && taken()).await;
        a_while().await;
    }
    assert_eq!((jobs(), place.pending()), (1, 1));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
    until("published", || place.pending() == 0).await;
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 1);
    drop(stop);
    running.await.unwrap().unwrap();
}
