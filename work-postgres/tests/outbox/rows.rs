//! What becomes of rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use work_core::Worker;
use work_postgres::outbox::{DeadRows, OutboxRow, PostgresOutbox};

use crate::place::{Place, Seen, TABLE, a_while, ids, ids_of, receiver, receiver_after, relay, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rows_are_a_thousand_runs() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    let insert = "INSERT INTO work.outbox(key) SELECT CASE WHEN n % 2 = 0 THEN 'key ' || n % 50 END FROM generate_series(1, 500) n";
    place.run(insert).await;
    let worker = receiver(&seen, |_| 200);
    relay(place.outbox(), &worker).await;
    place.run(insert).await;
    place.until_pending(0).await;
    let ids = ids(&seen);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (1_000, 1_000));
    for n in 0..25 {
        let of = ids_of(&seen, &format!("key {}", n * 2));
        assert!(of.is_sorted() && of.len() == 20, "{of:?}");
    }
    let marked = "SELECT count(*) FROM work.outbox WHERE published_at > now() - interval '5 minutes'
        AND attempts = 1 AND due_at IS NULL AND error IS NULL";
    assert_eq!(place.number(marked).await, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_rolled_back_or_are_not_committed_are_not_seen() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    place.run("BEGIN").await;
    place.add(None, "1").await;
    a_while().await;
    assert!(ids(&seen).is_empty(), "not committed yet");
    place.run("ROLLBACK").await;
    place.run("BEGIN").await;
    place.add(None, "2").await;
    place.run("COMMIT").await;
    place.until_pending(0).await;
    a_while().await;
    assert_eq!(ids(&seen), ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_late_with_a_small_id_is_not_passed_over() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    place.run("INSERT INTO work.outbox(id) OVERRIDING SYSTEM VALUE VALUES (1000), (2000)").await;
    place.until_pending(0).await;
    // As of a transaction that has begun before and is committed after the others.
    place.run("INSERT INTO work.outbox(id) OVERRIDING SYSTEM VALUE VALUES (5), (1500)").await;
    place.until_pending(0).await;
    assert_eq!(ids(&seen).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_decide_between_published_again_and_dead() {
    for (code, fate) in [
        (204, "published"),
        (444, "published"),
        (500, "again"),
        (408, "again"),
        (429, "again"),
        (499, "again"),
        (302, "again"),
        (400, "dead"),
        (409, "dead"),
    ] {
        let (place, seen) = (Place::new(TABLE).await, Seen::default());
        place.add(Some("a"), "1").await;
        place.add(Some("a"), "2").await;
        let worker = receiver(&seen, move |_| code);
        relay(place.outbox().in_flight(8), &worker).await;
        match fate {
            "published" => {
                place.until_pending(0).await;
                assert_eq!(ids(&seen), ["1", "2"], "{code}");
            }
            "again" => {
                until("again", async || ids(&seen).len() >= 3).await;
                assert!(ids(&seen).iter().all(|id| id == "1"), "{code}: the second waits for the first");
                assert_eq!(place.pending().await, 2, "{code}");
            }
            _ => {
                until("dead", async || !place.dead().await.is_empty()).await;
                a_while().await;
                assert_eq!(ids(&seen), ["1"], "{code}: delivered once, and its key is held");
                let dead = place.dead().await;
                assert!(dead[0].1.starts_with(&code.to_string()), "{dead:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_row_holds_its_key_until_somebody_decides() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    for key in ["a", "a", "b"] {
        place.add(Some(key), "1").await;
    }
    let code = Arc::new(AtomicU16::new(400));
    let answer = {
        let code = code.clone();
        move |row: &OutboxRow| if row.id().to_string() == "1" { code.load(Ordering::SeqCst) } else { 200 }
    };
    let worker = receiver(&seen, answer);
    relay(place.outbox(), &worker).await;
    until("dead", async || place.dead().await.len() == 1 && place.pending().await == 2).await;
    a_while().await;
    assert_eq!(
        ids(&seen).into_iter().collect::<BTreeSet<_>>(),
        ["1".into(), "3".into()].into(),
        "the other key goes on"
    );
    // It is delivered again, and this time it is taken.
    code.store(200, Ordering::SeqCst);
    place.run("UPDATE work.outbox SET error = NULL").await;
    place.until_pending(0).await;
    assert_eq!(ids(&seen)[2..], ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_option_a_key_goes_on_without_its_dead_row() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    for payload in ["1", "2", "3"] {
        place.add(Some("a"), payload).await;
    }
    let worker = receiver(&seen, |row| if row.payload_json() == "2" { 400 } else { 200 });
    relay(place.outbox().dead_rows(DeadRows::FreeTheirKey), &worker).await;
    place.until_pending(1).await;
    assert_eq!(ids(&seen), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_fails_holds_up_no_other_and_after_so_many_attempts_a_row_is_dead() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    let insert = "INSERT INTO work.outbox(key) SELECT CASE n % 3 WHEN 0 THEN 'bad' WHEN 1 THEN 'key' || n END
        FROM generate_series(1, 300) n";
    place.run(insert).await;
    let worker = receiver(&seen, |row| if row.key() == Some("bad") { 500 } else { 200 });
    relay(place.outbox().in_flight(4).dead_after(5), &worker).await;
    place.until_pending(100).await;
    until("dead", async || place.dead().await.len() == 1).await;
    assert_eq!(place.dead().await, [("3".into(), "500 internal_error at attempt 5".into())]);
    assert_eq!(ids_of(&seen, "bad"), [3; 5], "the others of its key wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_row_is_seen_soon_after_its_commit_with_the_settings_that_are_the_default() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    let worker = receiver(&seen, |_| 200);
    let outbox = PostgresOutbox::builder(&place.url, "outbox").schema(&place.schema).open().await.unwrap();
    worker.perform_receive("hook", outbox).await.unwrap();
    let mut fastest = Duration::MAX;
    for n in 1..=4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = Instant::now();
        place.add(None, "1").await;
        until("delivered", async || ids(&seen).len() == n).await;
        fastest = fastest.min(before.elapsed());
    }
    assert!(fastest < Duration::from_millis(1_100), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_makes_the_next_look_now() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    let worker = receiver(&seen, |_| 200);
    let outbox = place.outbox().poll_every(Duration::from_secs(3_600)).open().await.unwrap();
    let waker = outbox.waker();
    worker.perform_receive("hook", outbox).await.unwrap();
    // Pauses double, so that by now they are long.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    place.add(None, "1").await;
    waker.wake();
    let took = until("delivered", async || ids(&seen).len() == 1).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_rows_are_in_flight_than_may_be() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    place.run("INSERT INTO work.outbox(key) SELECT NULL FROM generate_series(1, 100)").await;
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    relay(place.outbox().in_flight(10), &worker).await;
    until("some", async || !ids(&seen).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(worker.len() <= 10, "{}", worker.len());
    assert!(place.number("SELECT count(*) FROM work.outbox WHERE attempts > 0").await <= 20);
    place.until_pending(0).await;
    assert_eq!(ids(&seen).len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_else_has_locked_holds_up_no_other() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    for _ in 0..3 {
        place.add(None, "1").await;
    }
    place.run("BEGIN; SELECT FROM work.outbox WHERE id = 2 FOR UPDATE").await;
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    relay(place.outbox(), &worker).await;
    place.until_pending(1).await;
    let sorted = || ids(&seen).into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    assert_eq!(sorted(), ["1", "3"]);
    place.run("COMMIT").await;
    // And one that is locked while it is in flight is marked as soon as it is free.
    until("taken", async || ids(&seen).len() == 3).await;
    place.run("BEGIN; SELECT FROM work.outbox WHERE id = 2 FOR UPDATE").await;
    place.add(None, "1").await;
    place.run("SELECT pg_sleep(0.5)").await;
    place.run("COMMIT").await;
    place.until_pending(0).await;
    assert_eq!((ids(&seen).len(), sorted().len()), (4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_ones_own_with_any_signs_and_all_columns() {
    let place = Place::new(
        r#"CREATE TABLE work."my ""out"" box's"("the id" uuid PRIMARY KEY, "group" integer, "select" json, subject varchar(20),
               extra jsonb, "is done" timestamptz, "not yet" timestamptz, tries bigint NOT NULL DEFAULT 0, "what's wrong" text)"#,
    )
    .await;
    place
        .run(
            r#"INSERT INTO work."my ""out"" box's" VALUES
                ('00000000-0000-7000-8000-000000000001', 5, '{"n": 1}', 'opened', '{"trace": "x"}'),
                ('00000000-0000-7000-8000-000000000002', 5, '[2]', 'closed', '[]')"#,
        )
        .await;
    let rows = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = rows.clone();
    let worker = receiver(&Seen::default(), move |row| {
        noted.lock().unwrap().push(serde_json::to_value(row).unwrap());
        200
    });
    let outbox =
        PostgresOutbox::builder(&place.url, "my \"out\" box's").schema(&place.schema).id("the id").key("group");
    let outbox = outbox.payload("select").topic("subject").headers("extra").published_at("is done").due_at("not yet");
    relay(outbox.attempts("tries").error("what's wrong"), &worker).await;
    let count = async |condition: &str| {
        place.number(&format!(r#"SELECT count(*) FROM work."my ""out"" box's" WHERE {condition}"#)).await
    };
    until("both", async || {
        count(r#""is done" > '2020-1-1'"#).await == 1 && count(r#""what's wrong" LIKE 'the headers%'"#).await == 1
    })
    .await;
    let expected = serde_json::json!({
        "id": "00000000-0000-7000-8000-000000000001", "key": "5", "topic": "opened", "headers": {"trace": "x"}, "payload": {"n": 1},
    });
    assert_eq!(rows.lock().unwrap().as_slice(), [expected]);
    // Corrected, and delivered.
    place.run(r#"UPDATE work."my ""out"" box's" SET extra = NULL, "what's wrong" = NULL"#).await;
    until("both", async || count(r#""is done" IS NOT NULL"#).await == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_no_job_is_dead_with_the_reason_and_the_others_go_on() {
    let ddl = TABLE.replace("jsonb NOT NULL DEFAULT '{}'", "text");
    let (place, seen) = (Place::new(&ddl).await, Seen::default());
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let deep = "[".repeat(64) + &"]".repeat(64);
    let sql = format!("INSERT INTO {}.outbox(payload) VALUES ($1)", place.schema);
    for payload in [None, Some("{"), Some(""), Some(&long), Some(&deep), Some("7")] {
        place.user.client.execute(&sql, &[&payload]).await.unwrap();
    }
    place.run("UPDATE work.outbox SET attempts = 2147483647 WHERE id = 6").await;
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    until("dead", async || place.dead().await.len() == 5 && place.pending().await == 5).await;
    let reasons = place.dead().await;
    for (at, start) in [
        "the payload is NULL",
        "the payload is not JSON",
        "the payload is not JSON",
        "the row has 1000002 bytes; at most 1000000",
        "the payload is nested 64 deep; at most 63",
    ]
    .iter()
    .enumerate()
    {
        assert!(reasons[at].1.starts_with(start), "{start}: {:?}", reasons[at]);
    }
    assert_eq!(ids(&seen), ["6"]);
}
