//! Many rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::place::{Place, Seen, TABLE, receiver, relay, until};

const MANY: &str = "
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
    INSERT INTO outbox(key, payload) SELECT 'key ' || (n % 5000), '\"' || hex(zeroblob(500)) || '\"' FROM n";

/// Bytes of memory that this process has.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or_default() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_are_drained_in_bounded_memory() {
    let place = Place::new(TABLE);
    place.user.execute_batch(MANY).unwrap();
    let delivered = Arc::new(AtomicUsize::new(0));
    let count = delivered.clone();
    let worker = crate::place::receiver(&Seen::default(), move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        200
    });
    let before = memory();
    relay(place.outbox(), &worker).await;
    let mut most = before;
    let took = until("published", || {
        most = most.max(memory());
        place.pending() == 0
    })
    .await;
    println!("{took:.1?}, {} KiB more at most", (most - before) / 1024);
    assert_eq!(delivered.load(Ordering::Relaxed), 100_000);
    // The rows have 100 MB, and the receiver notes what it has seen.
    assert!(most - before < 50_000_000, "{} bytes", most - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_behind_a_dead_one_do_not_slow_the_others_down() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    place.user.execute_batch(&MANY.replace("'key ' || (n % 5000)", "'held'")).unwrap();
    let worker = receiver(&seen, |row| if row.key() == Some("held") { 400 } else { 200 });
    relay(place.outbox(), &worker).await;
    until("dead", || place.dead().len() == 1).await;
    let mut fastest = Duration::MAX;
    for n in 2..12 {
        place.add(Some("free"), "1");
        fastest = fastest.min(until("delivered", || seen.lock().unwrap().len() == n).await);
    }
    println!("{fastest:?}");
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
}
