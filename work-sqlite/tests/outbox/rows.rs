//! What becomes of a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use work_core::Worker;
use work_sqlite::outbox::{DeadRows, OutboxRow, SqliteOutbox};

use crate::place::{Place, Seen, TABLE, a_while, ids, receiver, receiver_after, relay, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_row_is_delivered_once_and_marked() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    relay(place.outbox(), &worker).await;
    place.user.execute_batch("BEGIN IMMEDIATE; INSERT INTO outbox(key) VALUES ('a'); ROLLBACK").unwrap();
    place.user.execute_batch("BEGIN IMMEDIATE; INSERT INTO outbox(key) VALUES ('b')").unwrap();
    a_while().await;
    assert!(ids(&seen).is_empty(), "nothing was committed");
    place.user.execute_batch("COMMIT").unwrap();
    until("published", || place.pending() == 0).await;
    a_while().await;
    assert_eq!(seen.lock().unwrap().as_slice(), [("1".into(), Some("b".into()))]);
    let like_a_time = "SELECT count(*) FROM outbox WHERE published_at GLOB '20??-??-??T??:??:??.???Z'";
    assert_eq!(place.number(like_a_time, []), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_table_costs_no_job_and_no_write() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    relay(place.outbox(), &worker).await;
    // The lease is taken.
    until("leads", || place.number("SELECT count(*) FROM work_outbox_leases", []) == 1).await;
    let version = || place.number("PRAGMA data_version", []);
    let before = version();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(version(), before, "an idle relay writes only to extend its lease");
    assert!(ids(&seen).is_empty());
    assert_eq!(worker.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_decide_between_published_again_and_dead() {
    for (code, fate) in [
        (200, "published"),
        (204, "published"),
        (444, "published"),
        (500, "again"),
        (503, "again"),
        (408, "again"),
        (429, "again"),
        (499, "again"),
        (302, "again"),
        (400, "dead"),
        (404, "dead"),
        (409, "dead"),
    ] {
        let (place, seen) = (Place::new(TABLE), Seen::default());
        let worker = receiver(&seen, move |_| code);
        place.add(Some("a"), "1");
        place.add(Some("a"), "2");
        relay(place.outbox(), &worker).await;
        match fate {
            "published" => {
                until("published", || place.pending() == 0).await;
                assert_eq!(ids(&seen), ["1", "2"], "{code}");
            }
            "again" => {
                until("again", || ids(&seen).len() >= 3).await;
                assert!(ids(&seen).iter().all(|id| id == "1"), "{code}: the second waits for the first");
                assert_eq!(place.pending(), 2, "{code}");
            }
            _ => {
                until("dead", || !place.dead().is_empty()).await;
                assert_eq!(ids(&seen), ["1"], "{code}: delivered once");
                assert!(place.dead()[0].1.starts_with(&code.to_string()), "{:?}", place.dead());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_row_holds_its_key_until_somebody_decides() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for key in ["a", "a", "b"] {
        place.add(Some(key), "1");
    }
    let code = Arc::new(AtomicU16::new(400));
    let answer = {
        let code = code.clone();
        move |row: &OutboxRow| if row.id().to_string() == "1" { code.load(Ordering::SeqCst) } else { 200 }
    };
    let worker = receiver(&seen, answer);
    relay(place.outbox(), &worker).await;
    until("dead", || place.dead().len() == 1 && place.pending() == 2).await;
    place.add(Some("a"), "2");
    a_while().await;
    let mut delivered = ids(&seen);
    delivered.sort();
    assert_eq!(delivered, ["1", "3"], "the other key goes on");
    // It is delivered again, and this time it is taken.
    code.store(200, Ordering::SeqCst);
    place.user.execute("DELETE FROM work_outbox_dead", []).unwrap();
    until("published", || place.pending() == 0).await;
    assert_eq!(ids(&seen)[2..], ["1", "2", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_row_that_is_given_up_frees_its_key_and_its_id() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    place.add(Some("a"), "1");
    place.add(Some("a"), "2");
    let worker = receiver(&seen, |row| if row.payload_json() == "1" { 422 } else { 200 });
    relay(place.outbox(), &worker).await;
    until("dead", || place.dead().len() == 1).await;
    place.user.execute("DELETE FROM outbox WHERE id = 1", []).unwrap();
    until("published", || place.pending() == 0).await;
    // The same id once more, which SQLite allows.
    until("forgotten", || place.dead().is_empty()).await;
    place.user.execute("INSERT INTO outbox(id, key, payload) VALUES (1, 'a', '3')", []).unwrap();
    until("published", || place.pending() == 0).await;
    assert_eq!(ids(&seen), ["1", "2", "1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_option_a_key_goes_on_without_its_dead_row() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for payload in ["1", "no json", "3"] {
        place.add(Some("a"), payload);
    }
    let worker = receiver(&seen, |row| if row.payload_json() == "1" { 400 } else { 200 });
    relay(place.outbox().dead_rows(DeadRows::FreeTheirKey), &worker).await;
    until("the last", || place.pending() == 2).await;
    assert_eq!(ids(&seen), ["1", "3"]);
    let dead = place.dead();
    assert_eq!(dead.len(), 2);
    assert!(dead[1].1.starts_with("the payload is not JSON"), "{dead:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_so_many_failures_a_row_is_dead_but_not_after_rate_limits() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    place.add(None, "1");
    place.add(None, "2");
    let worker = receiver(&seen, |row| if row.payload_json() == "1" { 500 } else { 429 });
    relay(place.outbox().dead_after(3), &worker).await;
    until("dead", || place.dead().len() == 1).await;
    assert_eq!(place.dead()[0], ("1".into(), "500 internal_error after 3 failures".into()));
    until("again", || ids(&seen).iter().filter(|id| *id == "2").count() > 5).await;
    assert_eq!(ids(&seen).iter().filter(|id| *id == "1").count(), 3);
    assert_eq!(place.dead().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_fails_holds_up_no_other() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for n in 0..200 {
        place.add(Some("bad"), "1");
        place.add(Some(&format!("key {}", n % 7)), "1");
        place.add(None, "1");
    }
    let worker = receiver(&seen, |row| if row.key() == Some("bad") { 500 } else { 200 });
    relay(place.outbox().in_flight(4), &worker).await;
    until("the others", || place.pending() == 200).await;
    assert_eq!(place.number("SELECT count(*) FROM outbox WHERE published_at IS NULL AND key = 'bad'", []), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_rows_are_in_flight_than_may_be() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for _ in 0..100 {
        place.add(None, "1");
    }
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    relay(place.outbox().in_flight(10), &worker).await;
    until("some", || !ids(&seen).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ids(&seen).len() <= 20 && worker.len() <= 10, "{} of {}", worker.len(), ids(&seen).len());
    until("published", || place.pending() == 0).await;
    assert_eq!(ids(&seen).len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_row_is_seen_soon_after_its_commit() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    let outbox = place.outbox().poll_every(Duration::from_secs(60)).open().await.unwrap();
    let waker = outbox.waker();
    worker.perform_receive("hook", outbox).await.unwrap();
    a_while().await;
    let (mut seen_after, mut woken_after) = (Duration::MAX, Duration::MAX);
    for n in 0..10 {
        let before = Instant::now();
        place.add(None, "1");
        if n % 2 == 0 {
            waker.wake();
        }
        until("delivered", || ids(&seen).len() == n + 1).await;
        let fastest = if n % 2 == 0 { &mut woken_after } else { &mut seen_after };
        *fastest = (*fastest).min(before.elapsed());
    }
    assert!(seen_after < Duration::from_secs(1), "{seen_after:?}");
    assert!(woken_after < Duration::from_millis(500), "{woken_after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_late_with_a_small_id_is_not_passed_over() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    let worker = receiver(&seen, |_| 200);
    place.user.execute_batch("INSERT INTO outbox(id) VALUES (1000), (2000)").unwrap();
    relay(place.outbox().poll_every(Duration::from_secs(60)), &worker).await;
    until("published", || place.pending() == 0).await;
    place.user.execute_batch("INSERT INTO outbox(id) VALUES (-5), (7)").unwrap();
    until("published", || place.pending() == 0).await;
    assert_eq!(ids(&seen).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_ones_own_with_any_signs_and_all_columns() {
    let place = Place::new(
        r#"CREATE TABLE "my ""out"" box's"("the id" TEXT NOT NULL PRIMARY KEY, "group" INTEGER, "select" BLOB, subject TEXT,
               extra TEXT, "is done" BOOLEAN NOT NULL DEFAULT 0, "what's wrong" TEXT)"#,
    );
    let insert = r#"INSERT INTO "my ""out"" box's" VALUES (?1, ?2, ?3, ?4, ?5, 0, NULL)"#;
    place.user.execute(insert, ("a1", 5, r#"{"n": 1}"#, "opened", r#"{"trace": "x"}"#)).unwrap();
    place.user.execute(insert, ("a2", 5, "[2]", "closed", "[]")).unwrap();
    let rows = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = rows.clone();
    let worker = receiver(&Seen::default(), move |row| {
        noted.lock().unwrap().push(serde_json::to_value(row).unwrap());
        200
    });
    let outbox = SqliteOutbox::builder(place.path(), "my \"out\" box's").id("the id").key("group").payload("select");
    let outbox = outbox.topic("subject").headers("extra").published("is done").error("what's wrong");
    relay(outbox, &worker).await;
    let count =
        |condition: &str| place.number(&format!(r#"SELECT count(*) FROM "my ""out"" box's" WHERE {condition}"#), []);
    until("both", || count(r#""is done" = 1"#) == 1 && count(r#""what's wrong" LIKE 'the headers%'"#) == 1).await;
    let expected = serde_json::json!({
        "id": "a1", "key": "5", "topic": "opened", "headers": {"trace": "x"}, "payload": {"n": 1},
    });
    assert_eq!(rows.lock().unwrap().as_slice(), [expected]);
    // Corrected, and delivered.
    place.user.execute(r#"UPDATE "my ""out"" box's" SET extra = NULL, "what's wrong" = NULL"#, []).unwrap();
    until("both", || count(r#""is done" = 1"#) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_no_job_is_dead_with_the_reason_and_the_others_go_on() {
    let place = Place::new("CREATE TABLE outbox(id INTEGER PRIMARY KEY, key, payload, published_at INTEGER)");
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let deep = "[".repeat(64) + &"]".repeat(64);
    for payload in [None, Some("{"), Some(""), Some(&long), Some(&deep), Some("7")] {
        place.user.execute("INSERT INTO outbox(key, payload) VALUES (x'ff00', ?1)", [payload]).unwrap();
    }
    place.user.execute("UPDATE outbox SET key = NULL WHERE id <> 6", []).unwrap();
    place
        .user
        .execute_batch(
            "INSERT INTO outbox(key, payload) VALUES (1.5, x'ff'), (2, '{\"a\":1}'), (CAST(x'61ff' AS TEXT), '1')",
        )
        .unwrap();
    let seen = Seen::default();
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    until("dead", || place.dead().len() == 8 && place.pending() == 8).await;
    let reasons = place.dead();
    for (id, start) in [
        ("1", "the payload is NULL"),
        ("2", "the payload is not JSON"),
        ("3", "the payload is not JSON"),
        ("4", "the row has 1000002 bytes; at most 1000000"),
        ("5", "the payload is nested 64 deep; at most 63"),
        ("6", "the key is not UTF-8"),
        ("7", "the payload is not UTF-8"),
        ("9", "the key is not UTF-8"),
    ] {
        assert!(reasons.iter().any(|(dead, why)| dead == id && why.starts_with(start)), "{id} {start}: {reasons:?}");
    }
    assert_eq!(ids(&seen), ["8"]);
    assert_eq!(place.number("SELECT published_at > 1700000000000 FROM outbox WHERE id = 8", []), 1, "milliseconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_dropped_marks_what_it_delivered_and_ends_its_thread() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for _ in 0..50 {
        place.add(None, "1");
    }
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    let outbox = place.outbox().in_flight(20).open().await.unwrap();
    let receiving = worker.perform_receive("hook", outbox).await.unwrap();
    until("some", || ids(&seen).len() == 20).await;
    receiving.cancel();
    receiving.ended().await;
    let free = "SELECT count(*) FROM work_outbox_leases WHERE expires_at = 0";
    until("given back", || place.number(free, []) == 1).await;
    assert_eq!(place.pending(), 30, "those in flight were waited for");
    assert_eq!(ids(&seen).len(), 20);
}
