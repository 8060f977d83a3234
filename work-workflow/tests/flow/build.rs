//! What is wrong with a workflow is said when it is built.

use work_workflow::{InvalidWorkflow, Item, Next, States, Step, Workflow, WorkflowBuilder};

work_workflow::states! {
    enum Way: u32 { First = "first", Second = "second", Done = "done" }
}

async fn on(Item(n): Item<Way>) -> Next<Way> {
    Next::to(Way::Done, n)
}

fn first(step: Step<Way>) -> WorkflowBuilder<Way> {
    Workflow::builder("way").start(Way::First).state(Way::First, step).terminal(Way::Done)
}

fn second(step: Step<Way>) -> Result<Workflow<Way>, InvalidWorkflow> {
    first(Step::new(on).to([Way::Second])).state(Way::Second, step).build(())
}

#[test]
fn each_mistake_is_named_with_its_state() {
    let cases = [
        (first(Step::new(on).to([Way::Done])).build(()), "state \"second\" has no handler"),
        (
            first(Step::new(on).to([Way::Done])).state(Way::Second, Step::new(on).to([Way::Done])).build(()),
            "state \"second\" cannot be reached from any start",
        ),
        (second(Step::new(on).to([Way::Done]).concurrency(0)), "state \"second\": concurrency 0 is out of range"),
        (second(Step::new(on).to([Way::Done]).max_attempts(0)), "state \"second\": max_attempts 0 is out of range"),
        (second(Step::new(on).to([Way::Done]).timeout(std::time::Duration::ZERO)), "state \"second\": timeout 0"),
        (
            first(Step::new(on).to([Way::Second]).kicks([Way::Done]))
                .state(Way::Second, Step::new(on).to([Way::First]))
                .build(()),
            "no terminal state can be reached from state \"first\"",
        ),
        (
            first(Step::new(on).to([Way::Second, Way::Done])).state(Way::Second, Step::new(on)).build(()),
            "no terminal state can be reached from state \"second\"",
        ),
        (first(Step::new(on)).state(Way::First, Step::new(on)).build(()), "state \"first\" is declared twice"),
        (
            Workflow::builder("way")
                .state(Way::First, Step::new(on).to([Way::Second]))
                .terminal(Way::Second)
                .terminal(Way::Done)
                .build(()),
            "no state to start in",
        ),
        (Workflow::<Way>::builder("a workflow").start(Way::First).build(()), "invalid workflow name \"a workflow\""),
    ];
    for (built, part) in cases {
        let error = built.unwrap_err().to_string();
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert!(second(Step::new(on).to([Way::Done])).is_ok());
}

/// An enum made by hand, with mistakes of its own.
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

#[test]
fn a_state_that_is_not_listed_is_named() {
    async fn go() -> Next<Odd> {
        Next::to(Odd::Unlisted, ())
    }
    let built =
        Workflow::builder("odd").start(Odd::Listed).state(Odd::Listed, Step::new(go).to([Odd::Unlisted])).build(());
    assert_eq!(
        built.unwrap_err().to_string(),
        "state \"unlisted\", named by state \"listed\", is not one of States::ALL"
    );
}

#[test]
fn the_graph_is_drawn_in_mermaid_and_in_dot() {
    let step = Step::new(on).to([Way::Second, Way::Done]).kicks([Way::First]).dead(Way::Done);
    let flow = first(step).state(Way::Second, Step::new(on).to([Way::Done])).build(()).unwrap();
    let mermaid = "stateDiagram-v2\n    [*] --> first\n    first --> second\n    first --> done\n    first --> first: kick\n    first --> done: failed\n    second --> done\n    done --> [*]\n";
    assert_eq!(flow.mermaid(), mermaid);
    let dot = flow.dot();
    assert!(dot.starts_with("digraph \"way\" {\n") && dot.contains("\"first\" -> \"first\" [style=dotted];"), "{dot}");
    assert!(dot.contains("\"done\" [shape=doublecircle];"), "{dot}");
}
