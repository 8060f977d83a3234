//! The routes of health, asked over a socket.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use work_adapters::health::{self, Checks, Heartbeat};
use work_adapters::{Health, HealthLayer};
use work_core::{Job, LocalWorker, Router, Status, Worker};

/// A server of these checks, until the test ends.
async fn serve(checks: impl Into<Checks>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = health::routes(checks);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

/// The status and the body of an answer, and all of its head.
async fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned(), head.to_lowercase())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, body, _) = request(address, "GET", path).await;
    (status, body)
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn ready_is_ok_then_down_then_ok_as_the_jobs_end() {
    let health = Health::by_count(4).minimum(3).allowed_share(0.25).build().unwrap();
    let address = serve(health.clone()).await;
    let router = Router::new().route("good", async || {}).route("bad", async || Status::UNAVAILABLE);
    let worker = LocalWorker::new(router.layer(HealthLayer::new(health)));
    assert_eq!(get(address, "/ready").await, is(200, "OK"));
    for (kind, times, expected) in [("bad", 1, is(200, "OK")), ("bad", 10, is(503, "DOWN")), ("good", 3, is(200, "OK"))]
    {
        for _ in 0..times {
            worker.perform(Job::new(kind, ())).await.unwrap().outcome().await.unwrap();
        }
        assert_eq!(get(address, "/ready").await, expected, "after {times} {kind}");
        assert_eq!(get(address, "/livez").await, is(200, "OK"), "the process lives all the while");
    }
}

#[tokio::test]
async fn verbose_names_every_check_and_a_stop_is_seen_at_once() {
    let (stop, disk) = (CancellationToken::new(), Arc::new(AtomicBool::new(true)));
    let is_well = disk.clone();
    let checks = Checks::new()
        .add("jobs", Health::default())
        .add("disk", move || is_well.load(Ordering::SeqCst))
        .until("stop", stop.clone());
    let address = serve(checks).await;
    let all = "[+]jobs ok\n[+]disk ok\n[+]stop ok\nOK";
    for path in ["/ready?verbose", "/ready?verbose=1", "/ready?a=b&verbose"] {
        assert_eq!(get(address, path).await, is(200, all), "{path}");
    }
    assert_eq!(get(address, "/ready?verbosely").await, is(200, "OK"));
    disk.store(false, Ordering::SeqCst);
    assert_eq!(get(address, "/ready?verbose").await, is(503, "[+]jobs ok\n[-]disk failed\n[+]stop ok\nDOWN"));
    disk.store(true, Ordering::SeqCst);
    stop.cancel();
    assert_eq!(get(address, "/ready").await, is(503, "DOWN"));
    assert_eq!(get(address, "/ready?verbose").await, is(503, "[+]jobs ok\n[+]disk ok\n[-]stop failed\nDOWN"));
    assert_eq!(get(address, "/livez?verbose").await, is(200, "OK"), "it is not dead yet");
}

#[tokio::test]
async fn livez_fails_when_the_heart_stands_still_or_its_check_panics() {
    let heartbeat = Heartbeat::new(Duration::from_secs(60)).unwrap();
    let address = serve(Checks::new().add_live("loop", heartbeat)).await;
    assert_eq!(get(address, "/livez?verbose").await, is(200, "[+]loop ok\nOK"));
    let still = Heartbeat::new(Duration::from_millis(1)).unwrap();
    let address = serve(Checks::new().add_live("loop", still.clone())).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(get(address, "/livez?verbose").await, is(503, "[-]loop failed\nDOWN"));
    assert_eq!(get(address, "/ready").await, is(200, "OK"));
    let address = serve(Checks::new().add_live("broken", || panic!("a broken check"))).await;
    assert_eq!(get(address, "/livez").await, is(503, "DOWN"));
    assert_eq!(get(address, "/livez").await, is(503, "DOWN"), "and the server lives");
}

#[tokio::test]
async fn answers_are_not_cached_and_only_get_and_head_are_served() {
    let address = serve(Health::default()).await;
    let (status, body, head) = request(address, "HEAD", "/ready").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("cache-control: no-store") && head.contains("content-type: text/plain"), "{head}");
    assert_eq!(request(address, "POST", "/ready").await.0, 405);
    assert_eq!(get(address, "/other").await.0, 404);
}
