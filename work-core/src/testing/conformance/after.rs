//! Jobs that run after the holder of their unique key.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::{CancelOutcome, DeleteOutcome, Inserted, JobFilter, Rescued};
use crate::{InvalidJob, JobState, OnConflict, Unique};

fn after(n: u32) -> Job {
    job(n).unique(Unique::new("k").on_conflict(OnConflict::RunAfter))
}

async fn insert_one(store: &dyn Inspect, job: Job) -> Inserted {
    store.insert(vec![stored(job)]).await.expect("insert")[0]
}

/// A job that is kept, since its key is free or held by one that runs.
async fn new(store: &dyn Inspect, job: Job) -> JobId {
    let id = job.id();
    assert_eq!(insert_one(store, job).await, Inserted::New(id));
    id
}

async fn nothing_is_due(store: &dyn Inspect) {
    let leased = store.lease(want(10)).await.expect("lease");
    assert!(leased.jobs.is_empty(), "{:?}", numbers(&leased.jobs));
    assert!(leased.next_due_in.is_none_or(|wait| !wait.is_zero()), "and it is no use to look at once again");
}

/// One waits while one runs, later ones join it, and the key is free when both have ended.
pub async fn one_job_waits_for_the_running_holder_of_its_key(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let first = new(&*store, after(1)).await;
    assert_eq!(insert_one(&*store, after(2)).await, Inserted::Duplicate(first), "it has not started");
    let running = lease_one(&*store).await;
    let second = new(&*store, after(3)).await;
    let same = stored(after(3).with_id(second));
    assert_eq!(store.insert(vec![same]).await.expect("insert"), [Inserted::Duplicate(second)]);
    let both = store.insert(vec![stored(after(4)), stored(job(5).unique(Unique::new("k")))]).await.expect("insert");
    assert_eq!(both, [Inserted::Duplicate(second), Inserted::Duplicate(first)]);
    let waits = get(&*store, second).await;
    assert_eq!((waits.state, waits.job.parts.unique.as_ref().map(Unique::key)), (JobState::Available, Some("k")));
    assert!(waits.job.parts.scheduled_at.is_some_and(|at| at <= start() + seconds(1)));
    nothing_is_due(&*store).await;
    assert_eq!(settle(&*store, complete(&running)).await, Settled::Done);
    let running = lease_one(&*store).await;
    assert_eq!((running.key.id, numbers(std::slice::from_ref(&running)), running.attempt), (second, vec![3], 1));
    // In one batch: the first of them waits, the other joins it.
    let third = stored(after(6));
    let id = third.parts.id;
    let batch = store.insert(vec![third, stored(after(7))]).await.expect("insert");
    assert_eq!(batch, [Inserted::New(id), Inserted::Duplicate(id)]);
    nothing_is_due(&*store).await;
    settle(&*store, complete(&running)).await;
    let last = lease_one(&*store).await;
    assert_eq!(last.key.id, id);
    settle(&*store, complete(&last)).await;
    let free = new(&*store, after(8)).await;
    assert_eq!(lease_one(&*store).await.key.id, free);
    assert_eq!(store.counts(JobFilter::all()).await.expect("counts").total(), 4);
}

/// A holder that is to run again has not ended.
pub async fn a_job_waits_through_the_retries_and_crashes_of_the_holder(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let first = new(&*store, after(1)).await;
    let running = lease_one(&*store).await;
    let second = new(&*store, after(2)).await;
    let retry = end(&running, Status::INTERNAL_ERROR, Settlement::Retry { at: start() });
    settle(&*store, retry).await;
    assert_eq!(insert_one(&*store, after(3)).await, Inserted::Duplicate(second));
    let running = lease(&*store, 10).await;
    assert_eq!(running.iter().map(|lease| lease.key.id).collect::<Vec<_>>(), [first]);
    settle(&*store, end(&running[0], Status::SUCCESS, Settlement::Snooze { at: start() + seconds(60) })).await;
    nothing_is_due(&*store).await;
    clock.advance(seconds(60));
    assert_eq!(numbers(&lease(&*store, 10).await), [1]);
    clock.advance(seconds(31));
    assert_eq!(store.rescue(10, 3).await.expect("rescue"), Rescued { available: 1, discarded: 0 });
    let running = lease(&*store, 10).await;
    assert_eq!(numbers(&running), [1]);
    nothing_is_due(&*store).await;
    settle(&*store, complete(&running[0])).await;
    assert_eq!(numbers(&lease(&*store, 10).await), [2]);
}

