//! Names and exports at random: a run, or a refusal that can be printed anywhere.

use std::sync::Arc;

use serde_json::json;
use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::testing::fuzz::{Fuzz, check_message};
use work_workflow::{Engine, Export, Item, Next, States, Step, Workflow};

/// A state whose name is anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Any;

thread_local! {
    static NAME: std::cell::Cell<&'static str> = const { std::cell::Cell::new("a") };
}

impl States for Any {
    type Context = ();
    const ALL: &'static [Self] = &[Self];

    fn name(self) -> &'static str {
        NAME.get()
    }
}

#[test]
fn any_name_of_a_state_or_a_workflow_is_accepted_or_refused_with_the_reason() {
    // Names live as long as the program: no more than a few are made.
    Fuzz::new("names of states").cases(5_000).texts(&["fetch", "fetch-2", "a_b", "twenty-two-characters"], |text| {
        NAME.set(String::leak(text.to_owned()));
        let built = Workflow::builder("any").start(Any).terminal(Any).build(());
        let fits = (1..=21).contains(&text.len())
            && text.starts_with(|sign: char| sign.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        assert_eq!(built.is_ok(), fits, "{text:?}");
        drop(built.map_err(check_message));
        NAME.set("a");
        drop(
            Workflow::builder(String::leak(text.to_owned())).start(Any).terminal(Any).build(()).map_err(check_message),
        );
    });
}

work_workflow::states! {
    enum Way: serde_json::Value { Fetch = "fetch", Wait = "wait", Done = "done" }
}

fn way() -> Workflow<Way> {
    async fn on(Item(context): Item<Way>) -> Next<Way> {
        Next::to(Way::Done, context)
    }
    let fetch = Step::new(on).to([Way::Wait, Way::Done]);
    let flow = Workflow::builder("way").start(Way::Fetch).state(Way::Fetch, fetch);
    flow.state(Way::Wait, Step::new(on).to([Way::Done])).terminal(Way::Done).build(()).unwrap()
}

#[tokio::test]
async fn any_export_is_imported_or_refused() {
    let id = "01932f7b-8d2c-7a41-b2c3-0123456789a";
    let good = json!({
        "workflow": "way", "run": "monday", "overall": { "site": "x" }, "at": "2026-11-21T09:30:00Z",
        "items": [
            { "id": format!("{id}b"), "state": "fetch", "phase": "waiting", "step": 1, "attempt": 0, "context": { "n": 1 },
                "due": "2027-01-01T00:00:00Z", "errors": { "fetch": ["refused"] } },
            { "id": format!("{id}c"), "parent": format!("{id}b"), "state": "wait", "phase": "waiting", "step": 2, "attempt": 1,
                "unless": ["paid", "done"], "context": [1, "x"], "errors": {} },
            { "id": format!("{id}d"), "state": "done", "phase": "completed", "step": 3, "attempt": 1, "context": null, "errors": {} },
        ],
    });
    Export::from_json(&good.to_string()).unwrap();
    let mut fuzz = Fuzz::new("exports of runs");
    while let Some(mut random) = fuzz.next_case() {
        let mut json = good.clone();
        for _ in 0..=random.below(3) {
            random.tamper(&mut json, &["fetch", "wait", "done", "waiting", "executing", "way"]);
        }
        let mut text = json.to_string();
        if random.once_in(5) {
            text = random.text(&[text.as_str()]);
        }
        fuzz.about(&text);
        let export = match Export::from_json(&text) {
            Ok(export) => export,
            Err(error) => {
                check_message(error);
                continue;
            }
        };
        assert_eq!(Export::from_json(&export.to_json().unwrap()).unwrap(), export, "what is written is read");
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::new(store.clone(), way());
        match engine.import(&export).await {
            Ok(run) => {
                engine.import(&export).await.unwrap();
                assert_eq!(run.export().await.unwrap().items.len(), export.items.len());
            }
            Err(error) => check_message(error),
        }
        assert!(store.counts(JobFilter::all()).await.unwrap().total() <= 1 + export.items.len() as u64);
    }
}
