//! Transactions that are committed in another order than they began.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use work_core::testing::Dice;

use crate::place::{Place, Seen, TABLE, ids, receiver, relay, until};

/// Connections that insert at once.
const WRITERS: u64 = 8;

/// Rows of one transaction, at most.
const AT_ONCE: u64 = 20;

/// By default; `WORK_OUTBOX_ROWS` says another number.
const ROWS: u64 = 4_000;

/// Of the transactions, so many are open for up to so long after their rows are there, and so many come to nothing.
const SLOW: (f64, u64) = (0.3, 150);
const ROLLED_BACK: f64 = 0.1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_passed_over_whatever_the_order_of_commits() {
    let rows = std::env::var("WORK_OUTBOX_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let (place, seen) = (Place::new(TABLE).await, Seen::default());
    for _ in 0..2 {
        relay(place.outbox(), &receiver(&seen, |_| 200)).await;
    }
    let writers = (0..WRITERS).map(|writer| {
        let (url, schema) = (place.url.clone(), place.schema.clone());
        tokio::spawn(async move { write(&Place::of(url, schema).await, writer, rows / WRITERS).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut pending = place.pending().await;
    while pending > 0 {
        until("one more", async || place.pending().await < pending).await;
        pending = place.pending().await;
    }
    assert_eq!(
        place.number("SELECT count(*) FROM work.outbox").await,
        i64::try_from(rows / WRITERS * WRITERS).unwrap()
    );
    let delivered = ids(&seen);
    let distinct: BTreeSet<&String> = delivered.iter().collect();
    assert_eq!(distinct.len() as u64, rows / WRITERS * WRITERS, "each row that was committed, and no other");
    println!("{} rows, {} deliveries, {} of them after a larger id", distinct.len(), delivered.len(), late(&delivered));
    assert!(late(&delivered) > 0, "all came in the order of their ids: this shows nothing");

    let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (id, key) in &*seen.lock().unwrap() {
        keys.entry(key.clone().unwrap()).or_default().push(id.parse().unwrap());
    }
    for (key, mut ids) in keys {
        ids.dedup();
        assert!(ids.is_sorted(), "{key}: {ids:?}");
    }
}

/// Commits so many rows, of keys that no other writer has.
async fn write(place: &Place, writer: u64, rows: u64) {
    let (mut dice, mut committed) = (Dice::new(writer), 0);
    while committed < rows {
        let many = (1 + dice.roll(AT_ONCE)).min(rows - committed);
        let insert = format!(
            "BEGIN; INSERT INTO work.outbox(key) SELECT 'key {writer} ' || n % 3 FROM generate_series(1, {many}) n"
        );
        place.run(&insert).await;
        if dice.happens(SLOW.0) {
            tokio::time::sleep(Duration::from_millis(dice.roll(SLOW.1))).await;
        }
        let ends_well = !dice.happens(ROLLED_BACK);
        place.run(if ends_well { "COMMIT" } else { "ROLLBACK" }).await;
        committed += if ends_well { many } else { 0 };
    }
}

/// How many came after one with a larger id.
fn late(delivered: &[String]) -> usize {
    let mut largest = 0;
    let ids = delivered.iter().map(|id| id.parse::<i64>().unwrap());
    let is_late = |id: i64| {
        let before = largest;
        largest = largest.max(id);
        id < before
    };
    ids.map(is_late).filter(|is_late| *is_late).count()
}