/// How a holder ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Complete,
    Discard,
    Cancel,
    GivenUp,
    CancelledAndLost,
    CancelledWhileItWaits,
    DeletedWhileItWaits,
    Expired,
}

const ENDS: [End; 8] = [
    End::Complete,
    End::Discard,
    End::Cancel,
    End::GivenUp,
    End::CancelledAndLost,
    End::CancelledWhileItWaits,
    End::DeletedWhileItWaits,
    End::Expired,
];

async fn ends(store: &dyn Inspect, clock: &Clock, lease: &Lease, how: End) {
    let id = lease.key.id;
    let again = end(lease, Status::INTERNAL_ERROR, Settlement::Retry { at: clock.now() });
    match how {
        End::Complete => assert_eq!(settle(store, complete(lease)).await, Settled::Done),
        End::Discard => _ = settle(store, end(lease, Status::BAD_REQUEST, Settlement::Discard)).await,
        End::Cancel => _ = settle(store, end(lease, Status::CANCELLED, Settlement::Cancel)).await,
        End::GivenUp => {
            clock.advance(seconds(31));
            assert_eq!(store.rescue(10, 1).await.expect("rescue").discarded, 1);
        }
        End::CancelledAndLost => {
            assert_eq!(store.cancel(vec![id]).await.expect("cancel"), [CancelOutcome::Requested]);
            nothing_is_due(store).await;
            clock.advance(seconds(31));
            store.rescue(10, 3).await.expect("rescue");
        }
        End::CancelledWhileItWaits => {
            settle(store, again).await;
            assert_eq!(store.cancel(vec![id]).await.expect("cancel"), [CancelOutcome::Cancelled]);
        }
        End::DeletedWhileItWaits => {
            settle(store, again).await;
            assert_eq!(store.delete(vec![id]).await.expect("delete"), [DeleteOutcome::Deleted]);
        }
        End::Expired => {
            settle(store, again).await;
            clock.advance(seconds(3_600));
            // It may come with this lease already.
            let leased = numbers(&super::lease(store, 1).await);
            assert!(leased.is_empty() || leased == [2], "{leased:?}");
            if !leased.is_empty() {
                clock.advance(seconds(31));
                assert_eq!(store.rescue(10, 3).await.expect("rescue").available, 1);
            }
        }
    }
}

/// Well, badly, by somebody's hand, or by a crash; and then the key is the next job's, and free after it.
pub async fn a_job_runs_after_a_holder_that_ends_in_any_way(make: &impl MakeStore) {
    for how in ENDS {
        let (store, clock) = store(make).await;
        new(&*store, after(1).expires_at(start() + seconds(3_000))).await;
        let running = lease_one(&*store).await;
        let second = new(&*store, after(2)).await;
        nothing_is_due(&*store).await;
        ends(&*store, &clock, &running, how).await;
        assert_eq!(insert_one(&*store, job(3).unique(Unique::new("k"))).await, Inserted::Duplicate(second), "{how:?}");
        let next = lease(&*store, 10).await;
        assert_eq!(numbers(&next), [2], "{how:?}");
        let third = new(&*store, after(4)).await;
        settle(&*store, complete(&next[0])).await;
        let last = lease_one(&*store).await;
        assert_eq!(last.key.id, third, "{how:?}");
        settle(&*store, complete(&last)).await;
        new(&*store, after(5)).await;
    }
}

/// It can be cancelled, deleted, changed; but nothing lets it run at the same time.
pub async fn a_job_that_waits_for_a_holder_can_be_dealt_with(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    new(&*store, after(1)).await;
    let running = lease_one(&*store).await;
    let cancelled = new(&*store, after(2)).await;
    assert_eq!(store.cancel(vec![cancelled]).await.expect("cancel"), [CancelOutcome::Cancelled]);
    let stopped = get(&*store, cancelled).await;
    assert_eq!((stopped.state, stopped.job.parts.unique.as_ref().map(Unique::key)), (JobState::Cancelled, Some("k")));
    assert!(!store.retry(cancelled).await.expect("retry"), "another one holds its key");
    let deleted = new(&*store, after(3)).await;
    assert_eq!(store.delete(vec![deleted]).await.expect("delete"), [DeleteOutcome::Deleted]);
    let later = new(&*store, after(4).scheduled_at(start() + seconds(600))).await;
    assert_eq!(get(&*store, later).await.job.parts.scheduled_at, Some(start() + seconds(600)));
    assert!(store.edit(later, "40".into()).await.expect("edit"));
    let listed =
        store.list(JobFilter::all().state(JobState::Available), crate::store::Order::OldestFirst, None, 10).await;
    assert_eq!(listed.expect("list").jobs.iter().map(|stored| stored.job.parts.id).collect::<Vec<_>>(), [later]);
    settle(&*store, complete(&running)).await;
    nothing_is_due(&*store).await;
    clock.advance(seconds(600));
    let running = lease_one(&*store).await;
    assert_eq!(running.job.args, "40");
    let last = new(&*store, after(5).scheduled_at(start() + seconds(86_400))).await;
    assert!(store.run_now(last).await.expect("run now"));
    nothing_is_due(&*store).await;
    let ready = store.queues().await.expect("queues").iter().find_map(|queue| queue.oldest_ready_for);
    assert_eq!(ready, None, "it is not ready");
    settle(&*store, complete(&running)).await;
    assert_eq!(numbers(&lease(&*store, 10).await), [5]);
    assert!(!store.retry(cancelled).await.expect("retry"));
}

