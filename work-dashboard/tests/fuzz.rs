//! Whatever a request may say, at random: an answer or a refusal with a short message, never an error of the server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod common;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use common::{Answer, Site, open, request};
use serde_json::{Value, json};
use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::testing::fuzz::{Fuzz, Random, check_message};
use work_core::{Job, Unique};
use work_dashboard::workflows::{self, Export, RunName};

const VALUES: &[&str] = &[
    "available",
    "discarded",
    "mail",
    "mail:tenant-7",
    "01932f7b-8d2c-7a41-b2c3-0123456789ab",
    "user.id=7",
    "user.name=Ann",
    "15m",
    "7d",
    "2026-11-21",
    "2026-11-21T09:30:00+02:00",
    "2026-11-21T09:30",
    "newest",
    "oldest",
    "50",
    "500",
    "refused",
    "1",
    "-1",
    "retry",
    "pages.monday",
];

const NAMES: &[&str] = &[
    "state",
    "queue",
    "kind",
    "tag",
    "id",
    "error",
    "arg",
    "created_from",
    "created_to",
    "due_from",
    "due_to",
    "finished_from",
    "finished_to",
    "order",
    "after",
    "limit",
    "done",
    "n",
    "action",
    "all",
];

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Mostly well formed: else nothing behind the first check is reached.
fn query(random: &mut Random) -> String {
    if random.once_in(10) {
        return random
            .text(&["state=available&queue=mail", "a=%zz&=&&b"])
            .chars()
            .filter(char::is_ascii_graphic)
            .collect();
    }
    let pairs: Vec<String> = (0..random.below(4))
        .map(|_| {
            let name = if random.once_in(20) { random.text(NAMES) } else { (*random.pick(NAMES)).to_owned() };
            let value = random.text(VALUES);
            format!("{}={}", encoded(&name), encoded(&value))
        })
        .collect();
    pairs.join("&").chars().take(20_000).collect()
}

/// What is wrong is said in few words, and it is not the server that failed.
fn check(answer: &Answer, path: &str) {
    assert!(answer.status.as_u16() < 500, "{path}: {} {}", answer.status, answer.text);
    if !answer.status.is_success() && answer.header("content-type").contains("json") {
        let detail = answer.json()["detail"].as_str().map(str::to_owned);
        check_message(detail.unwrap_or_else(|| panic!("{path}: {}", answer.text)));
    }
}

async fn filled() -> (Site, Vec<String>) {
    let site = open();
    let mut ids = Vec::new();
    for n in 0..6 {
        let job = Job::new("mail", json!({ "user": { "id": n, "name": "Ann" } })).tag("a");
        let job = if n == 0 { job.unique(Unique::new("k")) } else { job };
        ids.push(
            if n % 2 == 0 { site.dead(job, "connection refused").await } else { site.keep(job).await }.to_string(),
        );
    }
    (site, ids)
}

#[tokio::test]
async fn any_query_is_a_filter_or_refused() {
    let (site, _) = filled().await;
    let mut fuzz = Fuzz::new("queries");
    while let Some(mut random) = fuzz.next_case() {
        let paths = [
            "/api/v1/jobs",
            "/api/v1/jobs/count",
            "/jobs",
            "/jobs/bulk",
            "/dead",
            "/api/v1/dead-letters",
            "/api/v1/workflows",
            "/",
        ];
        let path = format!("{}?{}", random.pick(&paths), query(&mut random));
        let Ok(request) = request("GET", &path).body(Body::empty()) else { continue };
        fuzz.about(&path);
        let answer = site.send(request).await;
        check(&answer, &path);
        // What a page says comes next is a cursor.
        if path.starts_with("/api/v1/jobs?")
            && answer.status == StatusCode::OK
            && let Some(next) = answer.json()["next"].as_str()
        {
            check(&site.get(&format!("/api/v1/jobs?after={next}")).await, next);
        }
    }
}

#[tokio::test]
async fn any_path_header_and_body_is_understood_or_refused() {
    let (site, ids) = filled().await;
    let seen = site.get(&format!("/api/v1/jobs/{}", ids[0])).await;
    let etag = seen.header("etag").to_owned();
    let headers = [
        etag.as_str(),
        "*",
        "W/\"abc\"",
        "\"a\", \"b\"",
        "work_session=abc; work_session=",
        "http://localhost:8080",
        "null",
        "Bearer abc",
    ];
    let bodies = [
        r#"{"args":{"user":{"id":7}}}"#,
        r#"{"action":"retry","limit":5,"all":true}"#,
        r#"{"action":"delete","expect":1}"#,
    ];
    let mut fuzz = Fuzz::new("requests");
    while let Some(mut random) = fuzz.next_case() {
        let name = if random.once_in(3) { encoded(&random.text(VALUES)) } else { random.pick(&ids).clone() };
        let calls = [
            ("POST", format!("/api/v1/jobs/{name}/retry")),
            ("POST", format!("/api/v1/jobs/{name}/run")),
            ("PUT", format!("/api/v1/jobs/{name}/args")),
            ("GET", format!("/api/v1/jobs/{name}")),
            ("GET", format!("/jobs/{name}")),
            ("POST", format!("/api/v1/queues/{name}/pause")),
            ("POST", format!("/api/v1/queues/{name}/resume")),
            ("POST", format!("/api/v1/schedules/{name}/run")),
            ("GET", format!("/workflows/{name}")),
            ("POST", format!("/api/v1/workflows/{name}/pause")),
            ("POST", format!("/api/v1/jobs/bulk?{}", query(&mut random))),
            ("POST", format!("/jobs/{name}/edit")),
            ("POST", "/login".to_owned()),
        ];
        let (method, path) = random.pick(&calls);
        let mut request = request(method, path)
            .header("content-type", *random.pick(&["application/json", "application/x-www-form-urlencoded"]));
        for header in ["if-match", "cookie", "origin", "authorization", "sec-fetch-site"] {
            if random.once_in(4)
                && let Ok(value) = HeaderValue::from_bytes(&random.bytes(&headers))
            {
                request = request.header(header, value);
            }
        }
        let Ok(request) = request.body(Body::from(random.bytes(&bodies))) else { continue };
        fuzz.about((method, path));
        check(&site.send(request).await, path);
    }
    assert!(site.store.counts(JobFilter::all()).await.is_ok());
}

