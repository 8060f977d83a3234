//! What Prometheus reads of a store.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;
#[path = "../../work-adapters/tests/support/exposition.rs"]
mod exposition;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Site, request, site, stored};
use exposition::Exposition;
use serde_json::json;
use work_core::store::{MemoryStore, WorkerInfo};
use work_core::{Clock, Job};

const STRANGE: &str = "a\"b\\c\nd{e=\"f\"}";

/// Two jobs that wait for 90 s, one that failed, a worker, and a queue with a name that no program of this version gives.
async fn filled() -> Site {
    let clock = Clock::manual(Clock::system().now());
    let site = site(Arc::new(MemoryStore::with_clock(clock.clone())), |builder| builder.clock(clock.clone()));
    site.dead(Job::new("a", json!({})).queue("mail"), "e").await;
    let (_, mut job) = stored(Job::new("a", json!({})));
    job.parts.queue = STRANGE.to_owned().into();
    let jobs = vec![stored(Job::new("a", json!({}))).1, stored(Job::new("a", json!({}))).1, job];
    site.store.insert(jobs).await.unwrap();
    let mut worker = WorkerInfo::new("w");
    (worker.slots, worker.running) = (8, 3);
    site.store.beat(worker).await.unwrap();
    site.store.pause("mail".into()).await.unwrap();
    clock.advance(Duration::from_secs(30));
    site
}

#[tokio::test]
async fn depths_ages_and_workers_are_series() {
    let site = filled().await;
    let answer = site.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    // The parser knows no escapes; promtool does.
    let plain: String =
        answer.text.lines().filter(|line| !line.contains('\\')).map(|line| format!("{line}\n")).collect();
    let read = Exposition::parse(&plain).unwrap_or_else(|error| panic!("{error}\n{plain}"));
    for (series, value) in [
        ("work_store_jobs{state=available}", 3.0),
        ("work_store_jobs{state=discarded}", 1.0),
        ("work_store_jobs{state=completed}", 0.0),
        ("work_store_queue_jobs{queue=default,state=available}", 2.0),
        ("work_store_queue_jobs{queue=mail,state=discarded}", 1.0),
        ("work_store_queue_oldest_ready_seconds{queue=default}", 30.0),
        ("work_store_queue_oldest_ready_seconds{queue=mail}", 0.0),
        ("work_store_queue_paused{queue=default}", 0.0),
        ("work_store_queue_paused{queue=mail}", 1.0),
        ("work_store_workers{}", 1.0),
        ("work_store_worker_slots{}", 8.0),
        ("work_store_worker_slots_busy{}", 3.0),
    ] {
        let found = read.value(series).or_else(|| read.value(series.trim_end_matches("{}")));
        assert_eq!(found, Some(value), "{series}\n{}", answer.text);
    }
    assert!(answer.text.contains(r#"{queue="a\"b\\c\nd{e=\"f\"}",state="available"} 1"#), "{}", answer.text);
}

#[tokio::test]
async fn a_token_is_needed_where_there_is_one() {
    let site = common::locked();
    let ask = |token: &str| request("GET", "/metrics").header("authorization", format!("Bearer {token}"));
    let status = |request: axum::http::request::Builder| {
        let sent = site.send(request.body(axum::body::Body::empty()).unwrap());
        async move { sent.await.status.as_u16() }
    };
    assert_eq!(status(request("GET", "/metrics")).await, 401);
    assert_eq!(status(ask(common::READER)).await, 200);
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    let Some(program) = std::env::var_os("PROMTOOL") else {
        eprintln!("SKIPPED: there is no promtool; `cargo xtask test promtool` installs it");
        return;
    };
    let text = filled().await.get("/metrics").await.text;
    let mut command = Command::new(program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
