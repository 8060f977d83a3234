//! What comes in from strangers is shown as text, or refused.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use common::{TOKEN, locked, open, request, site, stored};
use serde_json::json;
use work_core::Job;
use work_core::store::{Inspect as _, MemoryStore};

const SCRIPT: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(2)>";

#[tokio::test]
async fn script_in_any_text_of_a_job_is_shown_and_not_run() {
    let site = open();
    // Stores refuse such names; a program of another version may have written them all the same.
    let (_, mut job) = stored(Job::new("kind", json!({ "field": SCRIPT })).header("h", SCRIPT));
    job.parts.kind = SCRIPT.to_owned().into();
    job.parts.queue = SCRIPT.to_owned().into();
    job.parts.tags = ["<b>tag</b>".to_owned()].into();
    let id = site.dead_stored(job, SCRIPT).await;
    let searched: String = form_encode(SCRIPT);
    for path in [
        "/".to_owned(),
        "/jobs".to_owned(),
        format!("/jobs/{id}"),
        format!("/jobs/{id}/edit"),
        "/dead".to_owned(),
        "/queues".to_owned(),
        format!("/jobs?error={searched}&kind={searched}&queue={searched}&tag={searched}"),
        format!("/jobs/bulk?action=delete&error={searched}"),
        format!("/jobs?state={searched}"),
        format!("/jobs?{searched}=1"),
        format!("/jobs/{searched}"),
        format!("/nothing/{searched}"),
        format!("/jobs?done={searched}&n={searched}"),
    ] {
        let page = site.get(&path).await;
        for bad in ["<script>alert", "<img src=x", "<svg/onload", "<b>tag"] {
            assert!(!page.text.contains(bad), "{path}: {bad}");
        }
        assert!(!page.text.contains(" style=") && !page.text.contains(" onclick"), "{path}");
        assert!(!page.header("content-security-policy").contains("unsafe"));
    }
    assert!(site.get(&format!("/jobs/{id}")).await.text.contains("&lt;script&gt;alert(1)"));
}

