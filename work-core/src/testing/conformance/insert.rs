//! What is accepted, and what is there already.

use bytes::Bytes;

use super::*;
use crate::store::{Inserted, JobFilter};
use crate::{OnConflict, Unique};

/// A second job with the id or the unique key of a first is not stored, in one batch or across batches.
pub async fn ids_and_unique_keys_are_held_once(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let keyed = |key: &str| stored(job(0).unique(Unique::new(key)));
    let (a, b, other, plain) = (keyed("k"), keyed("k"), keyed("l"), stored(job(1)));
    let (first, second, third) = (a.parts.id, other.parts.id, plain.parts.id);
    let batch = vec![a, b, other, plain.clone(), plain.clone()];
    let answers = store.insert(batch).await.expect("insert");
    let expected = [
        Inserted::New(first),
        Inserted::Duplicate(first),
        Inserted::New(second),
        Inserted::New(third),
        Inserted::Duplicate(third),
    ];
    assert_eq!(answers, expected);
    let again = store.insert(vec![keyed("k"), plain]).await.expect("insert");
    assert_eq!(again, [Inserted::Duplicate(first), Inserted::Duplicate(third)]);
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 3);
}

/// `WhileActive` frees the key with the job's end, `WhileKept` holds it.
pub async fn a_unique_key_is_free_again_when_its_scope_ends(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let active = insert(&*store, [job(0).unique(Unique::new("active"))]).await[0];
    let kept = insert(&*store, [job(1).unique(Unique::while_kept("kept"))]).await[0];
    for lease in lease(&*store, 2).await {
        let retry = end(&lease, Status::INTERNAL_ERROR, Settlement::Retry { at: start() });
        assert_eq!(settle(&*store, retry).await, Settled::Done);
    }
    let held = insert(&*store, [job(2).unique(Unique::new("active"))]).await[0];
    assert_eq!(held, active, "a job that is retried still holds its key");
    for lease in lease(&*store, 2).await {
        assert_eq!(settle(&*store, complete(&lease)).await, Settled::Done);
    }
    let next = insert(&*store, [job(3).unique(Unique::new("active")), job(4).unique(Unique::while_kept("kept"))]).await;
    assert_ne!(next[0], active);
    assert_eq!(next[1], kept);
}

/// Two hundred keys, each inserted by fifty callers at once.
pub async fn fifty_callers_with_one_key_make_one_job(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let callers = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for key in 0..200 {
                ids.extend(insert(&*store, [job(key).unique(Unique::new(format!("key {key}")))]).await);
            }
            ids
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut seen: Option<Vec<JobId>> = None;
    for caller in callers {
        let ids = caller.await.expect("a caller");
        assert_eq!(*seen.get_or_insert_with(|| ids.clone()), ids, "every caller gets the one job of a key");
    }
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 200);
}

/// Texts that some store might change: escapes, the largest numbers, the order of keys, spaces.
pub async fn args_come_back_byte_for_byte(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let texts: [&str; 6] = [
        r#"{"b":1,"a":{"z":[],"y":null}}"#,
        r#""\u0000 \uffff 😀 \\ \" '""#,
        "[18446744073709551615, 9007199254740993, -0.0, 1e-7]",
        " [ 1 , 2 ] ",
        r#"{"a":1,"a":2}"#,
        r#""line\nbreak; DROP TABLE jobs;--""#,
    ];
    let headers = |job: Job| job.header("traceparent", "00-abc-def-01").header("ü", "\"quoted\"");
    let jobs =
        texts.map(|text| headers(Job::from_json("test", Bytes::from_static(text.as_bytes())).timeout(seconds(7))));
    insert(&*store, jobs).await;
    let leases = lease(&*store, 10).await;
    for (lease, text) in leases.iter().zip(texts) {
        assert_eq!(lease.job.args, text.as_bytes());
        assert_eq!(lease.job.parts.timeout, Some(seconds(7)));
        assert_eq!(lease.job.parts.headers.get("ü").map(String::as_str), Some("\"quoted\""));
    }
    assert_eq!(leases.len(), texts.len());
}

/// No batch of nothing fails.
pub async fn empty_batches_do_nothing(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    assert!(store.insert(Vec::new()).await.expect("insert").is_empty());
    assert!(store.settle(Vec::new()).await.expect("settle").is_empty());
    assert!(store.extend(Vec::new(), seconds(1)).await.expect("extend").is_empty());
    assert!(store.cancel(Vec::new()).await.expect("cancel").is_empty());
    insert(&*store, [job(1)]).await;
    assert!(lease(&*store, 0).await.is_empty());
    assert_eq!(lease(&*store, 1).await.len(), 1);
}

