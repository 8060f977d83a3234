//! What people do, by page and by API, and what both show afterwards.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use common::{Site, open, request, site, stored};
use serde_json::json;
use work_core::store::{Inspect, MemoryStore, StoredSchedule};
use work_core::{Clock, Job, JobState, Schedule, Store as _};
use work_dashboard::DashboardBuilder;

/// The ids that a page of the site lists, in order.
async fn on_page(site: &Site, query: &str) -> Vec<String> {
    let page = site.get(&format!("/jobs{query}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let ids = page.text.split("name=\"id\" value=\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned()).filter(|id| id.len() == 36).collect()
}

async fn in_api(site: &Site, query: &str) -> Vec<String> {
    let answer = site.get(&format!("/api/v1/jobs{query}")).await.json();
    answer["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

async fn agree(site: &Site) {
    for query in ["", "?state=available", "?state=discarded", "?state=cancelled", "?kind=b", "?queue=q&order=oldest"] {
        assert_eq!(on_page(site, query).await, in_api(site, query).await, "{query}");
    }
}

#[tokio::test]
async fn page_and_api_list_the_same_after_each_action() {
    let site = open();
    let now = Clock::system().now();
    let dead = site.dead(Job::new("a", json!({})).queue("q"), "timed out").await;
    let later = {
        let (id, mut job) = stored(Job::new("b", json!({})));
        job.parts.scheduled_at = Some(now + Duration::from_secs(600));
        site.store.insert(vec![job]).await.unwrap();
        id
    };
    agree(&site).await;
    for (path, state) in [
        (format!("/jobs/{dead}/retry"), (dead, Some(JobState::Available))),
        (format!("/jobs/{dead}/cancel"), (dead, Some(JobState::Cancelled))),
        (format!("/jobs/{later}/run"), (later, Some(JobState::Available))),
        (format!("/jobs/{dead}/delete"), (dead, None)),
    ] {
        let answer = site.form(&path, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text);
        assert_eq!(site.state(state.0).await, state.1, "{path}");
        assert_eq!(site.get(answer.header("location")).await.status, StatusCode::OK, "{path}");
        agree(&site).await;
    }
    assert!(!site.get(&format!("/jobs/{later}")).await.text.contains("Run now"), "it is due by now");
    for (method, what, status) in [
        ("POST", "/retry", StatusCode::CONFLICT),
        ("POST", "/run", StatusCode::OK),
        ("POST", "/cancel", StatusCode::OK),
        ("POST", "/cancel", StatusCode::CONFLICT),
        ("POST", "/retry", StatusCode::OK),
        ("DELETE", "", StatusCode::OK),
        ("DELETE", "", StatusCode::NOT_FOUND),
    ] {
        let answer = site.api(method, &format!("/api/v1/jobs/{later}{what}"), "").await;
        assert_eq!(answer.status, status, "{method} {what}: {}", answer.text);
        agree(&site).await;
    }
    assert_eq!(site.api("POST", "/api/v1/jobs/abc/retry", "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn edited_args_are_kept_and_the_job_is_tried_again() {
    let site = open();
    let id = site.dead(Job::new("a", json!({ "n": 1 })), "n is too small").await;
    let page = site.get(&format!("/jobs/{id}/edit")).await;
    assert!(page.text.contains("&quot;n&quot;: 1"), "{}", page.text);
    let refused = site.form(&format!("/jobs/{id}/edit"), "args=%7Bbroken&then=retry").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let answer = site.form(&format!("/jobs/{id}/edit"), "args=%7B%22n%22%3A2%7D&then=retry").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let job = site.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, &job.job.args[..]), (JobState::Available, &b"{\"n\":2}"[..]));
}

#[tokio::test]
async fn a_job_that_changed_since_somebody_looked_is_left_as_it_is() {
    let site = open();
    let id = site.dead(Job::new("a", json!({ "n": 1 })), "n is too small").await;
    let seen = |page: &str| page.split("name=\"seen\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = seen(&site.get(&format!("/jobs/{id}/edit")).await.text);
    let tag = site.get(&format!("/api/v1/jobs/{id}")).await.header("etag").to_owned();
    let put = async |tag: &str, args: &str| {
        let request =
            common::request("PUT", &format!("/api/v1/jobs/{id}/args")).header("content-type", "application/json");
        site.send(request.header("if-match", tag).body(format!("{{\"args\":{args}}}").into()).unwrap()).await
    };
    // Somebody else mends it meanwhile.
    assert_eq!(put(&tag, "{\"n\":7}").await.status, StatusCode::OK);
    let late = site.form(&format!("/jobs/{id}/edit"), &format!("seen={form}&args=%7B%22n%22%3A2%7D&then=retry")).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED, "{}", late.text);
    assert!(late.text.contains("has changed since you looked"), "{}", late.text);
    let answer = put(&tag, "3").await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::PRECONDITION_FAILED, &json!("changed")));
    for act in ["retry", "cancel", "run"] {
        let request = common::request("POST", &format!("/api/v1/jobs/{id}/{act}")).header("if-match", &tag);
        let answer = site.send(request.header("content-type", "application/json").body("".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{act}");
    }
    let job = site.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, &job.job.args[..]), (JobState::Discarded, &b"{\"n\":7}"[..]), "nothing was done");
    let now = site.get(&format!("/api/v1/jobs/{id}")).await.header("etag").to_owned();
    assert_ne!(now, tag);
    assert_eq!(put(&format!("\"other\", {now}"), "{\"n\":8}").await.status, StatusCode::OK);
    assert_eq!(put("*", "{\"n\":9}").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_editors_who_saw_the_same_one_wins_and_the_others_get_412() {
    let site = open();
    for round in 0..20 {
        let id = site.dead(Job::new("a", json!({})), "e").await;
        let tag = site.get(&format!("/api/v1/jobs/{id}")).await.header("etag").to_owned();
        let put = |n: u32| {
            let request = common::request("PUT", &format!("/api/v1/jobs/{id}/args"));
            let request = request.header("content-type", "application/json").header("if-match", &tag);
            site.send(request.body(format!("{{\"args\":{n}}}").into()).unwrap())
        };
        let answers = futures_util::future::join_all((0..8).map(put)).await;
        let won: Vec<_> = (0..8).filter(|n| answers[*n].status == StatusCode::OK).collect();
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::PRECONDITION_FAILED).count(), 7);
        let job = site.store.get(id).await.unwrap().unwrap();
        assert_eq!(job.job.args, won[0].to_string());
    }
}

#[tokio::test]
async fn save_and_retry_is_one_change() {
    let site = open();
    let held = || Job::new("a", json!(1)).unique(work_core::Unique::new("k"));
    let id = site.dead(held(), "e").await;
    site.store.insert(vec![stored(held()).1]).await.unwrap();
    let page = site.get(&format!("/jobs/{id}/edit")).await.text;
    let seen = page.split("name=\"seen\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = site.form(&format!("/jobs/{id}/edit"), &format!("seen={seen}&args=2&then=retry")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    let job = site.store.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, &job.job.args[..]), (JobState::Discarded, &b"1"[..]), "it has its old arguments");
}

#[tokio::test]
async fn many_are_changed_only_after_their_number_was_said() {
    let site = open();
    for number in 0..7 {
        site.dead(Job::new("a", json!({})), &format!("card {number} was declined")).await;
    }
    site.dead(Job::new("b", json!({})), "timed out").await;
    let dead = site.get("/dead").await.text;
    assert!(dead.contains("card # was declined"), "{dead}");
    let link = "/jobs/bulk?state=discarded&kind=a&error=was+declined&action=retry";
    assert!(dead.contains(&link.replace('&', "&amp;")), "{dead}");
    assert!(site.get(link).await.text.contains("Retry 7 jobs"));
    assert_eq!(site.get("/jobs/bulk?action=delete").await.status, StatusCode::BAD_REQUEST, "nothing is selected");
    let answer = site.form("/jobs/bulk", "state=discarded&kind=a&error=was+declined&action=retry&max=5").await;
    assert!(answer.header("location").contains("n=5"), "no more than was said: {}", answer.header("location"));
    for (body, status) in [
        (json!({ "action": "retry" }), 400),
        (json!({ "action": "retry", "expect": 9 }), 400),
        (json!({ "action": "retry", "expect": 9, "all": true }), 409),
        (json!({ "action": "explode", "expect": 3, "all": true }), 400),
        (json!({ "action": "retry", "expect": 3, "all": true, "force": 1 }), 422),
        (json!({ "action": "retry", "limit": 10_001, "all": true }), 400),
        (json!({ "action": "retry", "expect": 3, "all": true }), 200),
    ] {
        let answer = site.api("POST", "/api/v1/jobs/bulk", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    }
    assert_eq!(site.get("/api/v1/jobs/count?state=available").await.json()["count"], 8);
}

#[tokio::test]
async fn queues_and_schedules_are_paused_and_resumed() {
    let site = open();
    site.keep(Job::new("a", json!({})).queue("mail")).await;
    let (_, job) = stored(Job::new("report", json!({})));
    let schedule = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
    site.store.put_schedule(StoredSchedule::of("nightly / <b>", job, &schedule)).await.unwrap();
    assert_eq!(site.form("/queues/mail/pause", "").await.status, StatusCode::SEE_OTHER);
    assert!(site.get("/queues").await.text.contains("/queues/mail/resume"));
    assert!(site.get("/").await.text.contains("is paused"));
    assert_eq!(site.api("POST", "/api/v1/queues/mail/resume", "").await.json()["changed"], true);
    assert_eq!(site.api("POST", "/api/v1/queues/nothing/pause", "").await.status, StatusCode::NOT_FOUND);
    let name = "nightly%20%2F%20%3Cb%3E";
    let schedules = site.get("/schedules").await.text;
    assert!(schedules.contains(&format!("/schedules/{name}/run")), "{schedules}");
    assert_eq!(schedules.matches("<li><time").count(), 5, "five runs");
    assert_eq!(site.form(&format!("/schedules/{name}/run"), "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(in_api(&site, "?kind=report").await.len(), 1);
    assert_eq!(site.api("POST", &format!("/api/v1/schedules/{name}/pause"), "").await.json()["changed"], true);
    let paused = site.get("/api/v1/schedules").await.json();
    assert!(paused["schedules"][0]["paused_at"].is_string(), "{paused}");
    assert_eq!(site.api("POST", "/api/v1/schedules/none/run", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn under_a_path_of_another_program_every_link_has_that_path() {
    let store: Arc<dyn Inspect> = Arc::new(MemoryStore::new());
    let dashboard = work_dashboard::Dashboard::builder(store).build().unwrap();
    let app = axum::Router::new().nest("/admin/jobs", dashboard.router());
    for path in ["/admin/jobs", "/admin/jobs/queues", "/admin/jobs/jobs?state=running"] {
        let request = request("GET", path).body(Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let page = String::from_utf8_lossy(&bytes).into_owned();
        for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(link.starts_with("/admin/jobs") || link == "#content", "{path}: {link}");
        }
    }
}

#[tokio::test]
async fn the_document_of_the_api_has_each_route_and_each_answer_is_in_it() {
    let site = open();
    let document = site.get("/api/v1/openapi.json").await.json();
    for (method, path, _) in work_dashboard::routes().filter(|(_, path, _)| path.starts_with("/api/")) {
        let operation = &document["paths"][path][method.to_ascii_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path}");
        for (path, body) in [("abc", ""), ("00000000-0000-0000-0000-000000000000", "{}"), ("%00", "[")] {
            let at = operation["operationId"].as_str().unwrap();
            let path = document_path(at, &document, path);
            let answer = site.api(method, &path, body).await;
            let status = answer.status.as_u16().to_string();
            assert!(operation["responses"][&status].is_object(), "{method} {path} {body}: {status}");
            assert!(!answer.status.is_server_error(), "{method} {path}");
        }
    }
}

/// The path of an operation, with this for its parameter.
fn document_path(id: &str, document: &serde_json::Value, value: &str) -> String {
    let paths = document["paths"].as_object().unwrap();
    let has = |methods: &serde_json::Value| methods.as_object().unwrap().values().any(|one| one["operationId"] == id);
    let path = paths.iter().find(|(_, methods)| has(methods)).unwrap().0;
    path.replace("{id}", value).replace("{queue}", value).replace("{name}", value).replace("{run}", value)
}

#[tokio::test]
async fn ten_thousand_rows_of_a_file_are_no_burden() {
    let folder = tempfile::tempdir().unwrap();
    let store = work_sqlite::SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
    let site = site(Arc::new(store), DashboardBuilder::show_args);
    for part in 0..10 {
        let jobs = (0..1000).map(|n| stored(Job::new(["a", "b"][n % 2], json!({ "n": part * 1000 + n })).tag("t")).1);
        site.store.insert(jobs.collect()).await.unwrap();
    }
    for path in
        ["/", "/jobs", "/jobs?kind=b&limit=500", "/jobs?arg=n=7", "/jobs?error=none", "/jobs?tag=other", "/dead"]
    {
        let start = std::time::Instant::now();
        assert_eq!(site.get(path).await.status, StatusCode::OK, "{path}");
        assert!(start.elapsed() < Duration::from_secs(5), "{path}: {:?}", start.elapsed());
        println!("{path}: {:?}", start.elapsed());
    }
    // Page after page: each job once, newest first.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = site.get(&format!("/api/v1/jobs?limit=500&arg=n=9{after}")).await.json();
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen.len(), 1);
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = site.get(&format!("/api/v1/jobs?limit=500{after}")).await.json();
        count += page["jobs"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(count, 10_000);
}