#[tokio::test]
async fn queues_with_signs_of_sql_and_of_addresses_are_found_or_refused_but_never_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let store = work_sqlite::SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
    let site = site(Arc::new(store), work_dashboard::DashboardBuilder::show_args);
    let id = site.keep(Job::new("k", json!({ "a": 1 }))).await;
    for evil in
        ["'; DROP TABLE jobs; --", "a' OR '1'='1", "%", "_", "\"", "`", "\\", "a/b?c#d%2F", "\u{0}", "ü\u{202e}"]
    {
        let evil = form_encode(evil);
        for name in ["queue", "kind", "tag", "error", "arg"] {
            let value = if name == "arg" { format!("a={evil}") } else { evil.clone() };
            let answer = site.get(&format!("/api/v1/jobs?{name}={value}")).await;
            assert!([200, 400].contains(&answer.status.as_u16()), "{name}={value}: {}", answer.text);
            if answer.status == 200 {
                assert_eq!(answer.json()["jobs"].as_array().unwrap().len(), 0, "{name}={value}");
            }
        }
        for name in ["id", "state", "after", "limit", "order", "created_from", "sort"] {
            let answer = site.get(&format!("/api/v1/jobs?{name}={evil}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}={evil}");
        }
        let answer = site.api("POST", &format!("/api/v1/queues/{evil}/pause"), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{evil}");
    }
    assert!(site.store.get(id).await.unwrap().is_some());
    for path in ["/assets/../../etc/passwd", "/assets/%2e%2e%2fetc", "//", "/jobs/%00", "/jobs/..%2f", "/jobs/%ff"] {
        let answer = site.get(path).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn limits_are_refused_and_not_clamped() {
    let site = open();
    for query in ["limit=0", "limit=501", "limit=1000000", "limit=-1", "after=x", "created_from=5y", "state=flying"] {
        assert_eq!(site.get(&format!("/api/v1/jobs?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let many: String = (0..700).map(|_| "tag=a&").collect();
    assert_eq!(site.get(&format!("/api/v1/jobs?{many}")).await.status, StatusCode::BAD_REQUEST);
    let long = "a".repeat(40_000);
    assert_eq!(site.get(&format!("/api/v1/jobs?tag={long}")).await.status, StatusCode::URI_TOO_LONG);
    let wrong = site.send(request("TRACE", "/jobs").body(Body::empty()).unwrap()).await;
    assert_eq!((wrong.status, wrong.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET"));
}

#[tokio::test]
async fn huge_deep_and_broken_bodies_are_refused() {
    let site = locked();
    let id = site.keep(Job::new("k", json!({}))).await;
    let put = |body: Vec<u8>, kind: &str| {
        let request = request("PUT", &format!("/api/v1/jobs/{id}/args")).header("content-type", kind);
        request.header("authorization", format!("Bearer {TOKEN}")).body(Body::from(body)).unwrap()
    };
    let json = "application/json";
    assert_eq!(site.send(put(vec![b'x'; 10_000_000], json)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let large = format!("{{\"args\":\"{}\"}}", "x".repeat(1_500_000)).into_bytes();
    assert_eq!(site.send(put(large, json)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.send(put(b"[".repeat(100_000), json)).await.status, StatusCode::BAD_REQUEST);
    let deep = format!("{{\"args\":{}{}}}", "[".repeat(100), "]".repeat(100)).into_bytes();
    assert_eq!(site.send(put(deep, json)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.send(put(b"{".to_vec(), json)).await.status, StatusCode::BAD_REQUEST);
    for broken in [
        "{\"args\":\"\\ud800\"}",
        "{\"args\":\"\u{1}\"}",
        "{\"args\":NaN}",
        "{\"args\":1} 2",
        "",
        "\u{feff}{\"args\":1}",
    ] {
        let answer = site.send(put(broken.into(), json)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{broken:?}: {}", answer.text);
        assert!(answer.text.contains("line 1 column"), "{broken:?}: {}", answer.text);
    }
    for wrong in ["{\"args\":1,\"args\":2}", "[]", "1", "null", "{\"args\":1,\"kind\":\"other\"}"] {
        let answer = site.send(put(wrong.into(), json)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}: {}", answer.text);
    }
    assert_eq!(site.send(put(b"{\"other\":1}".to_vec(), json)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let zipped = request("PUT", &format!("/api/v1/jobs/{id}/args")).header("content-type", json);
    let zipped = zipped.header("authorization", format!("Bearer {TOKEN}")).header("content-encoding", "gzip");
    assert_eq!(site.send(zipped.body(Body::empty()).unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(site.send(put(b"{\"args\":{\"n\":2}}".to_vec(), json)).await.status, StatusCode::OK);
    assert_eq!(&site.store.get(id).await.unwrap().unwrap().job.args[..], b"{\"n\":2}");
}

#[tokio::test]
async fn args_are_hidden_until_the_program_says_otherwise() {
    let secret = "4711-canary";
    let job = || Job::new("k", json!({ "card": secret, "n": 1 })).header("x-token", secret);
    for shown in [0, 1, 2] {
        let site = site(Arc::new(MemoryStore::new()), |builder| match shown {
            0 => builder,
            1 => builder.redact(|_, args| args["card"] = json!("•••")),
            _ => builder.show_args(),
        });
        let id = site.dead(job(), "e").await;
        for path in ["/", "/jobs", "/dead", "/api/v1/jobs", "/api/v1/dead-letters"] {
            let seen = site.get(path).await.text.contains(secret);
            assert_eq!(seen, shown == 2 && path == "/api/v1/jobs", "{shown} {path}");
        }
        for path in [format!("/jobs/{id}"), format!("/jobs/{id}/edit"), format!("/api/v1/jobs/{id}")] {
            assert_eq!(site.get(&path).await.text.contains(secret), shown == 2, "{shown} {path}");
        }
        let asked = site.get(&format!("/api/v1/jobs/count?arg=card={secret}")).await.status;
        assert_eq!(asked, if shown == 2 { StatusCode::OK } else { StatusCode::FORBIDDEN });
    }
}

#[tokio::test]
async fn long_numbers_keep_their_digits() {
    let site = open();
    let (id, mut job) = stored(Job::new("k", json!({})));
    job.args = "{\"n\":12345678901234567890.1234567890}".into();
    site.store.insert(vec![job]).await.unwrap();
    for path in [format!("/api/v1/jobs/{id}"), "/api/v1/jobs".to_owned(), format!("/jobs/{id}")] {
        assert!(site.get(&path).await.text.contains("12345678901234567890.1234567890"), "{path}");
    }
}

fn form_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
