//! Runs of workflows: looked at, acted on, exported and imported, beside the engine that made them.

use std::sync::Arc;

use serde_json::{Value, json};
use work_core::store::Inspect;
use work_workflow::{Engine, Item, Next, Run, Step, Workflow};

use crate::place::Place;

work_workflow::states! { enum Page: String { Fetch = "fetch", Index = "index", Done = "done" } }

async fn fetch(Item(path): Item<Page>) -> Result<Next<Page>, std::io::Error> {
    if path.starts_with("bad") {
        return Err(std::io::Error::other(format!("no page at {path}")));
    }
    Ok(Next::to(Page::Index, path))
}

async fn index(Item(path): Item<Page>) -> Next<Page> {
    Next::to(Page::Done, path)
}

fn engine(store: Arc<dyn Inspect>) -> Engine<Page> {
    let workflow = Workflow::builder("pages")
        .start(Page::Fetch)
        .state(Page::Fetch, Step::new(fetch).to([Page::Index]).max_attempts(1))
        .state(Page::Index, Step::new(index).to([Page::Done]))
        .terminal(Page::Done)
        .build(());
    Engine::builder(store, workflow.unwrap()).discover_every(std::time::Duration::from_millis(100)).build()
}

/// Two items that ended, two that failed.
async fn ran(place: &Place) -> (Engine<Page>, Run<Page>) {
    let engine = engine(place.store().await);
    let run = engine.create("monday", &json!({ "language": "en" })).await.unwrap();
    run.add_all(Page::Fetch, ["a", "bad1", "b", "bad2"].map(str::to_owned)).await.unwrap();
    engine.run_until(run.done()).await.unwrap();
    (engine, run)
}

