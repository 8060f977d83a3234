//! What Prometheus reads.

#![cfg(all(feature = "prometheus", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "support/exposition.rs"]
mod exposition;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use exposition::Exposition;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use work_adapters::{MetricsLayer, Prometheus, prometheus};
use work_core::store::MemoryStore;
use work_core::{
    Args, Attempt, Backoff, BoxError, Clock, Job, Json, LocalWorker, QueueWorker, RetryPolicy, Router, Worker,
};

async fn ends(Args(way): Args<String>, Attempt(attempt): Attempt) -> Result<Json<u32>, BoxError> {
    match way.as_str() {
        "panic" => panic!("no luck"),
        "fail" => Err("it failed".into()),
        "retried" if attempt == 1 => Err("not yet".into()),
        _ => Ok(Json(1_000)),
    }
}

fn router(layer: MetricsLayer) -> Router {
    Router::new().route("ends", ends).route("probe", async || {}).layer(layer)
}

async fn perform(worker: &impl Worker, ways: &[(&'static str, usize)]) {
    for (way, times) in ways {
        for _ in 0..*times {
            let job = Job::new("ends", (*way).to_owned()).max_attempts(2 - u32::from(*way != "retried"));
            worker.perform(job).await.unwrap().outcome().await.unwrap();
        }
    }
}

/// The answer of a server to `GET path`: its head, and its body.
async fn get(app: axum::Router, path: &str) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, app).await });
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serving.abort();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn ended(kind: &str, status: &str) -> String {
    format!("work_jobs_finished_total{{kind={kind},queue=default,status={status}}}")
}

#[tokio::test]
async fn the_metrics_that_are_fetched_have_the_exact_counts() {
    let recorder = Prometheus::new();
    let worker = LocalWorker::new(router(MetricsLayer::new().recorder(recorder.clone()).ignore("probe")));
    perform(&worker, &[("fine", 10), ("fail", 3), ("panic", 2)]).await;
    worker.perform(Job::new("probe", ())).await.unwrap().outcome().await.unwrap();

    let (head, body) = get(prometheus::routes(recorder), "/metrics").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let read = Exposition::parse(&body).unwrap();
    assert_eq!(read.value(&ended("ends", "success")), Some(10.0));
    assert_eq!(read.value(&ended("ends", "internal_error")), Some(5.0));
    assert_eq!(read.value("work_jobs_started_total{kind=ends,queue=default}"), Some(15.0));
    assert_eq!(read.value("work_jobs_retried_total{kind=ends,queue=default}"), Some(0.0));
    assert_eq!(read.value("work_jobs_running{kind=ends,queue=default}"), Some(0.0));
    let duration = "work_job_duration_seconds_count{kind=ends,queue=default,status=success}";
    assert_eq!(read.value(duration), Some(10.0));
    assert_eq!(read.value("work_job_queue_latency_seconds_count{kind=ends,queue=default}"), Some(15.0));
    let version = format!("work_build_info{{version={}}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(read.value(&version), Some(1.0));
    assert!(!body.contains("probe"), "an ignored kind has no series");
}

#[tokio::test]
async fn a_job_of_a_store_counts_its_retries_and_its_bytes() {
    let recorder = Prometheus::new();
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::ZERO));
    let layer = MetricsLayer::new().recorder(recorder.clone()).sizes();
    let worker = QueueWorker::builder(MemoryStore::new(), router(layer)).retry(retry).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    perform(&worker, &[("fine", 1), ("retried", 2)]).await;
    worker.stop().await;
    running.await.unwrap().unwrap();

    let read = Exposition::parse(&recorder.render()).unwrap();
    assert_eq!(read.value("work_jobs_retried_total{kind=ends,queue=default}"), Some(2.0));
    assert_eq!(read.value("work_job_queue_latency_seconds_count{kind=ends,queue=default}"), Some(3.0));
    // `"fine"` once, `"retried"` four times.
    assert_eq!(read.value("work_job_args_bytes_sum{kind=ends,queue=default}"), Some(6.0 + 4.0 * 9.0));
    assert_eq!(read.value("work_job_output_bytes_sum{kind=ends,queue=default}"), Some(3.0 * 4.0));
}

