//! What handlers get, say and return.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use work_core::store::{Inspect, MemoryStore, Settlement, StoredJob};
use work_core::{
    Args, Backoff, Context, Job, JobState, Json, MAX_BACKOFF, Outcome, QueueWorker, RetryPolicy, Router, Status, Worker,
};
use work_sqlite::SqliteStore;
use work_tests::script::Place;

use crate::table::{Case, Table};

/// A store of each sort that there is here.
async fn stores(dir: &tempfile::TempDir) -> Vec<Arc<dyn Inspect>> {
    let file = SqliteStore::open(dir.path().join("jobs.db")).await.unwrap();
    let mut stores: Vec<Arc<dyn Inspect>> = vec![Arc::new(MemoryStore::new()), Arc::new(file)];
    if let Some(place) = Place::postgres() {
        stores.push(place.open(None).await);
    }
    stores
}

/// Performs these jobs until each of them has ended for good.
async fn ended(store: Arc<dyn Inspect>, router: Router, jobs: Vec<Job>) -> Vec<StoredJob> {
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::ZERO));
    let worker = QueueWorker::builder(store, router).retry(retry).max_output(1_000).build().unwrap();
    let handles = worker.perform_many(jobs).await.unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let mut stored = Vec::new();
    for handle in handles {
        let id = handle.id();
        let outcome = tokio::time::timeout(Duration::from_secs(30), handle.outcome()).await;
        assert!(outcome.is_ok(), "job {id} does not end");
        stored.push(worker.store().get(id).await.unwrap().unwrap());
    }
    running.abort();
    stored
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what is decoded is not looked at")]
struct Bill {
    lines: u32,
    price: f64,
}

