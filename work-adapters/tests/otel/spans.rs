use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::sync::Notify;
use tower::ServiceBuilder;
use tracing::Instrument;
use work_adapters::otel::Parent;
use work_adapters::{OtelLayer, OtelWorker, TimeoutLayer};
use work_core::store::MemoryStore;
use work_core::{
    Args, Attempt, Backoff, BoxError, Job, LocalWorker, QueueWorker, RetryPolicy, Router, Schedule, Status, Worker,
};

use super::collector::{Spans, attribute, collected, is_child, is_root, kind, links_to, status};

/// Ends as it is told, or says that it has begun and does not end.
async fn ends(way: &str, attempt: u32, begun: &Notify) -> Result<Status, BoxError> {
    tracing::info_span!("inside").in_scope(|| ());
    match way {
        "panic" => panic!("it panicked"),
        "fail" => Err("it failed".into()),
        "endless" => {
            begun.notify_one();
            std::future::pending().await
        }
        "retried" if attempt == 1 => Err("not yet".into()),
        "refused" => Ok(Status::CONFLICT),
        "nothing" => Ok(Status::NO_RESPONSE),
        _ => Ok(Status::SUCCESS),
    }
}

fn router(parent: Parent, begun: &Arc<Notify>) -> Router {
    let layers = ServiceBuilder::new().layer(OtelLayer::new().parent(parent)).layer(TimeoutLayer::new());
    let begun = begun.clone();
    let handler = move |Args(way): Args<String>, Attempt(attempt): Attempt| {
        let begun = begun.clone();
        async move { ends(&way, attempt, &begun).await }
    };
    Router::new().route("ends", handler).layer(layers)
}

fn retry() -> RetryPolicy {
    RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(1)))
}

fn job(way: &'static str) -> Job {
    Job::new("ends", way.to_owned()).queue(way).max_attempts(1)
}

const QUEUES: [&str; 10] =
    ["fine", "nothing", "fail", "panic", "endless", "refused", "cancelled", "retried", "delayed", "recurring"];

/// One job of each way to end, each in a queue of its own, below a span `request`.
async fn program(worker: impl Worker, begun: &Notify) {
    let worker = OtelWorker::new(worker);
    let jobs = async {
        let endless = job("endless").timeout(Duration::from_millis(20));
        for job in [job("fine"), job("nothing"), job("fail"), job("panic"), endless, job("refused")] {
            worker.perform(job).await.unwrap().outcome().await.unwrap();
        }
        begun.notified().await;
        let cancelled = worker.perform(Job::new("ends", "endless".to_owned()).queue("cancelled")).await.unwrap();
        begun.notified().await;
        worker.cancel(cancelled.id()).await.unwrap();
        cancelled.outcome().await.unwrap();
        worker.perform(job("retried").max_attempts(2)).await.unwrap().outcome().await.unwrap();
        let delayed = worker.perform_in(job("delayed"), Duration::from_millis(30)).await.unwrap();
        delayed.outcome().await.unwrap();
        let schedule = Schedule::every(Duration::from_millis(20)).unwrap();
        let recurring = worker.perform_every(job("recurring"), schedule).await.unwrap();
        while recurring.made() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        recurring.cancel();
        worker.perform(Job::new("unknown", ()).queue("unknown")).await.unwrap_err();
    };
    jobs.instrument(tracing::info_span!("request")).await;
    worker.stop().await;
}

async fn local(parent: Parent) {
    let begun = Arc::default();
    program(LocalWorker::builder(router(parent, &begun)).retry(retry()).build().unwrap(), &begun).await;
}

async fn queue(parent: Parent) {
    let begun = Arc::default();
    let builder = QueueWorker::builder(MemoryStore::new(), router(parent, &begun)).queues(QUEUES).retry(retry());
    // A cancelled job of a store is told to stop when its lease is extended.
    let worker = builder.lease_for(Duration::from_millis(1_500)).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    program(worker, &begun).await;
    running.await.unwrap().unwrap();
}

/// The producer's span and the first execution's, of the one job of this queue.
fn pair<'s>(spans: &'s Spans, queue: &str) -> (&'s Span, &'s Span) {
    let processed = spans.named(&format!("process {queue}"));
    assert!(!processed.is_empty(), "{queue}: {:?}", spans.names());
    (spans.one(&format!("send {queue}")), processed[0])
}

fn check_names_and_attributes(spans: &Spans) {
    let request = spans.one("request");
    for queue in QUEUES {
        let (send, process) = pair(spans, queue);
        assert_eq!((kind(send), kind(process)), (SpanKind::Producer, SpanKind::Consumer), "{queue}");
        assert!(is_child(send, request), "{queue}");
        assert!(!attribute(send, "messaging.message.id").is_empty());
        for (span, operation) in [(send, "send"), (process, "process")] {
            assert_eq!(attribute(span, "messaging.system"), "work");
            assert_eq!(attribute(span, "messaging.operation.name"), operation);
            assert_eq!(attribute(span, "messaging.operation.type"), operation);
            assert_eq!(attribute(span, "messaging.destination.name"), queue);
            assert_eq!(attribute(span, "work.job.kind"), "ends");
        }
        assert_eq!(attribute(process, "work.job.attempt"), "1", "{queue}");
        if queue != "recurring" {
            assert_eq!(attribute(process, "messaging.message.id"), attribute(send, "messaging.message.id"));
        }
    }
}

