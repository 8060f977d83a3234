//! Items go through states.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use work_core::store::Inspect;
use work_core::{Attempt, Backoff, JobId, State};
use work_workflow::{Item, Next, Overall, Phase, Position, Step, Workflow};

use crate::stores::{Anyhow, drain, engine, on_every_store, within};

on_every_store!(
    a_loop_to_10_over_two_states_visits_each_10_times,
    an_undeclared_transition_fails_that_item_by_name_and_the_others_finish,
    ten_that_kick_ten_each_are_110_items,
    a_parent_that_kicks_2_in_each_of_2_states_makes_5_items_with_distinct_ids_and_parents,
    errors_are_kept_by_state_in_order,
    what_always_fails_has_3_attempts_and_goes_to_the_dead_state,
    without_a_dead_state_it_is_a_dead_letter_of_its_state,
    a_panic_and_a_timeout_are_failures_like_others,
    every_state_has_its_own_concurrency_and_reaches_it,
    five_items_that_loop_in_one_slot_take_turns,
    items_that_start_in_a_terminal_state_are_done_with_one_update,
    a_loop_of_9_in_its_own_state_is_2_updates,
    the_overall_context_is_read_by_all_and_kept,
    an_item_may_only_start_where_items_start,
    a_seed_may_be_repeated,
);

work_workflow::states! {
    pub enum Two: u32 { A = "a", B = "b", Done = "done", Other = "other" }
}

/// From a to b to done.
fn two(a: Step<Two, Shared>, b: Step<Two, Shared>, shared: &Shared) -> Workflow<Two> {
    let flow = Workflow::builder("two").start(Two::A).state(Two::A, a).state(Two::B, b);
    flow.terminal(Two::Done).terminal(Two::Other).build(shared.clone()).unwrap()
}

/// What handlers count.
#[derive(Clone, Default)]
struct Shared {
    a: Arc<Gauge>,
    b: Arc<Gauge>,
    order: Arc<std::sync::Mutex<Vec<JobId>>>,
}

