//! Many rows.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::place::{Place, Seen, TABLE, ids, receiver, relay, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_are_drained_beside_many_more_that_are_published() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    place
        .run("INSERT INTO work.outbox(key, published_at) SELECT n % 1000, now() FROM generate_series(1, 100000) n")
        .await;
    place.run("INSERT INTO work.outbox(key) SELECT n % 1000 FROM generate_series(1, 20000) n").await;
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    let took = until("published", async || place.pending().await == 0).await;
    println!("{took:.1?}");
    assert_eq!(ids(&seen).into_iter().collect::<BTreeSet<_>>().len(), 20_000);
    assert_eq!(ids(&seen).len(), 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_behind_a_dead_one_do_not_keep_the_others_waiting() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    place.run("INSERT INTO work.outbox(key) SELECT 'held' FROM generate_series(1, 30000)").await;
    let worker = receiver(&seen, |row| if row.key() == Some("held") { 400 } else { 200 });
    relay(place.outbox(), &worker).await;
    until("dead", async || place.dead().await.len() == 1).await;
    let mut fastest = Duration::MAX;
    for n in 2..8 {
        place.add(Some("free"), "1").await;
        fastest = fastest.min(until("delivered", async || ids(&seen).len() == n).await);
    }
    println!("{fastest:?}");
    // Behind all of them it would wait for ever.
    assert!(fastest < Duration::from_secs(10), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_row_costs_no_look_at_all_that_wait_behind_it() {
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    place.run("INSERT INTO work.outbox(key) SELECT n % 4 FROM generate_series(1, 40000) n").await;
    relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    let took = until("delivered", async || ids(&seen).len() > 4_000).await;
    println!("{took:.1?}");
    // A look at forty thousand rows takes a quarter of a second, and there would be a thousand.
    assert!(took < Duration::from_secs(30), "{took:?}");
}
