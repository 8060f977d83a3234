//! The order of the rows of a key, whatever fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::place::{Chance, Place, Seen, TABLE, receiver, relay, until};

/// Checks what a receiver got: of each key, a row is followed by the row behind it or by itself once more.
pub(crate) fn check_order(seen: &[(String, Option<String>)], rows: &HashMap<String, Vec<String>>) {
    for (key, expected) in rows {
        let mut got: Vec<&String> = seen.iter().filter(|(_, of)| of.as_ref() == Some(key)).map(|(id, _)| id).collect();
        got.dedup();
        assert!(got.iter().copied().eq(expected), "{key}: {got:?}, not {expected:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_in_order_under_random_failures() {
    for seed in 1..=6 {
        let (place, seen) = (Place::new(TABLE), Seen::default());
        let chance = Arc::new(Mutex::new(Chance(seed)));
        let (answers, taken) = (chance.clone(), Arc::new(Mutex::new(HashMap::<String, u32>::new())));
        let takes = taken.clone();
        let worker = receiver(&seen, move |row| match answers.lock().unwrap().below(10) {
            0..=1 => 500,
            2 => 429,
            3 => 408,
            _ => {
                *takes.lock().unwrap().entry(row.id().to_string()).or_default() += 1;
                200
            }
        });
        relay(place.outbox().in_flight(1 + (seed as usize * 7) % 40), &worker).await;
        let mut rows: HashMap<String, Vec<String>> = HashMap::new();
        for _ in 0..40 {
            place.user.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..10 {
                let key = format!("key {}", chance.lock().unwrap().below(12));
                let id = place.add(Some(&key), "1").to_string();
                rows.entry(key).or_default().push(id);
            }
            place.user.execute_batch("COMMIT").unwrap();
            let pause = chance.lock().unwrap().below(8);
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
        until("published", || place.pending() == 0).await;
        check_order(&seen.lock().unwrap(), &rows);
        let taken = taken.lock().unwrap();
        assert!(
            taken.len() == 400 && taken.values().all(|times| *times == 1),
            "nothing is delivered after it was taken"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_failures_rows_without_a_key_begin_in_the_order_of_their_ids() {
    let (place, seen) = (Place::new(TABLE), Seen::default());
    for _ in 0..1_000 {
        place.add(None, "1");
    }
    let worker = receiver(&seen, |_| 200);
    relay(place.outbox().in_flight(1), &worker).await;
    until("published", || place.pending() == 0).await;
    let got: Vec<i64> = seen.lock().unwrap().iter().map(|(id, _)| id.parse().unwrap()).collect();
    assert!(got.is_sorted() && got.len() == 1_000);
}