#[derive(Default)]
struct Gauge {
    ran: AtomicUsize,
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Gauge {
    async fn hold(&self, time: Duration) {
        self.ran.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn ran(&self) -> usize {
        self.ran.load(Ordering::SeqCst)
    }
}

async fn a_to_b(Item(n): Item<Two>, State(shared): State<Shared>) -> Next<Two> {
    shared.a.hold(Duration::ZERO).await;
    Next::to(Two::B, n)
}

async fn b_to_done(Item(n): Item<Two>, State(shared): State<Shared>) -> Next<Two> {
    shared.b.hold(Duration::ZERO).await;
    Next::to(Two::Done, n)
}

fn a() -> Step<Two, Shared> {
    Step::new(a_to_b).to([Two::B, Two::Other])
}

fn b() -> Step<Two, Shared> {
    Step::new(b_to_done).to([Two::Done])
}

async fn a_loop_to_10_over_two_states_visits_each_10_times<S: Inspect>(store: S) {
    async fn back(Item(n): Item<Two>, State(shared): State<Shared>) -> Next<Two> {
        shared.b.hold(Duration::ZERO).await;
        if n < 9 { Next::to(Two::A, n + 1) } else { Next::to(Two::Done, n + 1) }
    }
    let shared = Shared::default();
    let engine = engine(store, two(a(), Step::new(back).to([Two::A, Two::Done]), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, vec![0; 10]).await.unwrap();
    drain(&engine, &run).await;
    assert_eq!((shared.a.ran(), shared.b.ran()), (100, 100));
    let items = run.items().await.unwrap();
    assert!(items.iter().all(|item| item.state == "done" && item.context == 10 && item.step == 20), "{items:?}");
    let report = run.report().await.unwrap();
    assert_eq!((report.state("done").completed, report.state("a").completed, report.open()), (10, 100, 0));
    assert_eq!(engine.status().state("done").unwrap().completed, 10);
}

async fn an_undeclared_transition_fails_that_item_by_name_and_the_others_finish<S: Inspect>(store: S) {
    async fn odd(Item(n): Item<Two>) -> Next<Two> {
        Next::to(if n == 3 { Two::Done } else { Two::B }, n)
    }
    let engine = engine(store, two(Step::new(odd).to([Two::B, Two::Other]), b(), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.state("a").failed, report.state("done").completed), (1, 9));
    let items = run.items().await.unwrap();
    let failed = items.iter().find(|item| item.phase == Phase::Failed).unwrap();
    assert_eq!(failed.errors["a"], ["state \"a\" has no transition to \"done\"; it has: b, other"]);
    assert_eq!((failed.context.as_u64(), failed.attempt), (Some(3), 1));
}

async fn ten_that_kick_ten_each_are_110_items<S: Inspect>(store: S) {
    async fn expand(Item(n): Item<Two>) -> Next<Two> {
        (0..10).fold(Next::to(Two::Done, n), |next, child| next.kick(Two::B, child))
    }
    let step = Step::new(expand).to([Two::Done, Two::Other]).kicks([Two::B]);
    let shared = Shared::default();
    let engine = engine(store, two(step, b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.items, report.state("done").completed, shared.b.ran()), (110, 110, 100));
    assert_eq!(engine.status().state("done").unwrap().completed, 110);
}

async fn a_parent_that_kicks_2_in_each_of_2_states_makes_5_items_with_distinct_ids_and_parents<S: Inspect>(store: S) {
    async fn kick_a(Item(n): Item<Two>, Attempt(attempt): Attempt) -> Anyhow<Next<Two>> {
        // A repeated attempt makes no second child.
        if attempt < 3 {
            Err("not yet".into())
        } else {
            Ok(Next::to(Two::B, n).kick(Two::Other, 1).kick(Two::Other, 2))
        }
    }
    async fn kick_b(Item(n): Item<Two>) -> Next<Two> {
        Next::to(Two::Done, n).kick(Two::Other, 3).kick(Two::Other, 4)
    }
    let backoff = Backoff::constant(Duration::from_millis(5));
    let a = Step::new(kick_a).to([Two::B]).kicks([Two::Other]).backoff(backoff);
    let engine = engine(store, two(a, Step::new(kick_b).to([Two::Done]).kicks([Two::Other]), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    let parent = run.add(Two::A, 0).await.unwrap();
    drain(&engine, &run).await;
    let items = run.items().await.unwrap();
    let ids: HashSet<JobId> = items.iter().map(|item| item.id).collect();
    assert_eq!((items.len(), ids.len()), (5, 5));
    assert_eq!(items.iter().filter(|item| item.parent == Some(parent) && item.state == "other").count(), 4);
    assert!(items.iter().all(|item| item.phase == Phase::Completed));
}

async fn errors_are_kept_by_state_in_order<S: Inspect>(store: S) {
    async fn errs(Item(n): Item<Two>, Attempt(attempt): Attempt) -> Anyhow<Next<Two>> {
        match attempt {
            1 => Err("errored".into()),
            2 => Err("errored again".into()),
            _ => Ok(Next::to(Two::B, n)),
        }
    }
    async fn once(Item(n): Item<Two>, Attempt(attempt): Attempt) -> Anyhow<Next<Two>> {
        if attempt == 1 { Err("and here".into()) } else { Ok(Next::to(Two::Done, n)) }
    }
    let backoff = Backoff::constant(Duration::from_millis(1));
    let a = Step::new(errs).to([Two::B, Two::Other]).backoff(backoff.clone());
    let engine = engine(store, two(a, Step::new(once).to([Two::Done]).backoff(backoff), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let items = run.items().await.unwrap();
    assert_eq!(items.len(), 10);
    for item in items {
        assert_eq!(
            (item.errors["a"].join("|").as_str(), item.errors["b"].join("|").as_str()),
            ("errored|errored again", "and here")
        );
    }
}

/// Item 0 fails for ever.
async fn fails_for_0(Item(n): Item<Two>, State(shared): State<Shared>) -> Anyhow<Next<Two>> {
    if n == 0 {
        shared.a.hold(Duration::ZERO).await;
        return Err("always".into());
    }
    Ok(Next::to(Two::B, n))
}

async fn what_always_fails_has_3_attempts_and_goes_to_the_dead_state<S: Inspect>(store: S) {
    let shared = Shared::default();
    let a = Step::new(fails_for_0).to([Two::B]).dead(Two::Other).max_attempts(3);
    let engine = engine(store, two(a.backoff(Backoff::constant(Duration::from_millis(5))), b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.state("other").completed, report.state("done").completed, shared.a.ran()), (1, 9, 3));
    let dead = run.items().await.unwrap().into_iter().find(|item| item.state == "other").unwrap();
    assert_eq!((dead.errors["a"].len(), dead.context.as_u64()), (3, Some(0)));
}

async fn without_a_dead_state_it_is_a_dead_letter_of_its_state<S: Inspect>(store: S) {
    let shared = Shared::default();
    let a = Step::new(fails_for_0).to([Two::B, Two::Other]).max_attempts(3);
    let engine = engine(store, two(a.backoff(Backoff::constant(Duration::from_millis(5))), b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.state("a").failed, report.state("done").completed, shared.a.ran()), (1, 9, 3));
    assert_eq!(engine.status().state("a").unwrap().failed, 1);
}

async fn a_panic_and_a_timeout_are_failures_like_others<S: Inspect>(store: S) {
    async fn odd(Item(n): Item<Two>) -> Next<Two> {
        assert!(n != 1, "item one");
        if n == 2 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Next::to(Two::B, n)
    }
    let a = Step::new(odd).to([Two::B]).dead(Two::Other).max_attempts(1).timeout(Duration::from_millis(500));
    let engine = engine(store, two(a, b(), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, 0..4).await.unwrap();
    drain(&engine, &run).await;
    let items = run.items().await.unwrap();
    let error = |n: u64| items.iter().find(|item| item.context.as_u64() == Some(n)).unwrap().errors["a"].join("|");
    assert!(error(1).contains("item one"), "{}", error(1));
    assert!(error(2).contains("timed out"), "{}", error(2));
    assert_eq!(items.iter().filter(|item| item.state == "done").count(), 2);
}

async fn every_state_has_its_own_concurrency_and_reaches_it<S: Inspect>(store: S) {
    async fn slow_a(Item(n): Item<Two>, State(shared): State<Shared>) -> Next<Two> {
        shared.a.hold(Duration::from_millis(30)).await;
        Next::to(Two::B, n)
    }
    async fn slow_b(Item(n): Item<Two>, State(shared): State<Shared>) -> Next<Two> {
        shared.b.hold(Duration::from_millis(30)).await;
        Next::to(Two::Done, n)
    }
    let shared = Shared::default();
    let (a, b) = (Step::new(slow_a).to([Two::B, Two::Other]), Step::new(slow_b).to([Two::Done]));
    let engine = engine(store, two(a.concurrency(7), b.concurrency(3), &shared));
    // Over two runs: the states are the same.
    let (one, other) = (engine.create("one", &()).await.unwrap(), engine.create("other", &()).await.unwrap());
    one.add_all(Two::A, 0..20).await.unwrap();
    other.add_all(Two::A, 0..20).await.unwrap();
    within(engine.run_until(async {
        one.done().await;
        other.done().await;
    }))
    .await
    .unwrap();
    let peaks = (shared.a.peak.load(Ordering::SeqCst), shared.b.peak.load(Ordering::SeqCst));
    assert_eq!(peaks, (7, 3));
    assert_eq!((shared.a.ran(), shared.b.ran()), (40, 40));
}

async fn five_items_that_loop_in_one_slot_take_turns<S: Inspect>(store: S) {
    async fn again(Item(n): Item<Two>, at: Position, State(shared): State<Shared>) -> Next<Two> {
        shared.order.lock().unwrap().push(at.item);
        Next::to(if n < 2 { Two::A } else { Two::Other }, n + 1)
    }
    let shared = Shared::default();
    let a = Step::new(again).to([Two::A, Two::B, Two::Other]).concurrency(1);
    let engine = engine(store, two(a, b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::A, [0; 5]).await.unwrap();
    drain(&engine, &run).await;
    let order = shared.order.lock().unwrap();
    for round in 0..3 {
        let turn: HashSet<&JobId> = order[round * 5..][..5].iter().collect();
        assert_eq!(turn.len(), 5, "round {round}: {order:?}");
    }
}

async fn items_that_start_in_a_terminal_state_are_done_with_one_update<S: Inspect>(store: S) {
    let shared = Shared::default();
    let engine = engine(store, two(a(), b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Two::Done, 0..5).await.unwrap();
    run.add_all(Two::Other, 0..10).await.unwrap();
    drain(&engine, &run).await;
    let status = engine.updates().next().await;
    assert_eq!((status.state("done").unwrap().completed, status.state("other").unwrap().completed), (5, 10));
    assert_eq!(shared.a.ran() + shared.b.ran(), 0);
}

async fn a_loop_of_9_in_its_own_state_is_2_updates<S: Inspect>(store: S) {
    async fn again(Item(n): Item<Two>) -> Next<Two> {
        Next::to(if n < 9 { Two::A } else { Two::Done }, n + 1)
    }
    let a = Step::new(again).to([Two::A, Two::B, Two::Done, Two::Other]);
    let engine = engine(store, two(a, b(), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    run.add(Two::A, 0).await.unwrap();
    let mut updates = engine.updates();
    // At the start, which joins the run anew, nothing has moved.
    let seen = async {
        let mut seen = Vec::new();
        loop {
            let status = updates.next().await;
            seen.push((status.state("a").unwrap().waiting, status.state("done").unwrap().completed));
            if seen.last() == Some(&(0, 1)) {
                return seen;
            }
        }
    };
    let (seen, _) = tokio::join!(seen, drain(&engine, &run));
    assert_eq!(seen, [(1, 0), (0, 1)]);
    let names: Vec<&str> = engine.status().states.iter().map(|state| state.name).collect();
    assert_eq!(names, ["a", "b", "done", "other"], "in the order of the enum");
}

async fn the_overall_context_is_read_by_all_and_kept<S: Inspect>(store: S) {
    async fn add(Item(n): Item<Two>, Overall(more): Overall<u32>, at: Position) -> Next<Two> {
        assert_eq!(at.run(), "r");
        Next::to(Two::Other, n + *more)
    }
    let engine = engine(store, two(Step::new(add).to([Two::B, Two::Other]), b(), &Shared::default()));
    let run = engine.create("r", &100_u32).await.unwrap();
    run.add_all(Two::A, 0..3).await.unwrap();
    drain(&engine, &run).await;
    let sum: u64 = run.items().await.unwrap().iter().filter_map(|item| item.context.as_u64()).sum();
    assert_eq!(sum, 303);
    let again = engine.create("r", &5_u32).await.unwrap_err().to_string();
    assert_eq!(again, "workflow \"two\" has a run \"r\" already");
    assert_eq!(engine.create_or_open("r", &5_u32).await.unwrap().export().await.unwrap().overall, 100);
}

async fn an_item_may_only_start_where_items_start<S: Inspect>(store: S) {
    let engine = engine(store, two(a(), b(), &Shared::default()));
    let run = engine.create("r", &()).await.unwrap();
    let error = run.add(Two::B, 1).await.unwrap_err().to_string();
    assert_eq!(error, "items cannot start in state \"b\"; the starts are: a");
    let error = engine.create("not a name", &()).await.unwrap_err().to_string();
    assert!(error.contains("invalid run name \"not a name\""), "{error}");
}

async fn a_seed_may_be_repeated<S: Inspect>(store: S) {
    let shared = Shared::default();
    let engine = engine(store, two(a(), b(), &shared));
    let run = engine.create("r", &()).await.unwrap();
    for _ in 0..3 {
        run.seed(Two::A, 0..100).await.unwrap();
    }
    drain(&engine, &run).await;
    run.seed(Two::A, 0..100).await.unwrap();
    drain(&engine, &run).await;
    assert_eq!((shared.a.ran(), run.report().await.unwrap().items), (100, 100));
}
