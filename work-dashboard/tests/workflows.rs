//! Runs of workflows on pages and in the API, beside the engine that made them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use common::{Site, open, site, stored};
use serde_json::{Value, json};
use work_core::Job;
use work_core::store::{Inspect, MemoryStore};
use work_dashboard::DashboardBuilder;
use work_workflow::{Engine, Item, Next, Run, Step, Workflow};

work_workflow::states! {
    enum Page: String { Fetch = "fetch", Index = "index", Done = "done", Broken = "broken", Lost = "lost" }
}

async fn fetch(Item(path): Item<Page>) -> Result<Next<Page>, std::io::Error> {
    match path.as_str() {
        "bad" => Err(std::io::Error::other("no page at <b>4711</b>")),
        _ => Ok(Next::to(Page::Index, path)),
    }
}

async fn index(Item(path): Item<Page>) -> Result<Next<Page>, std::io::Error> {
    if path == "odd" { Err(std::io::Error::other("no words")) } else { Ok(Next::to(Page::Done, path)) }
}

async fn lost(Item(path): Item<Page>) -> Next<Page> {
    Next::to(Page::Done, path)
}

async fn ran(store: Arc<dyn Inspect>) -> (Engine<Page>, Run<Page>) {
    let workflow = Workflow::builder("pages")
        .start(Page::Fetch)
        .state(Page::Fetch, Step::new(fetch).to([Page::Index]).dead(Page::Broken).max_attempts(1))
        .state(Page::Index, Step::new(index).to([Page::Done]).kicks([Page::Lost]).max_attempts(1))
        .state(Page::Lost, Step::new(lost).to([Page::Done]))
        .terminal(Page::Done)
        .terminal(Page::Broken);
    let engine = Engine::new(store, workflow.build(()).unwrap());
    let run = engine.create("monday", &"en").await.unwrap();
    run.add_all(Page::Fetch, ["a", "b", "bad", "odd"].map(str::to_owned)).await.unwrap();
    engine.run_until(run.done()).await.unwrap();
    (engine, run)
}

fn state<'v>(run: &'v Value, name: &str) -> &'v Value {
    run["states"].as_array().unwrap().iter().find(|state| state["state"] == name).unwrap()
}

async fn filled() -> (Site, Run<Page>) {
    let site = open();
    let (_, run) = ran(Arc::clone(&site.store)).await;
    (site, run)
}

