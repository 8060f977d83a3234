//! Jobs that no worker takes, one at a time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use work_core::store::{Inspect, JobFilter, MemoryStore, Order};
use work_core::{Clock, Job, JobState, LocalWorker, OnConflict, QueueWorker, Router, Unique, Worker};
use work_sqlite::SqliteStore;

use crate::table::{Case, Table};

pub(crate) fn job() -> Job {
    Job::new("known", ())
}

pub(crate) fn router() -> Router {
    Router::new().route("known", async || {}).route("other", async || {})
}

fn deep(levels: usize) -> serde_json::Value {
    (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
}

fn names() -> Vec<(Case<'static>, Job)> {
    let queue = |name: &str| job().queue(name.to_owned());
    vec![
        (Case(1, "a queue of no name", "\"\""), queue("")),
        (Case(1, "a kind of no name", "\"\""), Job::new("", ())),
        (Case(2, "a queue of 64 characters", "qqqq"), queue(&"q".repeat(64))),
        (Case(2, "a queue of 10,000 characters", "10000 bytes"), queue(&"q".repeat(10_000))),
        (Case(2, "a kind of 10,000 overrides", "\\u{202e}"), Job::new("\u{202e}".repeat(10_000), ())),
        (Case(3, "a queue with NUL", "U+0000 at byte 1"), queue("a\0b")),
        (Case(3, "a queue with a line end", "U+000A at byte 1"), queue("a\nb")),
        (Case(3, "a queue with an escape", "U+001B at byte 0"), queue("\u{1b}[31m")),
        (Case(3, "a queue written from right to left", "U+202E at byte 1"), queue("a\u{202e}b")),
        (Case(3, "a kind with a space", "\"a b\""), Job::new("a b", ())),
        (Case(4, "a queue that is SQL", "DROP TABLE jobs;--"), queue("a\"; DROP TABLE jobs;--")),
        (Case(4, "a queue that is more SQL", "a' OR 1=1"), queue("a' OR 1=1")),
        (Case(5, "a queue with a star", "\"a.b*\""), queue("a.b*")),
        (Case(5, "a queue that is a wildcard", "\">\""), queue(">")),
        (Case(5, "a queue with braces", "\"{x}\""), queue("{x}")),
        (Case(5, "a queue that is a path", "\"../x\""), queue("../x")),
        (Case(6, "a queue that is reserved", "\"_work\""), queue("_work")),
        (Case(6, "a kind that is reserved", "\"__dead\""), Job::new("__dead", ())),
        (Case(7, "a kind without a handler", "\"unknown\""), Job::new("unknown", ())),
    ]
}

#[derive(Serialize, Clone)]
struct Bill {
    lines: Vec<BTreeMap<&'static str, f64>>,
}

#[derive(Serialize, Clone)]
enum Shape {
    Circle(f32),
    Named { size: Option<f64> },
}

fn args() -> Vec<(Case<'static>, Job)> {
    let pairs: HashMap<(u8, u8), u8> = HashMap::from([((1, 2), 3)]);
    let order = Bill { lines: vec![BTreeMap::new(), BTreeMap::from([("price", f64::INFINITY)])] };
    vec![
        (Case(8, "args whose keys are no texts", "key must be a string"), Job::new("known", pairs)),
        (Case(9, "args that are NaN", "NaN"), Job::new("known", f64::NAN)),
        (Case(9, "infinity deep in the args", "inf at lines.1.price"), Job::new("known", order)),
        (Case(9, "NaN in a variant", "NaN at Circle"), Job::new("known", Shape::Circle(f32::NAN))),
        (Case(9, "less than all numbers, in an option", "-inf at Named.size"), {
            Job::new("known", Shape::Named { size: Some(f64::NEG_INFINITY) })
        }),
        (
            Case(9, "NaN among numbers", "NaN at 2.0"),
            Job::new("known", [(0.0, None), (1.0, Some(2)), (f64::NAN, None)]),
        ),
        (Case(10, "args that are nested 200 deep", "200 deep"), Job::new("known", deep(200))),
        (Case(11, "args of 1 MiB and 2 bytes", "1048578 bytes"), Job::new("known", "x".repeat(1024 * 1024))),
    ]
}

fn options() -> Vec<(Case<'static>, Job)> {
    let at: DateTime<Utc> = "2026-05-08T09:00:00Z".parse().unwrap();
    let after = || Unique::new("k").on_conflict(OnConflict::RunAfter);
    let century = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    vec![
        (
            Case(14, "a job that says itself that it is due in the year 262142", "+262142"),
            job().scheduled_at(DateTime::<Utc>::MAX_UTC),
        ),
        (Case(16, "no attempts", "max_attempts 0"), job().max_attempts(0)),
        (Case(16, "attempts for ever", "4294967295"), job().max_attempts(u32::MAX)),
        (Case(17, "priority 10", "priority 10"), job().priority(10)),
        (Case(17, "priority 255", "priority 255"), job().priority(255)),
        (Case(18, "no time to run", "timeout 0ns"), job().timeout(Duration::ZERO)),
        (Case(19, "a unique key that is empty", "\"\""), job().unique(Unique::new(""))),
        (Case(19, "a unique key of 10 KiB", "10240 bytes"), job().unique(Unique::new("k".repeat(10_240)))),
        (Case(19, "a unique key with NUL", "\"a\\0\""), job().unique(Unique::new("a\0"))),
        (
            Case(20, "a unique key for no time", "unique window 0ns"),
            job().unique(Unique::new("k").within(Duration::ZERO)),
        ),
        (Case(20, "a unique key for a century", "3162240000s"), job().unique(Unique::new("k").within(century))),
        (Case(20, "a unique key for all time", "unique window 18446744073709551615"), {
            job().unique(Unique::new("k").within(Duration::MAX))
        }),
        (Case(20, "to run after the holder of a key, for an hour", "Within(3600s)"), {
            job().unique(after().within(Duration::from_secs(3_600)))
        }),
        (Case(21, "expires before it is due", "2026-05-08 08:59:59 UTC"), {
            job().scheduled_at(at).expires_at(at - TimeDelta::seconds(1))
        }),
        (Case(22, "a header with a line end", "\"trace\""), job().header("trace", "a\nb")),
        (Case(22, "a header whose name is an escape", "\"\\u{1b}"), job().header("\u{1b}[31m", "x")),
        (Case(22, "a header without a name", "\"\""), job().header("", "x")),
        (Case(22, "a header whose name is long", "nnnn"), job().header("n".repeat(129), "x")),
        (Case(22, "a header that is too long", "5000 bytes"), job().header("x", "y".repeat(5_000))),
        (
            Case(22, "a name and a value that are too long together", "5000 bytes"),
            job().header("\u{1}".repeat(128), "y".repeat(5_000)),
        ),
        (Case(22, "65 headers", "65 names"), (0..65).fold(job(), |job, n| job.header(n.to_string(), ""))),
        (Case(23, "1,000 tags", "1000 names"), (0..1_000).fold(job(), |job, n| job.tag(n.to_string()))),
        (Case(23, "a tag with a comma", "\"a,b\""), job().tag("a,b")),
        (Case(31, "an on-error job that no store takes", "priority 77"), job().on_error(job().priority(77))),
        (Case(31, "an on-error job with infinite args", "inf"), job().on_error(Job::new("other", f64::INFINITY))),
    ]
}

/// A clock that stands still, so that answers with a time are the same in every run.
pub(crate) fn clock() -> Clock {
    Clock::manual("2026-05-08T09:00:00Z".parse().unwrap())
}

#[tokio::test]
async fn a_durable_worker_refuses_it_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(dir.path().join("jobs.db")).await.unwrap();
    let mut table = Table::of("enqueue");
    let cases = || names().into_iter().chain(args()).chain(options());
    let on_file = QueueWorker::builder(sqlite, router()).clock(clock()).build().unwrap();
    for (case, job) in cases() {
        table.refused(case, on_file.perform(job)).await;
    }
    let in_memory = QueueWorker::builder(MemoryStore::new(), router()).clock(clock()).build().unwrap();
    for (Case(row, what, _), job) in cases() {
        let here = in_memory.perform(job.clone()).await.unwrap_err().to_string();
        assert_eq!(here, on_file.perform(job).await.unwrap_err().to_string(), "{row}, {what}");
    }
    for worker in [on_file, in_memory] {
        assert_eq!(worker.store().counts(JobFilter::default()).await.unwrap().total(), 0);
    }
    table.stays();
}

