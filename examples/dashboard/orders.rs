use std::sync::Arc;
use std::time::Duration;

use work_sqlite::SqliteStore;
use work_workflow::{Engine, Item, Next, Step, Workflow};

work_workflow::states! {
    /// How an order gets to its buyer.
    enum Order: u32 {
        Receive = "receive", Pay = "pay", Pack = "pack", Ship = "ship", Notify = "notify", Delivered = "delivered",
        Refused = "refused",
    }
}

async fn receive(Item(order): Item<Order>) -> Next<Order> {
    tokio::time::sleep(Duration::from_millis(60)).await;
    Next::to(Order::Pay, order)
}

async fn pay(Item(order): Item<Order>) -> anyhow::Result<Next<Order>> {
    tokio::time::sleep(Duration::from_millis(250)).await;
    anyhow::ensure!(!order.is_multiple_of(11), "card of customer {order} was declined");
    Ok(Next::to(Order::Pack, order))
}

async fn pack(Item(order): Item<Order>) -> anyhow::Result<Next<Order>> {
    tokio::time::sleep(Duration::from_millis(900)).await;
    anyhow::ensure!(!order.is_multiple_of(13), "article {} is not in stock", order % 5);
    Ok(Next::to(Order::Ship, order).kick(Order::Notify, order))
}

async fn ship(Item(order): Item<Order>) -> Next<Order> {
    Next::to(Order::Delivered, order).after(Duration::from_secs(20))
}

async fn notify(Item(order): Item<Order>) -> Next<Order> {
    Next::to(Order::Delivered, order)
}

/// A run that gets an order every second.
pub(crate) async fn run(store: Arc<SqliteStore>) -> anyhow::Result<()> {
    let workflow = Workflow::builder("orders")
        .start(Order::Receive)
        .state(Order::Receive, Step::new(receive).to([Order::Pay]))
        .state(Order::Pay, Step::new(pay).to([Order::Pack]).dead(Order::Refused).max_attempts(1))
        .state(Order::Pack, Step::new(pack).to([Order::Ship]).kicks([Order::Notify]).max_attempts(1).concurrency(2))
        .state(Order::Ship, Step::new(ship).to([Order::Delivered]))
        .state(Order::Notify, Step::new(notify).to([Order::Delivered]))
        .terminal(Order::Delivered)
        .terminal(Order::Refused)
        .build(())?;
    let engine = Engine::new(store, workflow);
    let run = engine.create("today", &"EUR").await?;
    let arriving = async {
        run.add_all(Order::Receive, 1..40).await?;
        for order in 40.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            run.add(Order::Receive, order).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = engine.run_until(std::future::pending()) => drop(ended?),
        added = arriving => added?,
    }
    Ok(())
}
