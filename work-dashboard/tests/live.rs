//! A dashboard that listens: events, many requests at once, and the line that each action leaves.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use common::{open, request, stored};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use work_core::store::{Inspect, MemoryStore};
use work_core::{Job, Store as _};
use work_dashboard::Dashboard;

async fn served(store: Arc<dyn Inspect>) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let dashboard = Dashboard::builder(store).build().unwrap();
    let bound = dashboard.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    (bound.address(), tokio::spawn(async move { bound.run().await.unwrap() }))
}

async fn ask(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn until(stream: &mut TcpStream, times: usize) -> String {
    let mut text = String::new();
    while text.matches("event: changed").count() < times {
        let mut part = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    text
}

#[tokio::test]
async fn whoever_watches_is_told_of_a_change_and_the_hundred_and_first_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let (address, server) = served(store.clone()).await;
    let mut watching = ask(address, "/events").await;
    until(&mut watching, 1).await;
    store.insert(vec![stored(Job::new("k", json!({}))).1]).await.unwrap();
    until(&mut watching, 1).await;
    let mut others = Vec::new();
    for _ in 0..99 {
        let mut other = ask(address, "/events").await;
        until(&mut other, 1).await;
        others.push(other);
    }
    let mut text = String::new();
    ask(address, "/events").await.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    drop(others);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_requests_is_answered() {
    let store = Arc::new(MemoryStore::new());
    store.insert((0..100).map(|_| stored(Job::new("k", json!({}))).1).collect()).await.unwrap();
    let (address, server) = served(store).await;
    let all = (0..16).map(|_| {
        tokio::spawn(async move {
            for _ in 0..30 {
                let mut text = String::new();
                ask(address, "/jobs?limit=10").await.read_to_string(&mut text).await.unwrap();
                assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            }
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    server.abort();
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_action_leaves_one_line_that_nobody_can_forge() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let site = open();
    let id = site.dead(Job::new("k", json!({ "secret": "canary-4711" })), "e").await;
    assert_eq!(site.form(&format!("/jobs/{id}/retry"), "").await.status, StatusCode::SEE_OTHER);
    site.form("/jobs/bulk", "tag=a%0aINFO+forged%1b%5b31m&action=delete&max=5").await;
    let cross = request("POST", "/jobs/bulk?x=%0aforged").header("origin", "https://evil.example");
    site.send(cross.body(axum::body::Body::empty()).unwrap()).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let audit: Vec<_> = text.lines().filter(|line| line.contains("work_dashboard::audit")).collect();
    assert_eq!(audit.len(), 3, "{text}");
    assert!(audit[0].contains("action=\"retry\"") && audit[0].contains(&id.to_string()), "{}", audit[0]);
    assert!(audit[1].contains("delete many") && audit[1].contains("0 jobs"), "{}", audit[1]);
    assert!(audit[2].contains("another site"), "{}", audit[2]);
    assert!(!text.contains('\u{1b}') && !text.contains("canary-4711"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("INFO forged")), "{text}");
}