/// Inserted, leased and settled at once.
pub async fn ten_thousand_jobs_fit_in_one_batch(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..10_000).map(job)).await;
    let leases = lease(&*store, 10_000).await;
    assert_eq!(numbers(&leases), (0..10_000).collect::<Vec<_>>());
    let answers = store.settle(leases.iter().map(complete).collect()).await.expect("settle");
    assert!(answers.len() == 10_000 && answers.iter().all(|answer| *answer == Settled::Done));
    let counts = store.counts(JobFilter::default()).await.expect("counts");
    assert_eq!(counts.of(crate::JobState::Completed), 10_000);
}

/// Not before the job has ended, either.
pub async fn a_unique_key_with_a_window_is_free_after_it(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let hourly = |n: u32| job(n).unique(Unique::new("k").within(seconds(3_600)));
    let first = insert(&*store, [hourly(1)]).await[0];
    settle(&*store, complete(&lease_one(&*store).await)).await;
    clock.advance(seconds(3_599));
    assert_eq!(insert(&*store, [hourly(2), hourly(3)]).await, [first, first], "the window is open");
    clock.advance(seconds(1));
    let ids = insert(&*store, [hourly(4), hourly(5)]).await;
    assert!(ids[0] != first && ids[1] == ids[0], "{ids:?}");
    clock.advance(seconds(4_000));
    assert_eq!(insert(&*store, [hourly(6)]).await, [ids[0]], "it has not ended");
    settle(&*store, complete(&lease_one(&*store).await)).await;
    let again = insert(&*store, [hourly(7)]).await[0];
    assert_eq!(numbers(&lease(&*store, 10).await), [7]);
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 3);
    // A repeated insert of a job that is there is that job.
    let same = stored(hourly(1).with_id(first));
    assert_eq!(store.insert(vec![same]).await.expect("insert"), [Inserted::Duplicate(first)]);
    assert_eq!(get(&*store, again).await.job.args, "7");
    for bad in [Duration::ZERO, Duration::MAX] {
        let error = job(0).unique(Unique::new("k").within(bad)).validate().expect_err("refused").to_string();
        assert!(error.contains("unique window"), "{error}");
    }
}

/// The last one counts; a job that runs or has ended keeps its own.
pub async fn a_later_job_of_a_key_can_replace_the_args_of_one_that_waits(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let latest = |n: u32| job(n).unique(Unique::while_kept("k").on_conflict(OnConflict::ReplaceArgs));
    let first = insert(&*store, [latest(1)]).await[0];
    assert_eq!(insert(&*store, [latest(2), latest(3)]).await, [first, first]);
    assert_eq!(insert(&*store, [job(4).unique(Unique::new("k"))]).await, [first], "by default the first stays");
    assert_eq!(insert(&*store, [latest(5).with_id(first)]).await, [first], "it is that job itself");
    let leased = lease_one(&*store).await;
    assert_eq!(leased.job.args, "3");
    insert(&*store, [latest(6)]).await;
    settle(&*store, complete(&leased)).await;
    insert(&*store, [latest(7)]).await;
    assert_eq!(get(&*store, first).await.job.args, "3");
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 1);
}

/// Retried later, its job keeps the key until it ends again, and no longer.
pub async fn a_key_that_was_let_go_is_held_only_while_its_job_is_active(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let hourly = |n: u32| job(n).unique(Unique::new("k").within(seconds(3_600)));
    let first = insert(&*store, [hourly(1)]).await[0];
    settle(&*store, end(&lease_one(&*store).await, Status::BAD_REQUEST, Settlement::Discard)).await;
    clock.advance(seconds(3_600));
    let second = insert(&*store, [hourly(2)]).await[0];
    assert_ne!(second, first, "the window is over");
    store.delete(vec![second]).await.expect("delete");
    assert!(store.retry(first).await.expect("retry"));
    assert_eq!(insert(&*store, [job(3).unique(Unique::new("k"))]).await, [first]);
    settle(&*store, complete(&lease_one(&*store).await)).await;
    assert_ne!(insert(&*store, [job(4).unique(Unique::new("k"))]).await, [first]);
}

/// One job of a batch that finds the key held does not speak for the next one, whose window is over.
pub async fn each_job_of_a_batch_has_a_window_of_its_own(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let first = insert(&*store, [job(1).unique(Unique::while_kept("k"))]).await[0];
    settle(&*store, complete(&lease_one(&*store).await)).await;
    clock.advance(seconds(60));
    let within = |n: u32, time: u64| job(n).unique(Unique::new("k").within(seconds(time)));
    let ids = insert(&*store, [job(2).unique(Unique::new("k")), within(3, 61), within(4, 60), within(5, 60)]).await;
    assert_eq!(ids[..2], [first, first]);
    assert!(ids[2] != first && ids[3] == ids[2], "{ids:?}");
    assert_eq!(numbers(&lease(&*store, 10).await), [4]);
}