fn counts(run: &Value, state: &str) -> [u64; 4] {
    let state = run["states"].as_array().unwrap().iter().find(|one| one["state"] == state).unwrap();
    ["waiting", "executing", "failed", "done"].map(|name| state[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_run_is_listed_and_shown_with_its_graph_as_the_engine_reports_it() {
    let Some(place) = Place::new() else { return };
    assert!(place.work(&["workflows", "list"]).ok().err.contains("There is no run"));
    let (_, run) = ran(&place).await;
    let listed = place.work(&["workflows", "list", "--json"]).ok().json();
    assert_eq!((listed.len(), &listed[0]["run"], &listed[0]["phase"]), (1, &json!("pages.monday"), &json!("open")));
    let shown = &place.work(&["workflows", "show", "pages.monday", "--json"]).ok().json()[0];
    let report = run.report().await.unwrap();
    for state in &report.states {
        let failed_done = [state.waiting, state.executing, state.failed, state.completed];
        assert_eq!(counts(shown, &state.name), failed_done, "{}", state.name);
    }
    assert_eq!(shown["states"][0]["to"], json!(["index"]));
    assert_eq!((&shown["states"][0]["start"], &shown["states"][2]["terminal"]), (&json!(true), &json!(true)));
    let table = place.work(&["workflows", "show", "pages.monday"]).ok();
    assert!(table.out.contains("pages.monday is open") && table.err.contains("work workflows retry pages.monday"));
    place.work(&["workflows", "show", "pages.mnday"]).refused(3, "did you mean `pages.monday`?");
    place.work(&["workflows", "show", "monday"]).refused(2, "workflow.run");
}

#[tokio::test]
async fn a_run_is_paused_resumed_and_its_failed_items_tried_again() {
    let Some(place) = Place::new() else { return };
    let (engine, run) = ran(&place).await;
    let name = "pages.monday";
    assert_eq!(place.work(&["workflows", "pause", name]).ok().out, "run pages.monday paused\n");
    assert_eq!(place.work(&["workflows", "pause", name]).ok().out, "run pages.monday paused already\n");
    assert_eq!(place.work(&["workflows", "list", "--json"]).ok().json()[0]["phase"], "paused");
    // What is added while it is paused stays where it is.
    run.add(Page::Fetch, "c".to_owned()).await.unwrap();
    engine.run_until(tokio::time::sleep(std::time::Duration::from_millis(400))).await.unwrap();
    assert_eq!(run.report().await.unwrap().state("fetch").waiting, 1);
    assert_eq!(place.work(&["workflows", "resume", name]).ok().out, "run pages.monday resumed\n");
    engine.run_until(run.done()).await.unwrap();
    assert_eq!(run.report().await.unwrap().state("done").completed, 3);

    place.work(&["workflows", "retry", name]).refused(2, "retry 2 items of pages.monday").refused(2, "--yes");
    place.work(&["workflows", "retry", name, "--state", "fetsh"]).refused(3, "did you mean `fetch`?");
    assert_eq!(
        place.work(&["workflows", "retry", name, "--dry-run"]).ok().out,
        "would retry 2 items of pages.monday\n"
    );
    let done = place.work(&["workflows", "retry", name, "--state", "fetch", "--yes", "--json"]).ok().json().remove(0);
    assert_eq!(done, json!({ "action": "retry", "matched": 2, "changed": 2, "dry_run": false }));
    assert_eq!(run.report().await.unwrap().state("fetch").waiting, 2);
    engine.run_until(run.done()).await.unwrap();
    assert_eq!(run.report().await.unwrap().state("fetch").failed, 2, "they failed again");
    for verb in ["pause", "resume"] {
        place.work(&["workflows", verb, "pages.mnday"]).refused(3, "did you mean `pages.monday`?");
    }
}

#[tokio::test]
async fn a_cancelled_run_has_ended_for_the_engine_too() {
    let Some(place) = Place::new() else { return };
    let (engine, run) = ran(&place).await;
    run.pause().await.unwrap();
    run.add_all(Page::Fetch, ["x".to_owned(), "y".to_owned()]).await.unwrap();
    place.work(&["workflows", "cancel", "pages.monday"]).refused(2, "cancel 2 items of it");
    let done = place.work(&["workflows", "cancel", "pages.monday", "--yes", "--json"]).ok().json().remove(0);
    assert_eq!(done["changed"], 2);
    assert_eq!(run.report().await.unwrap().state("fetch").cancelled, 2);
    assert_eq!(place.work(&["workflows", "list", "--json"]).ok().json()[0]["phase"], "ended");
    drop((engine, run));
    let error = self::engine(place.store().await).open("monday").await.unwrap_err();
    assert!(error.to_string().contains("was cancelled"), "{error}");
    for verb in ["pause", "resume", "retry", "cancel"] {
        place.work(&["workflows", verb, "pages.monday"]).refused(1, "has ended");
    }
}

#[tokio::test]
async fn an_export_is_that_of_the_engine_and_an_import_goes_on_in_another_store() {
    let (Some(place), Some(other)) = (Place::new(), Place::new()) else { return };
    let (_, run) = ran(&place).await;
    let ours = place.work(&["workflows", "export", "pages.monday"]).ok();
    let mut export: Value = ours.json().remove(0);
    let theirs = serde_json::to_value(run.export().await.unwrap()).unwrap();
    for field in ["workflow", "run", "overall", "items"] {
        assert_eq!(export[field], theirs[field], "{field}");
    }
    // What failed is mended.
    for item in export["items"].as_array_mut().unwrap() {
        if item["phase"] == "failed" {
            item["context"] = json!("good");
        }
    }
    let file = place.dir.path().join("run.json");
    std::fs::write(&file, export.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let dry = other.work(&["workflows", "import", file, "--dry-run"]).ok();
    assert_eq!(dry.out, "would import 4 items into pages.monday\n");
    assert_eq!(other.work(&["workflows", "list", "--json"]).ok().out, "");
    assert_eq!(other.work(&["workflows", "import", file]).ok().out, "4 items imported into pages.monday\n");
    assert!(other.work(&["workflows", "import", file]).ok().out.contains("4 were there already"));
    let engine = engine(other.store().await);
    let run = engine.open("monday").await.unwrap();
    engine.run_until(run.done()).await.unwrap();
    assert_eq!(run.report().await.unwrap().state("done").completed, 4);
    let errors = run.items().await.unwrap().into_iter().filter(|item| !item.errors.is_empty()).count();
    assert_eq!(errors, 2, "the errors of the former life are kept");
    assert!(other.work(&["workflows", "import", file, "--run", "again"]).ok().out.contains("into pages.again"));
}

#[tokio::test]
async fn an_import_that_is_none_is_refused_before_anything_is_stored() {
    let Some(place) = Place::new() else { return };
    let file = place.dir.path().join("run.json");
    let import = |json: &str| {
        std::fs::write(&file, json).unwrap();
        place.work(&["workflows", "import", file.to_str().unwrap()])
    };
    import("{").refused(2, "is no export of a run");
    import("[]").refused(2, "is no export of a run");
    let export = |run: &str, state: &str| {
        let item = json!({ "id": work_core::JobId::new(), "state": state, "phase": "waiting", "step": 1, "attempt": 0,
            "context": 1 });
        let graph = json!([{ "state": "fetch" }]);
        json!({ "workflow": "pages", "run": run, "overall": null, "at": "2026-11-21T00:00:00Z", "graph": graph,
            "items": [item] })
        .to_string()
    };
    import(&export("a b", "fetch")).refused(2, "names no run");
    import(&export("a", "fetsh")).refused(2, "it has: fetch");
    place.work(&["workflows", "import", "/no/such/file"]).refused(2, "/no/such/file");
    place.work(&["workflows", "export", "pages.a"]).refused(3, "there is no run");
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().out, "");
    import(&export("a", "fetch")).ok();
    place.work(&["workflows", "cancel", "pages.a", "--yes"]).ok();
    import(&export("a", "fetch")).refused(1, "has ended in this store");
}
