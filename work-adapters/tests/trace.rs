//! What a subscriber gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use support::{Calls, Traced, Written};
use tower::load_shed::error::Overloaded;
use tracing::level_filters::LevelFilter;
use work_adapters::TraceLayer;
use work_core::{Args, BoxError, Job, JobId, LocalWorker, Router, Status, Worker};

#[tokio::test]
async fn a_panic_before_there_is_a_future_is_an_event_of_status_500() {
    let out = Written::default();
    // Before there is a future.
    let explodes = Calls(|| panic!("in call"));
    let _g = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(out.clone())
            .with_max_level(tracing::Level::DEBUG)
            .finish(),
    );
    let w = LocalWorker::new(Router::new().try_route_service("x", explodes).unwrap().layer(TraceLayer::new()));
    w.perform(Job::new("x", ())).await.unwrap().outcome().await.unwrap();
    let t = out.text();
    assert!(t.contains("500"), "{t}");
}

async fn ends_with(Args(code): Args<u16>) -> Result<Status, BoxError> {
    tracing::info!("inside");
    if code == 500 { Err("it failed".into()) } else { Ok(Status::new(code)?) }
}

/// What a subscriber of this level gets of one job that ends with this status.
async fn traced(level: LevelFilter, status: u16) -> (JobId, Traced) {
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(level));
    let worker = LocalWorker::new(Router::new().route("ends", ends_with).layer(TraceLayer::new()));
    let job = Job::new("ends", status).queue("mail");
    let id = job.id();
    worker.perform(job).await.unwrap().outcome().await.unwrap();
    (id, traced)
}

#[tokio::test]
async fn the_span_says_which_job_it_is_and_how_it_ended_and_never_its_arguments() {
    let (id, traced) = traced(LevelFilter::INFO, 409).await;
    let id = id.to_string();
    let fields = [
        ("job.attempt", "1"),
        ("job.id", id.as_str()),
        ("job.kind", "ends"),
        ("job.queue", "mail"),
        ("job.status", "409"),
        ("level", "INFO"),
        ("otel.kind", "consumer"),
        ("otel.name", "process mail"),
        ("target", "work_adapters::trace"),
    ];
    let spans = traced.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), fields);
    assert_eq!(traced.said("inside")[0]["span"], "1", "the handler runs in it");
}

#[tokio::test]
async fn the_event_is_a_warning_for_a_failure_and_nothing_else() {
    for (status, level) in [(200, "DEBUG"), (444, "DEBUG"), (499, "DEBUG"), (429, "DEBUG")] {
        let (_, traced) = traced(LevelFilter::DEBUG, status).await;
        let event = &traced.said("job ended")[0];
        assert_eq!((event["level"].as_str(), event["job.status"].clone()), (level, status.to_string()));
        assert!(event.contains_key("elapsed") && event["span"] == "1");
    }
    for status in [400, 408, 500, 503] {
        let (_, traced) = traced(LevelFilter::DEBUG, status).await;
        let event = &traced.said("job failed")[0];
        assert_eq!((event["level"].as_str(), event["job.status"].clone()), ("WARN", status.to_string()));
        assert_eq!(event.get("error").map(String::as_str), (status == 500).then_some("it failed"));
        assert!(event.contains_key("elapsed") && !event.contains_key("job.id"), "the span has it");
    }
}

#[tokio::test]
async fn a_failure_is_named_where_the_span_is_filtered_out() {
    let (id, traced) = traced(LevelFilter::WARN, 500).await;
    assert!(traced.spans().is_empty());
    let event = &traced.said("job failed")[0];
    assert_eq!((event["job.id"].clone(), event["job.kind"].as_str()), (id.to_string(), "ends"));
    let (_, quiet) = self::traced(LevelFilter::ERROR, 500).await;
    assert!(quiet.events().is_empty());
}

#[tokio::test]
async fn an_error_of_an_inner_layer_is_told_with_its_text() {
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::DEBUG));
    // As layers of tower do.
    let refuses = Calls(|| Err(Overloaded::new().into()));
    let router = Router::new().try_route_service("refuses", refuses).unwrap().layer(TraceLayer::new());
    LocalWorker::new(router).perform(Job::new("refuses", ())).await.unwrap().outcome().await.unwrap();
    let event = &traced.said("job failed")[0];
    assert_eq!(event["job.status"], "503");
    assert_eq!(event["error"], Overloaded::new().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_dropped_is_dropped_within_the_span_and_before_the_end_is_told() {
    struct Says;
    impl Drop for Says {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    async fn endless() {
        let _says = Says;
        std::future::pending::<()>().await;
    }
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::DEBUG));
    let worker = LocalWorker::new(Router::new().route("endless", endless).layer(TraceLayer::new()));
    let handle = worker.perform(Job::new("endless", ())).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    worker.cancel(handle.id()).await.unwrap();
    handle.outcome().await.unwrap();
    let events: Vec<_> =
        traced.events().into_iter().map(|event| (event["message"].clone(), event["span"].clone())).collect();
    assert_eq!(events, [("dropped".into(), "1".into()), ("job ended".to_owned(), "1".to_owned())]);
}