#[tokio::test]
async fn a_worker_in_memory_refuses_what_does_not_need_json_by_the_same_words() {
    let local = LocalWorker::builder(router()).clock(clock()).build().unwrap();
    let durable = QueueWorker::builder(MemoryStore::new(), router()).clock(clock()).build().unwrap();
    for (Case(row, what, _), job) in names().into_iter().chain(options()) {
        let expected = durable.perform(job.clone()).await.unwrap_err().to_string();
        for said in [local.perform(job.clone()).await, local.try_perform(job)] {
            assert_eq!(said.unwrap_err().to_string(), expected, "{row}, {what}");
        }
    }
    assert_eq!(local.counts().submitted, 0);
}

#[tokio::test]
async fn times_beyond_reason_are_refused_and_times_in_the_past_are_now() {
    let mut table = Table::of("times");
    let store = MemoryStore::new();
    let worker = QueueWorker::new(store.clone(), router());
    let local = LocalWorker::new(router());
    let far = "18446744073709551615.999999999s";
    table.refused(Case(14, "in an endless time", far), worker.perform_in(job(), Duration::MAX)).await;
    table.refused(Case(14, "in an endless time, in memory", far), local.perform_in(job(), Duration::MAX)).await;
    assert!(worker.perform_at(job(), DateTime::<Utc>::MAX_UTC).await.is_err());
    assert!(local.perform_at(job(), DateTime::<Utc>::MAX_UTC).await.is_err());
    let now = |what| Case(15, what, "due now");
    table.accepted(now("in no time"), worker.perform_in(job(), Duration::ZERO)).await;
    table.accepted(now("at the beginning of 1970"), worker.perform_at(job(), DateTime::UNIX_EPOCH)).await;
    table.accepted(now("before there were people"), worker.perform_at(job(), DateTime::<Utc>::MIN_UTC)).await;
    let leap = "2016-12-31T23:59:60Z".parse().unwrap();
    table.accepted(now("in the second that was added to a year"), worker.perform_at(job(), leap)).await;
    let leased = store.list(JobFilter::all().state(JobState::Available), Order::OldestFirst, None, 10).await.unwrap();
    assert_eq!(leased.jobs.len(), 4);
    let endless = Case(18, "a timeout without an end", "kept as the longest that the store knows");
    table.accepted(endless, worker.perform(job().timeout(Duration::MAX))).await;
    let never = Case(21, "expires at the end of time", "it never expires");
    table.accepted(never, worker.perform(job().expires_at(DateTime::<Utc>::MAX_UTC))).await;
    table.stays();
}
