//! How attempts end, and who may say so.

use super::*;
use crate::store::{CancelOutcome, JobFilter};
use crate::{JobState, Unique};

async fn taken_over(store: &dyn Inspect, clock: &Clock) -> (Lease, Lease) {
    let first = lease_one(store).await;
    clock.advance(seconds(31));
    assert_eq!(store.rescue(10, 3).await.expect("rescue").available, 1);
    (first, lease_one(store).await)
}

/// A worker that was given up on cannot settle, extend or follow up.
pub async fn a_stale_settler_is_refused_and_changes_nothing(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let id = insert(&*store, [job(1)]).await[0];
    let (stale, current) = taken_over(&*store, &clock).await;
    for settlement in [
        Settlement::Complete { output: Some("1".into()) },
        Settlement::Retry { at: start() },
        Settlement::Snooze { at: start() },
        Settlement::Discard,
        Settlement::Cancel,
    ] {
        let mut late = end(&stale, Status::SUCCESS, settlement);
        late.then = vec![stored(job(99))];
        late.error = Some(crate::store::ErrorRecord::new("late"));
        assert_eq!(settle(&*store, late).await, Settled::Lost);
    }
    assert!(store.extend(vec![stale.key], seconds(30)).await.expect("extend").is_empty());
    let job = get(&*store, id).await;
    assert_eq!((job.state, job.output.clone(), job.attempts.len()), (JobState::Running, None, 1));
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 1);
    assert_eq!(settle(&*store, complete(&current)).await, Settled::Done);
}

/// Also in one batch.
pub async fn a_second_settlement_of_one_lease_is_refused(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, [job(1)]).await;
    let lease = lease_one(&*store).await;
    let discard = end(&lease, Status::BAD_REQUEST, Settlement::Discard);
    let answers = store.settle(vec![complete(&lease), discard.clone()]).await.expect("settle");
    assert_eq!(answers, [Settled::Done, Settled::Lost]);
    assert_eq!(settle(&*store, discard).await, Settled::Lost);
    assert_eq!(get(&*store, lease.key.id).await.state, JobState::Completed);
}

/// And no others: not those that ended otherwise, nor those that have not ended or were lost.
pub async fn leases_that_completed_their_job_are_named(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, (1..=4).map(job)).await;
    let leases = lease(&*store, 4).await;
    let [one, two, three, _] = &leases[..] else { panic!("four leases") };
    assert_eq!(settle(&*store, complete(one)).await, Settled::Done);
    assert_eq!(settle(&*store, end(two, Status::BAD_REQUEST, Settlement::Discard)).await, Settled::Done);
    assert_eq!(settle(&*store, end(three, Status::SUCCESS, Settlement::Retry { at: start() })).await, Settled::Done);
    let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
    assert_eq!(store.completed(keys.clone()).await.expect("completed"), [one.key]);
    assert!(store.completed(Vec::new()).await.expect("completed").is_empty());

    clock.advance(seconds(31));
    store.rescue(10, 3).await.expect("rescue");
    for later in lease(&*store, 2).await {
        assert_eq!(settle(&*store, complete(&later)).await, Settled::Done);
    }
    assert_eq!(store.completed(keys).await.expect("completed"), [one.key], "another lease completed the others");
}

/// Atomically with the settlement, and never for a stale one.
pub async fn follow_ups_exist_exactly_if_the_settlement_counts(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, [job(1)]).await;
    let (stale, current) = taken_over(&*store, &clock).await;
    let following =
        |lease: &Lease, n: u32| Settle { then: vec![stored(job(n)), stored(job(n + 1))], ..complete(lease) };
    assert_eq!(settle(&*store, following(&stale, 10)).await, Settled::Lost);
    assert_eq!(settle(&*store, following(&current, 20)).await, Settled::Done);
    assert_eq!(numbers(&lease(&*store, 10).await), [20, 21]);
}

/// And neither runs before its time.
pub async fn retry_counts_the_attempt_and_snooze_gives_it_back(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, [job(1)]).await;
    let mut attempts = Vec::new();
    for n in 0..4 {
        let lease = lease_one(&*store).await;
        attempts.push(lease.attempt);
        let at = clock.now() + seconds(10);
        let settlement = if n % 2 == 0 { Settlement::Snooze { at } } else { Settlement::Retry { at } };
        assert_eq!(settle(&*store, end(&lease, Status::TOO_MANY, settlement)).await, Settled::Done);
        clock.advance(seconds(9));
        assert!(super::lease(&*store, 1).await.is_empty());
        clock.advance(seconds(1));
    }
    assert_eq!(attempts, [1, 1, 2, 2]);
    assert_eq!(lease_one(&*store).await.attempt, 3);
}