const WORDS: [&str; 5] = ["fetch", "store", "wait", "waiting", "executing"];

fn export() -> Value {
    json!({
        "workflow": "pages", "run": "monday", "overall": { "site": "x" }, "at": "2026-11-21T09:30:00Z",
        "graph": [{ "state": "fetch", "start": true, "to": ["store", "wait"], "dead": "store" }, { "state": "store", "terminal": true },
            { "state": "wait", "to": ["store"], "kicks": ["fetch"], "max_attempts": 3 }],
        "items": [
            { "id": "01932f7b-8d2c-7a41-b2c3-0123456789ab", "state": "fetch", "phase": "waiting", "step": 1, "attempt": 0, "context": { "n": 1 },
                "due": "2027-01-01T00:00:00Z", "errors": { "fetch": ["refused"] } },
            { "id": "01932f7b-8d2c-7a41-b2c3-0123456789ac", "parent": "01932f7b-8d2c-7a41-b2c3-0123456789ab", "state": "wait", "phase": "waiting",
                "step": 2, "attempt": 1, "unless": ["paid", "store"], "context": [1, "x"] },
            { "id": "01932f7b-8d2c-7a41-b2c3-0123456789ad", "state": "store", "phase": "completed", "step": 3, "attempt": 1, "context": null },
        ],
    })
}

#[tokio::test]
async fn any_export_is_imported_or_refused_and_what_was_imported_is_shown() {
    let mut fuzz = Fuzz::new("exports");
    while let Some(mut random) = fuzz.next_case() {
        let mut json = export();
        for _ in 0..=random.below(3) {
            random.tamper(&mut json, &WORDS);
        }
        let mut text = json.to_string();
        if random.once_in(5) {
            text = random.text(&[text.as_str()]);
        }
        let store = std::sync::Arc::new(MemoryStore::new());
        let export: Export = match serde_json::from_str(&text) {
            Ok(export) => export,
            Err(_) => continue,
        };
        fuzz.about(&text);
        let checked = workflows::check(store.as_ref(), &export).await;
        match workflows::import(store.as_ref(), &export).await {
            Ok(done) => {
                assert!(checked.is_ok());
                let again = workflows::import(store.as_ref(), &export).await.unwrap();
                assert_eq!(
                    (again.items, again.there),
                    (0, export.items.len() as u64),
                    "an import that is repeated makes nothing"
                );
                assert!(done.items + done.there == export.items.len() as u64);
                let site = common::site(store, work_dashboard::DashboardBuilder::show_args);
                let name: RunName = RunName::new(&export.workflow, &export.run).unwrap();
                for path in [
                    format!("/workflows/{name}"),
                    format!("/api/v1/workflows/{name}"),
                    "/workflows".to_owned(),
                    "/jobs".to_owned(),
                ] {
                    let answer = site.get(&path).await;
                    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
                }
            }
            Err(error) => {
                check_message(&error);
                assert!(checked.is_err());
                assert_eq!(store.counts(JobFilter::all()).await.unwrap().total(), 0, "{error}: something was stored");
            }
        }
    }
}

#[tokio::test]
async fn an_import_without_a_graph_may_be_repeated_when_an_item_waits_for_a_signal() {
    let mut json = export();
    json.as_object_mut().unwrap().remove("graph");
    json["items"].as_array_mut().unwrap().pop();
    let export: Export = serde_json::from_value(json).unwrap();
    let store = MemoryStore::new();
    workflows::import(&store, &export).await.unwrap();
    assert_eq!(workflows::import(&store, &export).await.unwrap().there, 2);
}

#[tokio::test]
async fn a_graph_with_a_state_that_is_no_name_is_refused() {
    let mut json = export();
    json["graph"][0]["state"] = "a\u{202e}b".into();
    let store = MemoryStore::new();
    let error = workflows::import(&store, &serde_json::from_value(json).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("is no name of a state"), "{error}");
    check_message(error);
}
