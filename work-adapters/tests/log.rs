//! One line of JSON for each execution.

#![cfg(feature = "log")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::Written;
use tower_service::Service;
use tracing::Instrument;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer};
use work_adapters::log::AggregateLogBuilder;
use work_adapters::{AggregateLog, CatchPanicLayer, LogLayer, TimeoutLayer, TraceLayer};
use work_core::{Args, BoxError, Clock, Context, Handler, Job, LocalWorker, Router, State, Status, Worker};

fn builder(written: &Written) -> AggregateLogBuilder {
    AggregateLog::builder().writer(written.clone())
}

fn subscribe(log: &AggregateLog) -> DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(log.subscriber_layer()))
}

fn worker<H: Handler<M, ()>, M: 'static>(log: &AggregateLog, handler: H) -> LocalWorker {
    LocalWorker::new(Router::new().route("handler", handler).layer(LogLayer::new(log.clone())))
}

async fn perform(worker: &LocalWorker, job: Job) -> Status {
    worker.perform(job).await.unwrap().outcome().await.unwrap().status()
}

fn messages(line: &Value) -> Vec<&str> {
    line["entries"].as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn n_entries_of_a_handler_are_one_line_with_a_summary_and_n_entries() {
    async fn handler(context: Context) {
        context.set("comment", String::from("of a friend"));
        for n in 0..5_u32 {
            tracing::info!(target: "app", n, ok = true, share = 0.5, name = "ann", "step {n}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let written = Written::default();
    let clock = Clock::tokio("2026-03-29T01:00:00Z".parse().unwrap());
    let log = builder(&written).clock(clock).build();
    let _default = subscribe(&log);
    let job = Job::new("handler", ())
        .queue("mail")
        .max_attempts(3)
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let id = job.id();
    assert_eq!(perform(&worker(&log, handler), job).await, Status::SUCCESS);
    let lines = written.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        lines[0]["summary"],
        json!({
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "job_id": id.to_string(), "kind": "handler",
            "queue": "mail", "attempt": 1, "status": 200, "status_name": "success", "latency_ms": 50.0,
            "time": "2026-03-29T01:00:00.050Z", "worker": 0, "comment": "of a friend",
        })
    );
    for (n, entry) in lines[0]["entries"].as_array().unwrap().iter().enumerate() {
        assert_eq!(
            *entry,
            json!({
                "time": format!("2026-03-29T01:00:00.{:03}Z", n * 10), "level": "INFO", "target": "app",
                "message": format!("step {n}"), "fields": {"n": n, "ok": true, "share": 0.5, "name": "ann"},
            })
        );
    }
    assert_eq!(lines[0]["entries"].as_array().unwrap().len(), 5);
    assert_eq!((log.written_lines(), log.dropped_lines(), written.writes()), (1, 0, 1));
}

#[tokio::test]
async fn text_of_any_kind_stays_valid() {
    const TEXTS: [&str; 6] = ["100% \"x\"\n", "%s %d %n", "\u{0}\u{1b}[31m\u{7f}", "ä 漢 🦀", "\\", "}{][,:"];
    async fn handler(context: Context) -> Result<(), BoxError> {
        context.set("comment", TEXTS[0]);
        for text in TEXTS {
            tracing::info!(text, debug = ?text, "{text}");
        }
        tracing::info!(r#type = "raw", nan = f64::NAN, "odd");
        Err(TEXTS[0].into())
    }
    let written = Written::default();
    let log = builder(&written).build();
    let _default = subscribe(&log);
    perform(&worker(&log, handler), Job::new("handler", ())).await;
    assert_eq!(written.text().lines().count(), 1, "no line break of a text is one of the line");
    let line = &written.lines()[0];
    assert_eq!(messages(line)[..6], TEXTS);
    for (entry, text) in line["entries"].as_array().unwrap().iter().zip(TEXTS) {
        assert_eq!(
            (entry["fields"]["text"].as_str(), &entry["fields"]["debug"]),
            (Some(text), &json!(format!("{text:?}")))
        );
    }
    assert_eq!(line["entries"][6]["fields"], json!({"type": "raw", "nan": null}));
    assert_eq!((&line["summary"]["comment"], &line["summary"]["error"]), (&json!(TEXTS[0]), &json!(TEXTS[0])));
}

async fn ends_with(Args(code): Args<u16>) -> Result<Status, BoxError> {
    Ok(Status::new(code)?)
}

async fn statuses(log: &AggregateLog, written: &Written) -> Vec<u64> {
    let worker = worker(log, ends_with);
    for status in [200_u16, 204, 444, 500] {
        perform(&worker, Job::new("handler", status)).await;
    }
    written.lines().iter().map(|line| line["summary"]["status"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn silence_is_by_status_or_by_a_function() {
    let written = Written::default();
    assert_eq!(statuses(&builder(&written).build(), &written).await, [200, 204, 444, 500]);
    let written = Written::default();
    assert_eq!(statuses(&builder(&written).silent(Status::SUCCESS).build(), &written).await, [204, 444, 500]);
    let written = Written::default();
    let both = builder(&written).silent(Status::NO_RESPONSE).silent(Status::SUCCESS).build();
    assert_eq!(statuses(&both, &written).await, [204, 500]);
    let written = Written::default();
    let by_function = builder(&written).silent_if(|summary| summary.status.is_success()).build();
    assert_eq!(statuses(&by_function, &written).await, [444, 500]);
    let written = Written::default();
    let broken = builder(&written).silent_if(|_| panic!("a broken function")).build();
    assert_eq!(statuses(&broken, &written).await, [200, 204, 444, 500], "the jobs and their lines are not touched");
}

#[tokio::test]
async fn entries_follow_awaits_and_instrumented_tasks_and_no_others() {
    async fn handler() {
        tracing::info!("before");
        tokio::task::yield_now().await;
        let instrumented = tokio::spawn(async { tracing::info!("spawned in the span") }.in_current_span());
        let other = tokio::spawn(async { tracing::info!("spawned outside") });
        instrumented.await.unwrap();
        other.await.unwrap();
        tokio::spawn(
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                tracing::info!("too late");
            }
            .in_current_span(),
        );
        tracing::info_span!("deeper").in_scope(|| tracing::info!("after"));
    }
    let written = Written::default();
    let log = builder(&written).build();
    let _default = subscribe(&log);
    tracing::info!("of no job");
    perform(&worker(&log, handler), Job::new("handler", ())).await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(messages(&written.lines()[0]), ["before", "spawned in the span", "after"]);
    assert_eq!(written.lines().len(), 1);
}

#[tokio::test]
async fn a_hundred_jobs_at_once_keep_their_entries_apart() {
    async fn handler(Args(n): Args<u32>) {
        for _ in 0..10 {
            tracing::info!("{n}");
            tokio::task::yield_now().await;
        }
    }
    let written = Written::default();
    let log = builder(&written).build();
    let _default = subscribe(&log);
    let router = Router::new().route("handler", handler).layer(LogLayer::new(log.clone()));
    let worker = LocalWorker::builder(router).concurrency(10).build().unwrap();
    let mut handles = Vec::new();
    for n in 0..100_u32 {
        handles.push(worker.perform(Job::new("handler", n)).await.unwrap());
    }
    for handle in handles {
        handle.outcome().await.unwrap();
    }
    let mut seen: Vec<u32> = Vec::new();
    for line in written.lines() {
        let messages = messages(&line);
        assert_eq!(messages, [messages[0]; 10]);
        seen.push(messages[0].parse().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn nested_executions_have_their_own_entries() {
    async fn outer(State(inner): State<Router>) {
        tracing::info!("outer before");
        inner.clone().call(Job::new("inner", ())).await.unwrap();
        tracing::info!("outer after");
    }
    let written = Written::default();
    let log = builder(&written).build();
    let _default = subscribe(&log);
    let inner = Router::new().route("inner", async || tracing::info!("inner")).layer(LogLayer::new(log.clone()));
    let router = Router::new().route("outer", outer).layer(LogLayer::new(log.clone())).with_state(inner);
    perform(&LocalWorker::new(router), Job::new("outer", ())).await;
    let lines = written.lines();
    assert_eq!((lines[0]["summary"]["kind"].as_str(), messages(&lines[0])), (Some("inner"), vec!["inner"]));
    assert_eq!(messages(&lines[1]), ["outer before", "outer after"]);
}

#[tokio::test]
async fn two_logs_in_one_subscriber_each_have_their_line() {
    let (first, second) = (Written::default(), Written::default());
    let (a, b) = (builder(&first).build(), builder(&second).build());
    let subscriber = tracing_subscriber::registry()
        .with(a.subscriber_layer())
        .with(b.subscriber_layer().with_filter(LevelFilter::INFO));
    let _default = tracing::subscriber::set_default(subscriber);
    let handler = async || {
        tracing::info!("info");
        tracing::debug!("debug");
    };
    let layers = (LogLayer::new(a.clone()), LogLayer::new(b.clone()));
    let router = Router::new().route("handler", handler).layer(layers.1).layer(layers.0);
    perform(&LocalWorker::new(router), Job::new("handler", ())).await;
    assert_eq!(messages(&first.lines()[0]), ["info", "debug"]);
    assert_eq!(messages(&second.lines()[0]), ["info"], "each has a filter of its own");
}

#[tokio::test]
async fn filters_may_leave_out_entries_but_a_line_is_written_all_the_same() {
    let written = Written::default();
    let log = builder(&written).build();
    let handler = async || tracing::info!(target: "app", "hello");
    perform(&worker(&log, handler), Job::new("handler", ())).await;
    for filter in ["app=debug,work_adapters::log=error", "app=debug", "off"] {
        let filter = EnvFilter::new(filter);
        let subscriber = tracing_subscriber::registry().with(filter).with(log.subscriber_layer());
        let _default = tracing::subscriber::set_default(subscriber);
        perform(&worker(&log, handler), Job::new("handler", ())).await;
    }
    let lines = written.lines();
    let lines: Vec<Vec<&str>> = lines.iter().map(messages).collect();
    assert_eq!(lines, [vec![], vec!["hello"], vec![], vec![]]);
}

#[tokio::test(start_paused = true)]
async fn what_the_handler_logs_while_it_is_dropped_is_in_the_line() {
    struct Says;
    impl Drop for Says {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    async fn handler(Args(panics): Args<bool>) {
        let _says = Says;
        if panics {
            panic!("no such luck");
        }
        std::future::pending::<()>().await;
    }
    let written = Written::default();
    let log = builder(&written).build();
    let _default = subscribe(&log);
    let router = Router::new().route("handler", handler).layer(CatchPanicLayer::new()).layer(TraceLayer::new());
    let worker = LocalWorker::new(router.layer(LogLayer::new(log.clone())).layer(TimeoutLayer::new()));
    perform(&worker, Job::new("handler", false).timeout(Duration::from_secs(2))).await;
    perform(&worker, Job::new("handler", true)).await;
    let lines = written.lines();
    assert_eq!((&lines[0]["summary"]["status"], &lines[0]["summary"]["latency_ms"]), (&json!(408), &json!(2000.0)));
    assert_eq!(messages(&lines[0]), ["dropped", "job failed"]);
    assert_eq!((&lines[1]["summary"]["status"], &lines[1]["summary"]["error"]), (&json!(500), &json!("no such luck")));
    assert_eq!(messages(&lines[1]), ["dropped", "a handler panicked", "job failed"]);
}

#[tokio::test]
async fn a_value_that_logs_while_it_is_logged_does_no_harm() {
    struct Chatty;
    impl std::fmt::Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("from inside");
            f.write_str("chatty")
        }
    }
    let written = Written::default();
    let log = Arc::new(builder(&written).build());
    let _default = subscribe(&log);
    perform(&worker(&log, async || tracing::info!(value = ?Chatty, "outside")), Job::new("handler", ())).await;
    assert!(messages(&written.lines()[0]).contains(&"outside"));
}