/// Told by its lease that can no longer be extended; and told twice is told once.
pub async fn a_cancelled_job_never_runs_and_a_running_one_is_told(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let ids = insert(&*store, [job(1), job(2).scheduled_at(start() + seconds(60)), job(3)]).await;
    let running = lease_one(&*store).await;
    let all = vec![ids[0], ids[1], ids[2], JobId::new()];
    let first = store.cancel(all.clone()).await.expect("cancel");
    assert_eq!(
        first,
        [CancelOutcome::Requested, CancelOutcome::Cancelled, CancelOutcome::Cancelled, CancelOutcome::NotFound]
    );
    let second = store.cancel(all).await.expect("cancel");
    assert_eq!(second, [CancelOutcome::Requested, CancelOutcome::Ended, CancelOutcome::Ended, CancelOutcome::NotFound]);
    assert!(store.extend(vec![running.key], seconds(30)).await.expect("extend").is_empty());
    assert_eq!(settle(&*store, end(&running, Status::CANCELLED, Settlement::Cancel)).await, Settled::Done);
    clock.advance(seconds(100));
    assert!(lease(&*store, 10).await.is_empty());
    for id in ids {
        assert_eq!(get(&*store, id).await.state, JobState::Cancelled);
    }
}

/// Each settlement by itself, and each answer in its place.
pub async fn a_mixed_batch_is_answered_in_order(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let ids = insert(&*store, (0..5).map(job)).await;
    let leases = lease(&*store, 5).await;
    let lost =
        Lease { key: crate::store::LeaseKey { fence: crate::store::Fence(77), ..leases[1].key }, ..leases[1].clone() };
    let batch = vec![
        end(&leases[0], Status::SUCCESS, Settlement::Complete { output: Some("{\"n\":1}".into()) }),
        complete(&lost),
        end(&leases[2], Status::BAD_REQUEST, Settlement::Discard),
        end(&leases[3], Status::INTERNAL_ERROR, Settlement::Retry { at: start() }),
        end(&leases[4], Status::CANCELLED, Settlement::Cancel),
    ];
    let answers = store.settle(batch).await.expect("settle");
    assert_eq!(answers, [Settled::Done, Settled::Lost, Settled::Done, Settled::Done, Settled::Done]);
    let mut states = Vec::new();
    for id in &ids {
        states.push(get(&*store, *id).await.state);
    }
    let expected =
        [JobState::Completed, JobState::Running, JobState::Discarded, JobState::Available, JobState::Cancelled];
    assert_eq!(states, expected);
    let done = get(&*store, ids[0]).await;
    assert_eq!((done.output.as_deref(), done.status), (Some(&b"{\"n\":1}"[..]), Some(Status::SUCCESS)));
}

/// A store may give the place of a job that was deleted to the next one, but not its leases.
pub async fn a_lease_of_a_job_that_is_gone_is_no_lease_of_another(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let gone = insert(&*store, [job(1)]).await[0];
    let stale = lease_one(&*store).await;
    settle(&*store, end(&stale, Status::INTERNAL_ERROR, Settlement::Retry { at: start() })).await;
    store.delete(vec![gone]).await.expect("delete");
    let other = insert(&*store, [job(2)]).await[0];
    assert_eq!(lease_one(&*store).await.key.id, other);
    assert_eq!(settle(&*store, complete(&stale)).await, Settled::Lost);
    assert!(store.extend(vec![stale.key], seconds(9)).await.expect("extend").is_empty());
    assert_eq!(get(&*store, other).await.state, JobState::Running);
}

/// A key that one of them held is free for what follows from another, whichever is named first.
pub async fn all_of_a_batch_ends_before_what_follows_is_inserted(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, [job(1), job(2).unique(Unique::new("k"))]).await;
    let leases = lease(&*store, 2).await;
    let follow = stored(job(3).unique(Unique::new("k")));
    let first = Settle { then: vec![follow.clone()], ..complete(&leases[0]) };
    let answers = store.settle(vec![first, complete(&leases[1])]).await.expect("settle");
    assert_eq!(answers, [Settled::Done; 2]);
    assert_eq!(get(&*store, follow.parts.id).await.state, JobState::Available);
}
