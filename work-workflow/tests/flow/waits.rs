//! Items wait: for their time, and for signals.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::{Clock, JobId, JobState};
use work_workflow::{Engine, Item, Next, Phase, Run, Signal, Step, Workflow};

use crate::stores::{drain, engine, on_every_store, within};

on_every_store!(
    a_signal_leads_on_with_its_payload,
    a_signal_may_come_before_the_item_waits_and_counts_once,
    a_signal_after_the_deadline_changes_nothing,
);

work_workflow::states! {
    pub enum Order: String { Ask = "ask", Paid = "paid", Late = "late", Done = "done" }
}

async fn ask(Item(name): Item<Order>) -> Next<Order> {
    let wait = if name == "hasty" { Duration::from_millis(1) } else { Duration::from_secs(3600) };
    Next::to(Order::Late, name).after(wait).unless("payment", Order::Paid)
}

async fn paid(Signal(sum): Signal<u32>, Item(name): Item<Order>) -> Next<Order> {
    Next::to(Order::Done, format!("{name} paid {}", sum.unwrap()))
}

async fn late(Signal(sum): Signal<u32>, Item(name): Item<Order>) -> Next<Order> {
    assert_eq!(sum, None);
    Next::to(Order::Done, format!("{name} is late"))
}

fn orders() -> Workflow<Order> {
    Workflow::builder("orders")
        .start(Order::Ask)
        .state(Order::Ask, Step::new(ask).to([Order::Paid, Order::Late]))
        .state(Order::Paid, Step::new(paid).to([Order::Done]))
        .state(Order::Late, Step::new(late).to([Order::Done]))
        .terminal(Order::Done)
        .build(())
        .unwrap()
}

async fn waits(run: &Run<Order>, id: JobId) {
    while run.item(id).await.unwrap().state != "late" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn context(run: &Run<Order>, id: JobId) -> String {
    run.item(id).await.unwrap().context.as_str().unwrap().to_owned()
}

async fn a_signal_leads_on_with_its_payload<S: Inspect>(store: S) {
    let engine = engine(store, orders());
    let run = engine.create("r", &()).await.unwrap();
    let ids = run.add_all(Order::Ask, ["ann".to_owned(), "bob".to_owned()]).await.unwrap();
    let signal = async {
        waits(&run, ids[0]).await;
        waits(&run, ids[1]).await;
        let item = run.item(ids[0]).await.unwrap();
        assert_eq!((item.phase, item.unless), (Phase::Waiting, Some(("payment".into(), "paid".into()))));
        run.signal(ids[0], "payment", &7_u32).await.unwrap();
        while context(&run, ids[0]).await != "ann paid 7" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(context(&run, ids[1]).await, "bob");
        run.signal(ids[1], "payment", &8_u32).await.unwrap();
        run.done().await;
    };
    within(engine.run_until(signal)).await.unwrap();
    assert_eq!(context(&run, ids[1]).await, "bob paid 8");
    let report = run.report().await.unwrap();
    assert_eq!((report.state("done").completed, report.items, report.open()), (2, 2, 0));
    let status = engine.status();
    assert!(status.states.iter().all(|state| state.waiting + state.executing + state.cancelled == 0), "{status:?}");
}

async fn a_signal_may_come_before_the_item_waits_and_counts_once<S: Inspect>(store: S) {
    let engine = engine(store, orders());
    let run = engine.create("r", &()).await.unwrap();
    let id = run.add(Order::Ask, "ann".to_owned()).await.unwrap();
    for sum in [7_u32, 8, 9] {
        run.signal(id, "payment", &sum).await.unwrap();
    }
    drain(&engine, &run).await;
    assert_eq!(context(&run, id).await, "ann paid 7");
}

async fn a_signal_after_the_deadline_changes_nothing<S: Inspect>(store: S) {
    let engine = engine(store, orders());
    let run = engine.create("r", &()).await.unwrap();
    let id = run.add(Order::Ask, "hasty".to_owned()).await.unwrap();
    drain(&engine, &run).await;
    run.signal(id, "payment", &7_u32).await.unwrap();
    let later = tokio::time::sleep(Duration::from_millis(300));
    within(engine.run_until(later)).await.unwrap();
    assert_eq!(context(&run, id).await, "hasty is late");
}

#[tokio::test]
async fn a_signal_that_no_item_waits_for_is_given_up_after_a_week() {
    let clock = Clock::manual(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
    let store = MemoryStore::with_clock(clock.clone());
    let engine = Engine::builder(store.clone(), orders()).clock(clock.clone()).build();
    let run = engine.create("r", &()).await.unwrap();
    run.signal(JobId::new(), "payment", &7_u32).await.unwrap();
    let filter = JobFilter::all().kind("orders.signal");
    let mut states = Vec::new();
    for _ in 0..2 {
        within(engine.run_until(tokio::time::sleep(Duration::from_millis(200)))).await.unwrap();
        states.push(
            store.list(filter.clone(), work_core::store::Order::OldestFirst, None, 10).await.unwrap().jobs[0].state,
        );
        clock.advance(Duration::from_secs(7 * 24 * 60 * 60 + 1));
    }
    assert_eq!(states, [JobState::Available, JobState::Discarded]);
}

/// The clock of the store and of the engine stands still until the test moves it.
#[tokio::test]
async fn a_wait_of_an_hour_survives_the_engine_and_ends_when_its_time_has_come() {
    let clock = Clock::manual(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let make = || Engine::builder((*store).clone(), orders()).clock(clock.clone()).build();
    let first = make();
    let run = first.create("r", &()).await.unwrap();
    let id = run.add(Order::Ask, "ann".to_owned()).await.unwrap();
    within(first.run_until(waits(&run, id))).await.unwrap();
    clock.advance(Duration::from_secs(3599));

    let second = make();
    let run = second.open("r").await.unwrap();
    within(second.run_until(tokio::time::sleep(Duration::from_millis(200)))).await.unwrap();
    assert_eq!(context(&run, id).await, "ann", "a second too early");
    clock.advance(Duration::from_secs(1));
    drain(&second, &run).await;
    assert_eq!(context(&run, id).await, "ann is late");
}