#[tokio::test]
async fn how_long_a_job_waited_counts_from_when_it_was_due() {
    let now = Clock::system().now();
    let (recorder, clock) = (Prometheus::new(), Clock::manual(now + Duration::from_secs(100)));
    let worker = LocalWorker::builder(router(MetricsLayer::new().recorder(recorder.clone()).clock(clock.clone())));
    let worker = worker.clock(clock).build().unwrap();
    let sum = || {
        let read = Exposition::parse(&recorder.render()).unwrap();
        read.value("work_job_queue_latency_seconds_sum{kind=probe,queue=default}").unwrap()
    };
    // Made now, started 100 s later by the clock.
    worker.perform(Job::new("probe", ())).await.unwrap().outcome().await.unwrap();
    assert!((sum() - 100.0).abs() < 30.0, "{}", sum());
    // Due 10 s before it is started.
    let before = sum();
    let job = Job::new("probe", ()).scheduled_at(now + Duration::from_secs(90));
    worker.perform(job).await.unwrap().outcome().await.unwrap();
    assert!((sum() - before - 10.0).abs() < 0.001, "{}", sum());
    // Due in the future of the clock that the worker has not reached: it waits for nothing.
    let before = sum();
    worker.perform_in(Job::new("probe", ()), Duration::from_millis(5)).await.unwrap().outcome().await.unwrap();
    assert!((sum() - before).abs() < 0.001, "{}", sum());
}

#[tokio::test]
async fn two_recorders_and_that_of_the_process_do_not_clash() {
    let installed = prometheus::install().unwrap();
    let (first, second) = (Prometheus::new(), Prometheus::builder().label("part", "b").build());
    let worker = |layer| LocalWorker::new(router(layer));
    perform(&worker(MetricsLayer::new().recorder(first.clone())), &[("fine", 1)]).await;
    perform(&worker(MetricsLayer::new().recorder(second.clone())), &[("fine", 2)]).await;
    perform(&worker(MetricsLayer::new()), &[("fine", 3)]).await;

    let read = |recorder: &Prometheus| Exposition::parse(&recorder.render()).unwrap();
    assert_eq!(read(&first).value(&ended("ends", "success")), Some(1.0));
    let labelled = "work_jobs_finished_total{kind=ends,part=b,queue=default,status=success}";
    assert_eq!(read(&second).value(labelled), Some(2.0));
    assert_eq!(read(&installed).value(&ended("ends", "success")), Some(3.0));
    let again = prometheus::install().unwrap();
    assert_eq!(read(&again).value(&ended("ends", "success")), Some(3.0));
}

#[test]
fn buckets_that_do_not_rise_are_refused() {
    for ends in [vec![], vec![1.0, 1.0], vec![2.0, 1.0], vec![1.0, f64::NAN], vec![1.0, f64::INFINITY]] {
        let error = Prometheus::builder().seconds_buckets(ends.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("{ends:?}")), "{error}");
    }
    assert!(Prometheus::builder().seconds_buckets([1.0, 2.0]).is_ok());
}

/// `promtool`, from `PROMTOOL`, the path, or where `cargo xtask test promtool` puts it.
fn promtool() -> Option<Command> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/promtool");
    let named = std::env::var("PROMTOOL").ok();
    let places = named.into_iter().chain(["promtool".into(), own.into()]);
    let answers = |program: &String| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    places.into_iter().find(answers).map(Command::new)
}

/// What promtool says to this text; `None` if there is no promtool.
fn ask_promtool(args: &[&str], text: &str) -> Option<(bool, String)> {
    let Some(mut command) = promtool() else {
        eprintln!("SKIPPED: there is no promtool; `cargo xtask test promtool` installs it");
        return None;
    };
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said))
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    let recorder = Prometheus::new();
    let worker = LocalWorker::new(router(MetricsLayer::new().recorder(recorder.clone()).sizes()));
    perform(&worker, &[("fine", 2), ("fail", 1)]).await;
    worker.perform(Job::from_json("probe", "null")).await.unwrap().outcome().await.unwrap();
    if let Some((success, said)) = ask_promtool(&["check", "metrics"], &recorder.render()) {
        assert!(success && said.is_empty(), "{said}\n{}", recorder.render());
    }
}

#[test]
fn promtool_takes_the_alerts_of_the_guide() {
    let guide = include_str!("../../docs/observability.md");
    let rules = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    if let Some((success, said)) = ask_promtool(&["check", "rules", "/dev/stdin"], rules) {
        assert!(success && said.contains("5 rules found"), "{said}");
    }
}
