//! What goes against the whole of it: every route, raw bytes, and very many requests.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use common::{TOKEN, locked, open, request, site, stored};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use work_core::store::{MemoryStore, Want};
use work_core::{Job, JobState, Store as _};
use work_dashboard::{Dashboard, DashboardBuilder, Needs, routes};

fn concrete(path: &str, id: &str) -> String {
    path.replace("{id}", id).replace("{queue}", "default").replace("{name}", "nightly").replace("{run}", "pages.monday")
}

fn kind(path: &str) -> &'static str {
    if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" }
}

#[tokio::test(start_paused = true)]
async fn no_route_answers_a_name_that_is_not_its_own() {
    let site = open();
    let id = site.keep(Job::new("k", json!({}))).await.to_string();
    for (method, path, _) in routes() {
        let path = concrete(path, &id);
        let request = axum::http::Request::builder().method(method).uri(&path).header("host", "evil.example");
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{method} {path}");
        assert!(!answer.text.contains("evil.example</") && !answer.header("content-security-policy").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn no_route_acts_for_another_site_even_with_the_secret_of_a_form() {
    let mut tried = 0;
    for (method, path, _) in routes().filter(|(method, _, needs)| *method != "GET" && *needs == Needs::Acting) {
        for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let site = open();
            let id = site.dead(Job::new("k", json!({})), "e").await;
            let body = format!("csrf={}&args=1&action=delete&all=1&max=9", site.secret().await);
            let request = request(method, &concrete(path, &id.to_string())).header("content-type", kind(path));
            let answer = site.send(request.header(name, value).body(Body::from(body)).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {name}: {value}");
            assert_eq!(site.state(id).await, Some(JobState::Discarded), "{method} {path}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
    // Browsers hide the origin where a page or a proxy says so, and still tell that it is ours.
    let site = open();
    let id = site.dead(Job::new("k", json!({})), "e").await;
    let body = format!("csrf={}", site.secret().await);
    let own = request("POST", &format!("/jobs/{id}/retry")).header("content-type", kind("/jobs"));
    let own = own.header("origin", "null").header("sec-fetch-site", "same-origin");
    assert_eq!(site.send(own.body(Body::from(body)).unwrap()).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_is_almost_a_known_one_is_refused_without_the_signs_that_a_terminal_obeys() {
    let site = open();
    for path in ["/jobs", "/api/v1/jobs"] {
        let answer = site.get(&format!("{path}?finished_%1B%5B31mom=1h")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text.contains("no filter is called"), "{path}: {}", answer.text);
        assert!(!answer.text.contains('\u{1b}') && !answer.text.contains("\\u001b"), "{path}: {}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn no_get_changes_anything_whatever_it_pretends_to_be() {
    let site = open();
    let id = site.dead(Job::new("k", json!({})), "e").await;
    let all = routes().collect::<Vec<_>>();
    for (method, path, _) in &all {
        // An event stream has no end.
        if *path == "/events" {
            continue;
        }
        let target = format!("{}?action=delete&all=1&max=9&_method=DELETE", concrete(path, &id.to_string()));
        for pretended in ["GET", "HEAD"] {
            let request = request(pretended, &target).header("x-http-method-override", *method);
            let answer = site.send(request.header("x-method-override", *method).body(Body::empty()).unwrap()).await;
            assert!(!answer.status.is_server_error(), "{target}");
            let readable = all.iter().any(|(method, other, _)| *method == "GET" && other == path);
            if !readable {
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
                assert!(answer.header("allow").contains(method), "{path}: {}", answer.header("allow"));
            }
        }
        assert_eq!(site.state(id).await, Some(JobState::Discarded), "{target}");
    }
    for method in ["OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND"] {
        let answer = site.send(request(method, "/api/v1/jobs").body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "no other site may read");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_token_is_none() {
    for given in ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer the-full-token-of-this-tes", "bearer\tx", TOKEN] {
        let site = locked();
        let answer =
            site.send(request("GET", "/api/v1/jobs").header("authorization", given).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{given:?}");
    }
    let site = locked();
    for cookie in
        ["work_session=", "work_session=x", &format!("work_session={TOKEN}"), "work_session=\"\"; work_session=1"]
    {
        let answer = site.send(request("GET", "/").header("cookie", cookie).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cookie}");
    }
}

#[tokio::test]
async fn odd_headers_are_ignored_and_odd_ids_refused() {
    let site = open();
    site.keep(Job::new("k", json!({}))).await;
    for (name, value) in [
        ("range", "bytes=0-1"),
        ("range", "x"),
        ("if-none-match", "*"),
        ("if-modified-since", "never"),
        ("accept", "application/xml"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("x-original-url", "/api/v1/openapi.json"),
        ("expect", "100-continue"),
        ("cookie", "a=\u{1}"),
    ] {
        let Ok(request) = request("GET", "/api/v1/jobs").header(name, value).body(Body::empty()) else { continue };
        let answer = site.send(request).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, "application/json"),
            "{name}: {value}"
        );
        assert_eq!(answer.json()["jobs"].as_array().unwrap().len(), 1, "{name}: {value}");
    }
    for id in ["abc", "..", "%2e%2e%2f", "%00", "-1", &"a".repeat(10_240), "00000000-0000-0000-0000-00000000000g"] {
        for path in [format!("/api/v1/jobs/{id}"), format!("/jobs/{id}")] {
            let status = site.get(&path).await.status.as_u16();
            assert!([400, 404].contains(&status), "{path:.40}: {status}");
        }
    }
}

#[tokio::test]
async fn a_queue_with_any_name_is_found() {
    let site = open();
    for name in ["a/b?c#d%2F", "..", "%", "a b+c&d=e", "ü\u{202e}<b>"] {
        let (_, mut job) = stored(Job::new("k", json!({})));
        job.parts.queue = name.to_owned().into();
        site.store.insert(vec![job]).await.unwrap();
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = site.api("POST", &format!("/api/v1/queues/{encoded}/pause"), "").await;
        // Stores that know no such name say so.
        assert!([200, 400].contains(&answer.status.as_u16()), "{name}: {}", answer.text);
        let page = site.form(&format!("/queues/{encoded}/pause"), "").await;
        assert!([303, 400].contains(&page.status.as_u16()), "{name}: {}", page.text);
        assert_eq!(site.get(&format!("/api/v1/jobs?queue={encoded}")).await.json()["jobs"][0]["queue"], name);
    }
}

#[tokio::test]
async fn of_two_who_retry_one_wins_and_what_runs_is_not_edited() {
    let site = open();
    let id = site.dead(Job::new("k", json!({})), "e").await;
    let path = format!("/api/v1/jobs/{id}/retry");
    let (first, second) = tokio::join!(site.api("POST", &path, ""), site.api("POST", &path, ""));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let want = Want {
        queues: vec!["default".into()],
        limit: 1,
        lease_for: Duration::from_secs(60),
        worker: "w".into(),
        ..Want::default()
    };
    assert_eq!(site.store.lease(want).await.unwrap().jobs.len(), 1);
    let answer = site.api("PUT", &format!("/api/v1/jobs/{id}/args"), "{\"args\":2}").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    assert_eq!(site.api("DELETE", &format!("/api/v1/jobs/{id}"), "").await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn deep_and_huge_args_and_a_hook_that_panics_break_no_page() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let wide = format!("[{}1]", "{\"a\":\"<&\"},".repeat(150_000));
    for args in [deep, wide, "not json".to_owned(), "\"\u{1}\u{202e}".to_owned()] {
        for shown in [true, false] {
            let site = site(Arc::new(MemoryStore::new()), |builder| {
                // This one panics at what is no object.
                if shown { builder.show_args() } else { builder.redact(|_, args| args["x"] = json!(1)) }
            });
            let (id, mut job) = stored(Job::new("k", json!({})));
            job.args = args.clone().into();
            site.dead_stored(job, &args).await;
            for path in [
                "/",
                "/jobs",
                "/dead",
                &format!("/jobs/{id}"),
                &format!("/jobs/{id}/edit"),
                &format!("/api/v1/jobs/{id}"),
            ] {
                let start = Instant::now();
                let answer = site.get(path).await;
                assert_eq!(answer.status, StatusCode::OK, "{path} of {args:.20}");
                assert!(start.elapsed() < Duration::from_secs(10), "{path}: {:?}", start.elapsed());
                println!("{path} of {args:.10}: {} bytes in {:?}", answer.text.len(), start.elapsed());
            }
        }
    }
}

async fn served(set: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> SocketAddr {
    let store = Arc::new(MemoryStore::new());
    store.insert((0..20).map(|_| stored(Job::new("k", json!({}))).1).collect()).await.unwrap();
    let bound = set(Dashboard::builder(store)).build().unwrap().bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    tokio::spawn(bound.run());
    address
}

/// What comes back for these bytes until the connection is closed.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The other side may close before all is written.
    drop(stream.write_all(bytes).await);
    let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "it stays open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn broken_http_is_refused_and_closed() {
    let address = served(|builder| builder).await;
    let head = "POST /jobs/bulk HTTP/1.1\r\nHost: localhost\r\n";
    let huge = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    for (bytes, statuses) in [
        (
            format!(
                "{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET /x"
            ),
            &["400", "415", "403"][..],
        ),
        (format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"), &["400"]),
        (format!("{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nXYZ\r\n"), &["400", "413"]),
        (huge, &["431"]),
        ("GET /\r\n\r\n".into(), &["", "400"]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["", "400"]),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into(), &["421"]),
        ("GET /\u{0} HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), &["400"]),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "a".repeat(40_000)), &["414"]),
    ] {
        let answer = raw(address, bytes.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or("");
        assert!(statuses.contains(&status), "{bytes:.120}: {answer:.200}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "nothing is smuggled: {answer:.400}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let address = served(|builder| builder).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /jobs/bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
        Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    let mut sent = 0;
    let (mut reader, mut writer) = stream.split();
    let mut answer = [0; 4096];
    let read = reader.read(&mut answer);
    let write = async {
        while writer.write_all(chunk.as_bytes()).await.is_ok() && sent < 100 << 20 {
            sent += 0x10000;
        }
        std::future::pending::<()>().await;
    };
    let read = tokio::select! { read = read => read.unwrap_or(0), () = write => 0 };
    assert!(
        String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer[..read])
    );
    assert!(sent < 50 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn who_is_slow_to_ask_is_cut_off_and_others_are_answered() {
    let address = served(|builder| builder).await;
    let start = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        slow.push(stream);
    }
    let answer = raw(address, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a slow one is still there after {:?}", start.elapsed());
    }
    assert!(start.elapsed() >= Duration::from_secs(5), "not at once: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_at_once_are_all_answered() {
    let address = served(|builder| builder.token(TOKEN)).await;
    let start = Instant::now();
    let one = |number: usize| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut seen = 0;
        for path in ["/livez", "/api/v1/queues", "/login", "/api/v1/jobs?limit=5", "/metrics"].iter().cycle().take(200)
        {
            let token = if number % 4 == 3 { "a-wrong-token-of-somebody" } else { TOKEN };
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let status = status_of(&mut stream).await;
            let fine = if number % 4 == 3 { [200, 401, 429].contains(&status) } else { status == 200 };
            assert!(fine, "{path}: {status}");
            seen += 1;
        }
        seen
    };
    let all: Vec<_> = (0..50).map(|number| tokio::spawn(one(number))).collect();
    let mut seen = 0;
    for one in all {
        seen += one.await.unwrap();
    }
    assert_eq!(seen, 10_000);
    println!("{seen} requests in {:?}", start.elapsed());
}

/// Reads one answer to its end.
async fn status_of(stream: &mut TcpStream) -> u16 {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 8192];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..read]);
        let head = String::from_utf8_lossy(&text).into_owned();
        let Some((head, _)) = head.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if text.len() >= head.len() + 4 + length {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}