/// What is stored, and what serde says of it.
const STRANGE: [(&str, &str, &str); 10] = [
    ("no args", "", "EOF"),
    ("no JSON", "{", "EOF"),
    ("NUL", "\0", "expected value"),
    ("null", "null", "null"),
    ("a field that is missing", r#"{"lines":1}"#, "missing field `price`"),
    ("a field that is there twice", r#"{"lines":1,"lines":2,"price":1}"#, "duplicate field `lines`"),
    ("half a character", r#"{"lines":"\ud800"}"#, "line 1 column"),
    ("a number that is too large", r#"{"lines":1,"price":1e400}"#, "number out of range"),
    ("a number that is not whole", r#"{"lines":1.5,"price":1}"#, "1.5"),
    ("more after the end", r#"{"lines":1,"price":1} {}"#, "trailing characters"),
];

#[tokio::test]
async fn args_that_a_handler_cannot_take_make_a_dead_letter_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let router =
        || Router::new().route("bill", async |Args(_): Args<Bill>| {}).route("text", async |Args(_): Args<u8>| {});
    let mut before: Option<Vec<String>> = None;
    for store in stores(&dir).await {
        let jobs = STRANGE.iter().map(|(_, args, _)| Job::from_json("bill", *args));
        let long = format!("\"{}\"", "x".repeat(500_000));
        let extra = r#"{"lines":1,"price":1,"new":true}"#;
        let jobs = jobs.chain([Job::from_json("text", long), Job::from_json("bill", extra)]).collect();
        let mut ended = ended(store, router(), jobs).await;
        let newer = ended.pop().unwrap();
        assert_eq!(newer.state, JobState::Completed, "a field that is not known is no harm");
        assert!(ended.iter().all(|job| job.state == JobState::Discarded && job.status == Some(Status::BAD_REQUEST)));
        let said: Vec<String> = ended.iter().map(|job| job.last_error().unwrap().message.clone()).collect();
        assert!(before.as_ref().is_none_or(|before| *before == said), "every store keeps the same");
        before = Some(said);
    }
    let mut table = Table::of("args_of_handlers");
    let long = ("500,000 characters", "", "string \"xxxx");
    for ((what, _, shown), said) in STRANGE.into_iter().chain([long]).zip(before.unwrap()) {
        table.says(Case(13, what, shown), &said);
    }
    table.stays();
}

#[tokio::test]
async fn texts_that_stores_might_change_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let texts = [
        r#""\u0000 \uffff 😀 \ud83d\ude00""#,
        "[18446744073709551615, 9007199254740993, -0.0, 1e400, 1E-400]",
        r#"{"a":1,"a":2, "b" : [ ] }"#,
        "\u{feff}[]",
        "\r\n[1]\t",
    ];
    for store in stores(&dir).await {
        let worker = QueueWorker::new(store, Router::new().route("raw", async || {}));
        for text in texts {
            let id = worker.perform(Job::from_json("raw", text)).await.unwrap().id();
            assert_eq!(worker.store().get(id).await.unwrap().unwrap().job.args, text);
        }
    }
    let mut table = Table::of("args_kept");
    for text in texts {
        let said = Case(12, &format!("{text:?}"), "it comes back byte for byte from every store");
        table.accepted(said, async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    table.stays();
}

async fn keys() -> Json<HashMap<(u8, u8), u8>> {
    Json(HashMap::from([((1, 2), 3)]))
}

async fn infinite() -> Json<Vec<f64>> {
    Json(vec![1.0, f64::INFINITY])
}

async fn large() -> Json<String> {
    Json("x".repeat(1_000))
}

async fn loud() -> Result<(), String> {
    Err("\u{1b}[31mfailed: ".to_owned() + &"x".repeat(50 * 1024 * 1024))
}

async fn panics() {
    std::panic::panic_any(7_u8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_says_or_returns_beyond_reason_is_cut_or_refused_and_never_tried_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let router = || {
        let router = Router::new().route("keys", keys).route("infinite", infinite).route("large", large);
        router.route("loud", loud).route("panics", panics)
    };
    let kinds = ["keys", "infinite", "large", "loud", "panics"];
    let mut before: Option<Vec<String>> = None;
    for store in stores(&dir).await {
        let jobs = kinds.iter().map(|kind| Job::new(*kind, ()).max_attempts(2)).collect();
        let ended = ended(store, router(), jobs).await;
        assert!(ended.iter().all(|job| job.state == JobState::Discarded && job.status == Some(Status::INTERNAL_ERROR)));
        let said: Vec<String> = ended.iter().map(|job| job.last_error().unwrap().message.clone()).collect();
        assert!(before.as_ref().is_none_or(|before| *before == said), "every store keeps the same");
        before = Some(said);
    }
    let said = before.unwrap();
    let mut table = Table::of("handlers");
    table.says(Case(36, "an output whose keys are no texts", "key must be a string"), &said[0]);
    table.says(Case(36, "an output that is infinite", "inf at 1"), &said[1]);
    table.says(Case(36, "an output that is too large", "1002 bytes"), &said[2]);
    let cut = said[3].split_once('…').unwrap();
    assert!(said[3].len() < 8 * 1024 + 100 && cut.0.starts_with("\u{1b}[31mfailed: xxx"));
    table.says(Case(35, "an error of 50 MiB", "52428813 bytes"), cut.1);
    table.says(Case(35, "a panic without a text", "has no text"), &said[4]);
    table.stays();
}

#[tokio::test]
async fn delays_and_progress_beyond_reason_are_cut_off_as_is_written() {
    let mut table = Table::of("delays");
    let now = chrono::DateTime::UNIX_EPOCH;
    let day = MAX_BACKOFF;
    for (what, backoff, least) in [
        ("no number as a factor", Backoff::exponential(Duration::from_secs(1), f64::NAN), Duration::ZERO),
        ("a negative factor", Backoff::exponential(Duration::from_secs(1), -5.0), Duration::ZERO),
        ("an infinite factor", Backoff::exponential(Duration::from_secs(1), f64::INFINITY), Duration::ZERO),
        ("no number as jitter", Backoff::constant(Duration::MAX).jitter(f64::NAN), day),
        ("an infinite jitter", Backoff::constant(Duration::from_secs(1)).jitter(f64::INFINITY), Duration::ZERO),
        ("584,942,417,355 years", Backoff::constant(Duration::MAX).cap(Duration::MAX), day),
    ] {
        for attempt in [0, 2, 1_000, u32::MAX] {
            let delay = backoff.delay(attempt);
            assert!(delay >= least.min(day) && delay <= day, "{what}: {delay:?} after attempt {attempt}");
        }
        let said = Case(33, what, "from zero to a day");
        table.accepted(said, async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    let ten_years = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    let policy = RetryPolicy::default();
    let snooze = policy.decide(&Outcome::snooze(Duration::MAX), 1, 2, now);
    assert_eq!(snooze, Settlement::Snooze { at: now + ten_years });
    let later = Outcome::done().with_directive(work_core::Directive::RetryAfter(Duration::MAX));
    assert_eq!(policy.decide(&later, 1, 2, now), Settlement::Retry { at: now + ten_years });
    for what in ["snoozed for ever", "to be retried after all time"] {
        let said = Case(34, what, "in ten years");
        table.accepted(said, async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    let context = Context::new();
    for (given, kept) in [(1.5, 1.0), (f32::NAN, 1.0), (f32::NEG_INFINITY, 0.0), (f32::INFINITY, 1.0)] {
        context.set_progress(given);
        assert_eq!(context.progress(), Some(kept));
        let what = format!("a progress of {given}");
        let said = Case(37, &what, if given.is_nan() { "ignored" } else { "cut off at 0 or 1" });
        table.accepted(said, async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    table.stays();
}
