//! Workflows whose items would never end, or never begin.

use std::sync::Arc;
use std::time::Duration;

use work_core::store::MemoryStore;
use work_workflow::{Engine, Item, Next, States, Step, Workflow, WorkflowBuilder};

use crate::table::{Case, Table};

work_workflow::states! {
    enum Way: u32 { First = "first", Second = "second", Done = "done" }
}

async fn on(Item(n): Item<Way>) -> Next<Way> {
    Next::to(Way::Done, n)
}

fn first(step: Step<Way>) -> WorkflowBuilder<Way> {
    Workflow::builder("way").start(Way::First).state(Way::First, step).terminal(Way::Done)
}

fn second(step: Step<Way>) -> WorkflowBuilder<Way> {
    first(Step::new(on).to([Way::Second])).state(Way::Second, step)
}

fn done() -> Step<Way> {
    Step::new(on).to([Way::Done])
}

/// An enum made by hand, with two states of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Double {
    One,
    Other,
}

impl States for Double {
    type Context = ();
    const ALL: &'static [Self] = &[Self::One, Self::Other];

    fn name(self) -> &'static str {
        "same"
    }
}

/// Another one, with a state that it does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Odd {
    Listed,
    Unlisted,
}

impl States for Odd {
    type Context = ();
    const ALL: &'static [Self] = &[Self::Listed];

    fn name(self) -> &'static str {
        if self == Self::Listed { "listed" } else { "unlisted" }
    }
}

#[tokio::test]
async fn a_workflow_that_cannot_end_is_not_built() {
    let mut table = Table::of("workflows");
    let no_start = Workflow::builder("way").state(Way::First, Step::new(on).to([Way::Second]));
    for (what, shown, flow) in [
        ("a state without a handler", "\"second\"", first(done())),
        ("a state that no way leads to", "\"second\"", first(done()).state(Way::Second, done())),
        (
            "a state that no way leads out of",
            "\"second\"",
            first(Step::new(on).to([Way::Second, Way::Done])).state(Way::Second, Step::new(on)),
        ),
        ("a circle", "\"first\"", {
            first(Step::new(on).to([Way::Second]).kicks([Way::Done])).state(Way::Second, Step::new(on).to([Way::First]))
        }),
        ("a state with two handlers", "\"first\"", first(done()).state(Way::First, done())),
        ("no start", "`start`", no_start.terminal(Way::Second).terminal(Way::Done)),
        ("no item at once", "concurrency 0", second(done().concurrency(0))),
        ("no attempts", "max_attempts 0", second(done().max_attempts(0))),
        ("attempts for ever", "max_attempts 4294967295", second(done().max_attempts(u32::MAX))),
        ("no time to run", "timeout 0", second(done().timeout(Duration::ZERO))),
        ("a name with a space", "\"a workflow\"", Workflow::builder("a workflow").start(Way::First)),
    ] {
        table.refused_for_good(Case(55, what, shown), async { flow.build(()) }).await;
    }
    async fn go() -> Next<Odd> {
        Next::to(Odd::Unlisted, ())
    }
    async fn stay() -> Next<Double> {
        Next::to(Double::Other, ())
    }
    let odd = Workflow::builder("odd").start(Odd::Listed).state(Odd::Listed, Step::new(go).to([Odd::Unlisted]));
    table.refused_for_good(Case(55, "a way to no state", "\"unlisted\""), async { odd.build(()) }).await;
    let double = Workflow::builder("double").start(Double::One).state(Double::One, Step::new(stay).to([Double::Other]));
    let double = double.terminal(Double::Other);
    table.refused_for_good(Case(55, "two states of one name", "\"same\""), async { double.build(()) }).await;
    table.stays();
}

#[tokio::test]
async fn a_run_that_is_none_is_refused() {
    let mut table = Table::of("runs");
    let flow = second(done()).build(()).unwrap();
    let engine = Engine::new(Arc::new(MemoryStore::new()), flow);
    for (what, name, shown) in [
        ("a run without a name", "", "\"\""),
        ("a run whose name is a path", "../x", "\"../x\""),
        ("a run whose name is an escape", "\u{1b}[31m", "\\u{1b}"),
    ] {
        table.refused(Case(55, what, shown), engine.create(name, &())).await;
    }
    table
        .refused(Case(55, "a run whose name has 10,000 characters", "rrrr"), engine.create(&"r".repeat(10_000), &()))
        .await;
    table
        .refused(
            Case(55, "a run whose name is long in another way", "\\u{202e}"),
            engine.create(&"\u{202e}".repeat(99), &()),
        )
        .await;
    table.stays();
}