#[tokio::test]
async fn the_api_has_each_state_as_the_engine_reports_it() {
    let (site, run) = filled().await;
    let runs = site.get("/api/v1/workflows").await.json();
    assert_eq!((&runs["runs"][0]["run"], &runs["runs"][0]["phase"]), (&json!("monday"), &json!("open")));
    let seen = site.get("/api/v1/workflows/pages.monday").await.json();
    assert_eq!(seen["ended"]["complete"], true);
    for expected in run.report().await.unwrap().states {
        let found = state(&seen, &expected.name);
        let done = seen["ended"]["by_state"][&expected.name].as_u64().unwrap_or_default();
        let counts = [&found["waiting"], &found["executing"], &found["failed"], &found["cancelled"]];
        assert_eq!(counts.map(|count| count.as_u64().unwrap()), [0, 0, expected.failed, expected.cancelled]);
        assert_eq!(done, expected.completed, "{}", expected.name);
    }
    assert_eq!(state(&seen, "fetch")["dead"], "broken");
    assert_eq!(state(&seen, "index")["kicks"], json!(["lost"]));
    for path in ["/api/v1/workflows/pages.sunday", "/api/v1/workflows/pages", "/workflows/a.b", "/workflows/%2e%2e"] {
        assert_eq!(site.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_page_draws_the_graph_and_leads_to_the_jobs_of_each_state() {
    let (site, _) = filled().await;
    let list = site.get("/workflows").await.text;
    assert!(list.contains("href=\"/workflows/pages.monday\""), "{list}");
    let page = site.get("/workflows/pages.monday").await.text;
    assert_eq!(page.matches("<svg").count(), 2, "one for wide windows, one for phones");
    assert!(!page.contains(" style=") && !page.contains("<b>4711"), "{page}");
    assert!(page.contains("<title>index: 1 failed, 2 done</title>"));
    assert!(page.contains("<title>broken: 1 done</title>"), "{page}");
    for state in ["fetch", "index", "lost", "done", "broken"] {
        assert!(page.contains(&format!("href=\"/jobs?queue=pages.monday.{state}\"")), "{state}");
    }
    // Four ways on, one for what failed, one kick.
    let drawn = |class: &str| page.matches(&format!("class=\"arrow {class}\"")).count();
    assert_eq!((drawn("to"), drawn("dead"), drawn("kick")), (2 * 3, 2, 2));
    assert!(page.contains("no words") && page.contains("Retry failed…"));
    let failed = site.get("/jobs?queue=pages.monday.index&state=discarded").await.text;
    let id = failed.split("href=\"/jobs/").nth(1).unwrap().split('"').next().unwrap();
    let job = site.get(&format!("/jobs/{id}")).await.text;
    assert!(job.contains("href=\"/workflows/pages.monday\""), "the job leads back to its run");
}

#[tokio::test]
async fn a_run_is_paused_resumed_and_ended_by_form_and_by_api() {
    let (site, run) = filled().await;
    let phase = async || site.get("/api/v1/workflows/pages.monday").await.json()["phase"].clone();
    assert_eq!(site.form("/workflows/pages.monday/pause", "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(phase().await, "paused");
    let post = async |what: &str| site.api("POST", &format!("/api/v1/workflows/pages.monday/{what}"), "").await;
    assert_eq!(post("pause").await.json(), json!({ "changed": false }));
    assert_eq!(post("resume").await.json(), json!({ "changed": true }));
    assert_eq!(phase().await, "open");
    run.pause().await.unwrap();
    run.add_all(Page::Fetch, ["x".to_owned(), "y".to_owned()]).await.unwrap();
    assert_eq!(post("cancel").await.json(), json!({ "cancelled": 2 }));
    assert_eq!(phase().await, "ended");
    assert_eq!(run.report().await.unwrap().state("fetch").cancelled, 2);
    for what in ["pause", "resume", "cancel"] {
        assert_eq!(post(what).await.status, StatusCode::CONFLICT, "{what}");
    }
    let page = site.get("/workflows/pages.monday").await.text;
    assert!(!page.contains("End run…") && page.contains(">ended<"), "{page}");
}

#[tokio::test]
async fn records_that_are_none_of_ours_or_full_of_tricks_do_no_harm() {
    let site = site(Arc::new(MemoryStore::new()), DashboardBuilder::show_args);
    let evil = "<script>alert(1)</script>";
    for (n, args) in [
        json!(1),
        json!({ "run": evil, "overall": null, "states": [evil] }),
        json!({ "run": "a", "overall": null, "states": [evil, "loop"],
            "graph": [{ "state": evil, "start": true, "to": [evil, "loop", "none"], "dead": "loop" }, { "state": "loop", "to": ["loop"] }] }),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, mut job) = stored(Job::new("pages.run", args).queue("pages.runs"));
        job.parts.scheduled_at = Some("9999-01-01T00:00:00Z".parse().unwrap());
        site.store.insert(vec![job]).await.unwrap();
        let list = site.get("/workflows").await;
        assert_eq!(list.status, StatusCode::OK, "{n}");
        assert!(!list.text.contains("<script>alert"), "{n}");
    }
    assert_eq!(site.get("/api/v1/workflows").await.json()["runs"].as_array().unwrap().len(), 1);
    // Its record has not the id of a run, so it is listed, and no page is there.
    assert_eq!(site.get("/workflows/pages.a").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_with_a_graph_of_a_thousand_states_is_drawn() {
    let site = open();
    let (_, run) = ran(Arc::clone(&site.store)).await;
    drop(run);
    let states: Vec<Value> = (0..1000)
        .map(|n| json!({ "state": format!("s{n}"), "start": n == 0, "to": [format!("s{}", (n + 1) % 1000), format!("s{}", n * 7 % 1000)] }))
        .collect();
    let names: Vec<String> = (0..1000).map(|n| format!("s{n}")).collect();
    let note = json!({ "run": "monday", "overall": null, "states": names, "graph": states });
    let (_, mut job) = stored(Job::new("pages.states", note).queue("pages.runs"));
    job.parts.scheduled_at = Some("9999-01-01T00:00:00Z".parse().unwrap());
    site.store.insert(vec![job]).await.unwrap();
    let start = std::time::Instant::now();
    let page = site.get("/workflows/pages.monday").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<title>s999:"));
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}
