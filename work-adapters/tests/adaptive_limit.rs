//! The adaptive limit layer: what it learns from how jobs end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use work_adapters::AdaptiveLimitLayer;
use work_core::limit::{Adaptive, Adapts};
use work_core::{Job, LocalWorker, Outcome, Router, State, Status, Worker};

const SECOND: Duration = Duration::from_secs(1);

/// Takes 100 calls in each second.
#[derive(Clone)]
struct Server {
    began: Instant,
    window: Arc<Mutex<(u64, u32)>>,
    counts: Arc<Mutex<(u32, u32)>>,
}

async fn call(State(server): State<Server>) -> Outcome {
    sleep(Duration::from_millis(20)).await;
    let second = server.began.elapsed().as_secs();
    let mut window = server.window.lock().unwrap();
    *window = if window.0 == second { (second, window.1 + 1) } else { (second, 1) };
    let mut counts = server.counts.lock().unwrap();
    if window.1 <= 100 {
        counts.0 += 1;
        Outcome::done()
    } else {
        counts.1 += 1;
        Outcome::new(Status::TOO_MANY)
    }
}

#[tokio::test(start_paused = true)]
async fn items_of_a_channel_use_a_hidden_ceiling_to_85_percent_with_3_percent_refused() {
    let server = Server { began: Instant::now(), window: Arc::default(), counts: Arc::default() };
    let limit = Arc::new(Adaptive::new(20.0, 1.0, 10_000.0).unwrap());
    let layer = AdaptiveLimitLayer::new(limit.clone());
    let router = Router::new().route("call", call).layer(layer).with_state(server.clone());
    let worker = LocalWorker::builder(router).concurrency(50).build().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(10);
    worker.perform_receive("call", work_core::source::channel(receiver)).await.unwrap();
    let sending = tokio::spawn(async move { while sender.send(()).await.is_ok() {} });
    sleep(60 * SECOND).await;
    sending.abort();
    let (accepted, refused) = *server.counts.lock().unwrap();
    let (used, share) = (f64::from(accepted) / 6_000.0, f64::from(refused) / f64::from(accepted + refused));
    println!("used {used:.3}, refused {share:.4}, rate {:.0}", limit.rate());
    assert!(used >= 0.85 && share <= 0.03, "used {used}, refused {share}");
}

#[tokio::test(start_paused = true)]
async fn after_a_429_that_says_two_seconds_no_job_gets_to_its_handler_for_two_seconds() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (seen, began) = (starts.clone(), Instant::now());
    let handler = move || {
        let mut starts = seen.lock().unwrap();
        starts.push(began.elapsed());
        let answer = if starts.len() == 1 { Outcome::snooze(2 * SECOND) } else { Outcome::done() };
        std::future::ready(answer)
    };
    let layer = AdaptiveLimitLayer::new(Adaptive::new(100.0, 1.0, 1_000.0).unwrap());
    let worker =
        LocalWorker::builder(Router::new().route("call", handler).layer(layer)).concurrency(1).build().unwrap();
    for _ in 0..4 {
        worker.perform(Job::new("call", ())).await.unwrap();
    }
    worker.stop().await;
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 4);
    assert!(starts[1..].iter().all(|at| (2 * SECOND..3 * SECOND).contains(at)), "{starts:?}");
}