fn check_final_statuses(spans: &Spans) {
    let ends = [
        ("fine", "200", "", StatusCode::Unset, ""),
        ("nothing", "444", "", StatusCode::Unset, ""),
        ("fail", "500", "internal_error", StatusCode::Error, "it failed"),
        ("panic", "500", "internal_error", StatusCode::Error, "internal_error"),
        ("endless", "408", "timeout", StatusCode::Error, "timed out"),
        ("refused", "409", "conflict", StatusCode::Unset, ""),
        ("cancelled", "499", "", StatusCode::Unset, ""),
    ];
    for (queue, code, error, otel_status, text) in ends {
        let (_, process) = pair(spans, queue);
        assert_eq!(attribute(process, "work.job.status"), code, "{queue}");
        assert_eq!(attribute(process, "error.type"), error, "{queue}");
        let (given, message) = status(process);
        assert_eq!(given, otel_status, "{queue}");
        assert!(message.contains(text), "{queue}: {message:?}");
        let failed = process.events.iter().any(|event| event.name == "job failed");
        assert_eq!(failed, !error.is_empty(), "{queue}: {:?}", process.events);
    }
    let refused = spans.one("send unknown");
    assert_eq!(attribute(refused, "error.type"), "unknown_kind");
    assert_eq!(status(refused).0, StatusCode::Error);
}

fn check_retries(spans: &Spans) {
    let send = spans.one("send retried");
    let attempts = spans.named("process retried");
    let seen: Vec<_> =
        attempts.iter().map(|span| (attribute(span, "work.job.attempt"), attribute(span, "work.job.status"))).collect();
    assert_eq!(seen, [("1".into(), "500".into()), ("2".into(), "200".into())]);
    assert!(attempts.iter().all(|span| links_to(span, send)));
    assert!(is_root(attempts[1]), "a retry is never a child");
}

fn check_linked(spans: &Spans, queues: &[&str]) {
    for queue in queues {
        let (send, _) = pair(spans, queue);
        for process in spans.named(&format!("process {queue}")) {
            assert!(links_to(process, send), "{queue}: {:?}", process.links);
            assert!(is_root(process) && process.trace_id != send.trace_id, "{queue}");
        }
    }
}

fn check_what_is_inside(spans: &Spans) {
    let processed: Vec<&Span> = spans.0.iter().filter(|span| span.name.starts_with("process ")).collect();
    let inside = spans.named("inside");
    assert_eq!(inside.len(), processed.len());
    assert!(inside.iter().all(|inside| processed.iter().any(|process| is_child(inside, process))));
}

/// What holds for the spans of every worker.
fn check_all(spans: &Spans) {
    check_names_and_attributes(spans);
    check_final_statuses(spans);
    check_retries(spans);
    check_linked(spans, &QUEUES);
    check_what_is_inside(spans);
    assert!(spans.named("process recurring").len() > 1);
}

#[test]
fn each_job_in_memory_has_spans_of_its_way() {
    let spans = collected(|| local(Parent::Link));
    check_all(&spans);
}

#[test]
fn each_job_of_a_store_has_spans_of_its_way() {
    let spans = collected(|| queue(Parent::Link));
    check_all(&spans);
}

#[test]
fn a_first_attempt_may_be_a_child_of_its_producer_but_later_ones_and_delayed_jobs_are_linked() {
    for spans in [collected(|| local(Parent::Child)), collected(|| queue(Parent::Child))] {
        for queue in ["fine", "fail", "panic", "endless", "retried"] {
            let (send, process) = pair(&spans, queue);
            assert!(is_child(process, send) && links_to(process, send), "{queue}");
        }
        check_retries(&spans);
        check_linked(&spans, &["delayed", "recurring"]);
    }
}

#[test]
fn what_a_store_is_told_is_a_span_of_its_own_for_each_batch() {
    let spans = collected(|| async {
        let builder = QueueWorker::builder(MemoryStore::new(), router(Parent::Link, &Arc::default())).queues(["mail"]);
        let worker = OtelWorker::new(builder.build().unwrap());
        let handles = worker.perform_many((0..50).map(|_| job("fine").queue("mail"))).await.unwrap();
        let running = tokio::spawn(worker.get_ref().clone().run_until(std::future::pending()));
        for handle in handles {
            handle.outcome().await.unwrap();
        }
        worker.stop().await;
        running.await.unwrap().unwrap();
    });
    let send = spans.one("send mail");
    assert_eq!((kind(send), &*attribute(send, "messaging.batch.message_count")), (SpanKind::Client, "50"));
    assert_eq!(spans.named("process mail").len(), 50);
    assert!(spans.named("process mail").iter().all(|process| links_to(process, send)));

    let settled = spans.named("settle mail");
    assert!(settled.iter().all(|span| kind(span) == SpanKind::Client && is_root(span)));
    assert!(settled.iter().all(|span| attribute(span, "messaging.operation.type") == "settle"));
    let counts = settled.iter().map(|span| attribute(span, "messaging.batch.message_count").parse::<u32>().unwrap());
    assert_eq!(counts.sum::<u32>(), 50);
}
