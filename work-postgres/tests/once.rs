//! A job is stored once, whatever happens at the same time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use support::{Place, complete, job, lease};
use work_core::store::{CancelOutcome, Inserted, Inspect, JobFilter, NewJob, Settled, Store};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Unique};

fn keyed(key: &str) -> NewJob {
    Job::new("greet", 1).unique(Unique::while_kept(key)).into_stored(DEFAULT_MAX_ARGS).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_repeated_while_it_ends_is_not_stored_again() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..150 {
        let one = if n % 3 == 0 { keyed(&n.to_string()) } else { job("greet", n) };
        store.insert(vec![one.clone()]).await.unwrap();
        let leases = lease(&store, 1).await.jobs;
        let again: Vec<_> = (0..3)
            .map(|_| {
                let (store, one) = (store.clone(), one.clone());
                tokio::spawn(async move { store.insert(vec![one]).await.unwrap() })
            })
            .collect();
        assert_eq!(store.settle(vec![complete(&leases[0])]).await.unwrap(), [Settled::Done]);
        for again in again {
            assert_eq!(again.await.unwrap(), [Inserted::Duplicate(one.parts.id)]);
        }
    }
    let counts = store.counts(JobFilter::default()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.total()), (150, 150));
}

#[tokio::test]
async fn of_a_batch_only_what_is_new_is_stored_also_if_the_rest_is_over() {
    let place = Place::new();
    let store = place.open().await;
    let old: Vec<NewJob> = vec![job("old", 1), keyed("k")];
    store.insert(old.clone()).await.unwrap();
    let leases = lease(&store, 10).await.jobs;
    store.settle(leases.iter().map(complete).collect()).await.unwrap();
    for new in [job("new", 2), keyed("l")] {
        let batch = vec![old[0].clone(), new.clone(), old[1].clone(), keyed("k"), new.clone()];
        let (first, second) = (old[0].parts.id, old[1].parts.id);
        let expected = [
            Inserted::Duplicate(first),
            Inserted::New(new.parts.id),
            Inserted::Duplicate(second),
            Inserted::Duplicate(second),
            Inserted::Duplicate(new.parts.id),
        ];
        assert_eq!(store.insert(batch).await.unwrap(), expected);
    }
    let batch = vec![old[0].clone(), job("plain", 3)];
    assert!(matches!(store.insert(batch).await.unwrap()[..], [Inserted::Duplicate(_), Inserted::New(_)]));
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_with_the_same_keys_in_another_order_do_not_lock_each_other_out() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    for round in 0..20 {
        let inserts: Vec<_> = (0..4)
            .map(|n| {
                let store = stores[n % 2].clone();
                let mut batch: Vec<_> = (0..50).map(|key| keyed(&format!("{round} {key}"))).collect();
                if n >= 2 {
                    batch.reverse();
                }
                tokio::spawn(async move { store.insert(batch).await.unwrap() })
            })
            .collect();
        for insert in inserts {
            assert_eq!(insert.await.unwrap().len(), 50);
        }
    }
    assert_eq!(stores[0].counts(JobFilter::default()).await.unwrap().total(), 1_000);
}

#[tokio::test]
async fn a_dead_letter_stays_one_while_another_job_holds_its_key() {
    let place = Place::new();
    let store = place.open().await;
    let active = || Job::new("greet", 1).unique(Unique::new("k")).into_stored(DEFAULT_MAX_ARGS).unwrap();
    let (first, second) = (active(), active());
    store.insert(vec![first.clone()]).await.unwrap();
    assert_eq!(store.cancel(vec![first.parts.id]).await.unwrap(), [CancelOutcome::Cancelled]);
    store.insert(vec![second.clone()]).await.unwrap();
    assert!(!store.retry(first.parts.id).await.unwrap());
    assert_eq!(store.cancel(vec![second.parts.id; 2]).await.unwrap(), [CancelOutcome::Cancelled, CancelOutcome::Ended]);
    assert!(store.retry(first.parts.id).await.unwrap());
    assert_eq!(store.get(first.parts.id).await.unwrap().unwrap().state, JobState::Available);
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 2);
}
