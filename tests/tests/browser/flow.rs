//! Two runs of a workflow: one in the midst of its items, one paused.

use std::sync::Arc;
use std::time::Duration;

use work_core::Clock;
use work_core::store::{Inspect, Want};
use work_workflow::{Engine, Item, Next, Step, Workflow};

work_workflow::states! {
    enum Order: u32 {
        Receive = "receive", Pay = "pay", Pack = "pack", Ship = "ship", Notify = "notify", Delivered = "delivered",
        Refused = "refused",
    }
}

async fn receive(Item(order): Item<Order>) -> Next<Order> {
    Next::to(Order::Pay, order)
}

async fn pay(Item(order): Item<Order>) -> Result<Next<Order>, std::io::Error> {
    if order % 9 == 4 {
        return Err(std::io::Error::other(format!("card of customer {order} was declined")));
    }
    Ok(Next::to(Order::Pack, order))
}

async fn pack(Item(order): Item<Order>) -> Result<Next<Order>, std::io::Error> {
    if order % 17 == 5 {
        return Err(std::io::Error::other(format!("article {} is not in stock", order % 5)));
    }
    Ok(Next::to(Order::Ship, order).kick(Order::Notify, order))
}

async fn ship(Item(order): Item<Order>) -> Next<Order> {
    if order % 23 == 7 { Next::to(Order::Pack, order + 1000) } else { Next::to(Order::Delivered, order) }
}

async fn notify(Item(order): Item<Order>) -> Next<Order> {
    Next::to(Order::Delivered, order)
}

pub(crate) const RUN: &str = "/workflows/orders.monday";

pub(crate) async fn flow(store: Arc<dyn Inspect>, clock: &Clock) {
    let workflow = Workflow::builder("orders")
        .start(Order::Receive)
        .state(Order::Receive, Step::new(receive).to([Order::Pay]))
        .state(Order::Pay, Step::new(pay).to([Order::Pack]).dead(Order::Refused).max_attempts(1))
        .state(Order::Pack, Step::new(pack).to([Order::Ship]).kicks([Order::Notify]).max_attempts(1))
        .state(Order::Ship, Step::new(ship).to([Order::Delivered, Order::Pack]))
        .state(Order::Notify, Step::new(notify).to([Order::Delivered]))
        .terminal(Order::Delivered)
        .terminal(Order::Refused)
        .build(())
        .unwrap();
    let engine = Engine::builder(Arc::clone(&store), workflow).clock(clock.clone()).build();
    let monday = engine.create("monday", &"EUR").await.unwrap();
    monday.add_all(Order::Receive, 0..86).await.unwrap();
    engine.run_until(monday.done()).await.unwrap();
    clock.advance(Duration::from_secs(40));
    // What comes in while nobody works on it, but for what is taken here.
    monday.add_all(Order::Receive, 100..118).await.unwrap();
    take(&*store, "orders.monday.receive", 4).await;
    let tuesday = engine.create("tuesday", &"EUR").await.unwrap();
    tuesday.pause().await.unwrap();
    tuesday.add_all(Order::Receive, 200..212).await.unwrap();
    clock.advance(Duration::from_secs(5));
}

async fn take(store: &dyn Inspect, queue: &'static str, limit: usize) {
    let lease_for = Duration::from_secs(60);
    let want = Want { queues: vec![queue.into()], limit, lease_for, worker: "shop-1-4711".into(), ..Want::default() };
    assert_eq!(store.lease(want).await.unwrap().jobs.len(), limit);
}