/// A key that outlives its job has no next one, and such a job cannot ask for it.
pub async fn a_key_that_is_kept_has_no_next_job(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let kept = insert(&*store, [job(1).unique(Unique::while_kept("k"))]).await[0];
    let running = lease_one(&*store).await;
    assert_eq!(insert_one(&*store, after(2)).await, Inserted::Duplicate(kept));
    settle(&*store, complete(&running)).await;
    assert_eq!(insert_one(&*store, after(3)).await, Inserted::Duplicate(kept));
    for unique in [Unique::while_kept("k"), Unique::new("k").within(seconds(1))] {
        let refused: InvalidJob =
            job(1).unique(unique.on_conflict(OnConflict::RunAfter)).validate().expect_err("refused");
        assert!(refused.to_string().contains("RunAfter"), "{refused}");
    }
}

const KEYS: usize = 3;

/// What inserters and runners of many keys note.
#[derive(Default)]
struct Noted {
    /// Raised before each insert.
    written: [AtomicU32; KEYS],
    /// What was there when the last run of a key started.
    seen: [AtomicU32; KEYS],
    running: Mutex<HashSet<usize>>,
    inserts_left: AtomicU32,
}

async fn write(store: Arc<dyn Inspect>, noted: Arc<Noted>, writer: usize) {
    for n in 0..60 {
        let key = (n + writer) % KEYS;
        noted.written[key].fetch_add(1, Ordering::SeqCst);
        let unique = Unique::new(format!("key {key}")).on_conflict(OnConflict::RunAfter);
        insert(&*store, [job(u32::try_from(key).expect("small")).unique(unique)]).await;
    }
    noted.inserts_left.fetch_sub(1, Ordering::SeqCst);
}

async fn run(store: Arc<dyn Inspect>, noted: Arc<Noted>) {
    loop {
        let last = noted.inserts_left.load(Ordering::SeqCst) == 0;
        let leases = lease(&*store, 2).await;
        if leases.is_empty() {
            if last && store.counts(JobFilter::all()).await.expect("counts").open() == 0 {
                return;
            }
            store.rescue(10, 3).await.expect("rescue");
            tokio::task::yield_now().await;
        }
        for lease in leases {
            let key: usize = serde_json::from_slice(&lease.job.args).expect("a number");
            assert!(noted.running.lock().expect("running").insert(key), "two of one key run at once");
            noted.seen[key].fetch_max(noted.written[key].load(Ordering::SeqCst), Ordering::SeqCst);
            tokio::task::yield_now().await;
            noted.running.lock().expect("running").remove(&key);
            assert_eq!(settle(&*store, complete(&lease)).await, Settled::Done);
        }
    }
}

/// With four inserters and three runners: no two of a key run at once, and a run starts after the last insert.
pub async fn whatever_was_there_when_a_job_was_inserted_is_seen_by_a_run(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let noted = Arc::new(Noted { inserts_left: AtomicU32::new(4), ..Noted::default() });
    let writers = (0..4).map(|n| tokio::spawn(write(store.clone(), noted.clone(), n)));
    let runners = (0..3).map(|_| tokio::spawn(run(store.clone(), noted.clone())));
    let tasks: Vec<_> = writers.chain(runners).collect();
    for task in tasks {
        tokio::time::timeout(seconds(120), task).await.expect("in time").expect("a task");
    }
    for (written, seen) in noted.written.iter().zip(&noted.seen) {
        assert_eq!(written.load(Ordering::SeqCst), seen.load(Ordering::SeqCst), "a run starts after the last insert");
    }
}
