//! The slots of a pool: none is lost, none is given twice, and who waits for room is told of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::future::{block_on, spawn, yield_now};

use super::explore;
use super::pool::{Execute, Pool};

/// Notes what runs.
#[derive(Clone, Default)]
struct Work(Arc<Seen>);

#[derive(Default)]
struct Seen {
    running: AtomicUsize,
    most: AtomicUsize,
    /// How often each item ran, and which slots are taken.
    runs: Mutex<Vec<usize>>,
    slots: Mutex<Vec<u32>>,
}

impl Execute for Work {
    type Item = usize;
    type Tag = usize;
    /// Items that were admitted and have not ended.
    type Book = usize;
    type End = ();
    type Local = ();

    fn tag(item: &mut usize) -> usize {
        *item
    }

    async fn execute(&self, item: usize, slot: u32, (): &mut ()) {
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(running, Ordering::SeqCst);
        self.take(slot);
        yield_now().await;
        self.0.runs.lock().unwrap()[item] += 1;
        self.0.slots.lock().unwrap().retain(|taken| *taken != slot);
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn note(&self, open: &mut usize, _: &usize, _: Option<&mut ()>) {
        *open -= 1;
    }
}

impl Work {
    fn take(&self, slot: u32) {
        let mut slots = self.0.slots.lock().unwrap();
        assert!(!slots.contains(&slot), "slot {slot} is taken twice");
        slots.push(slot);
    }
}

const ITEMS: usize = 6;

/// Two that submit, one that changes the concurrency as a ramp does, one that waits for room, and one that takes out what waits.
fn slots() {
    let work = Work::default();
    *work.0.runs.lock().unwrap() = vec![0; ITEMS];
    let pool = Pool::new(work.clone(), 0, 1);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for half in [0..ITEMS / 2, ITEMS / 2..ITEMS] {
        let pool = pool.clone();
        tasks.push(spawn(async move {
            for item in half {
                pool.at_most(ITEMS / 2).await;
                let admitted = pool.submit(item, |open, _, load| {
                    assert_eq!(*open, load, "every item that was admitted waits or runs");
                    *open += 1;
                    Ok::<(), ()>(())
                });
                assert!(admitted.is_ok());
            }
        }));
    }
    let ramp = pool.clone();
    tasks.push(spawn(async move {
        for concurrency in [2, 3, 1, 2] {
            ramp.set_concurrency(concurrency);
            yield_now().await;
        }
    }));
    let (impatient, out) = (pool.clone(), taken.clone());
    tasks.push(spawn(async move {
        impatient.few_waiting(1).await;
        let items: Vec<usize> = impatient.with(|pool| {
            *pool.book -= pool.waiting.len();
            pool.waiting.drain(..).collect()
        });
        out.lock().unwrap().extend(items);
    }));
    block_on(async move {
        for task in tasks {
            task.await.unwrap();
        }
        pool.at_most(0).await;
        assert_eq!(pool.len(), 0);
        assert_eq!(pool.with(|pool| *pool.book), 0);
    });
    assert!(work.0.most.load(Ordering::SeqCst) <= 3, "more than the concurrency ever was");
    let taken = taken.lock().unwrap();
    for (item, runs) in work.0.runs.lock().unwrap().iter().enumerate() {
        let taken = taken.iter().filter(|taken| **taken == item).count();
        assert_eq!(runs + taken, 1, "item {item} ran {runs} times and was taken out {taken} times");
    }
}

#[test]
fn no_slot_is_lost_or_given_twice_in_any_order_of_steps() {
    explore("slots", 3_000, slots);
}
