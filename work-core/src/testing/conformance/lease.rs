//! Who gets a job, when, and for how long.

use std::collections::HashSet;

use super::*;
use crate::JobState;
use crate::store::{Fence, LeaseKey, Rescued};

/// Ten thousand jobs, sixteen leasers, each job to one of them.
pub async fn each_job_is_leased_once_among_16_leasers(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..10_000).map(job)).await;
    let leasers: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let leases = lease(&*store, 37).await;
                    if leases.is_empty() {
                        return mine;
                    }
                    mine.extend(numbers(&leases));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for leaser in leasers {
        all.extend(leaser.await.expect("a leaser"));
    }
    assert_eq!(all.len(), 10_000);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 10_000, "no job went to two");
}

/// As if they had never been leased: no attempt, no crash, and the old place in the order.
pub async fn what_was_leased_in_an_answer_that_was_lost_is_taken_back(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..6).map(job)).await;
    let held = lease(&*store, 2).await;
    let lost = lease(&*store, 2).await;
    let keys = || held.iter().map(|lease| lease.key).collect::<Vec<_>>();
    assert_eq!(store.take_back("somebody else".into(), Vec::new()).await.expect("a call"), 0);
    assert_eq!(store.take_back("suite".into(), keys()).await.expect("a call"), 2);
    assert_eq!(store.take_back("suite".into(), keys()).await.expect("a call"), 0, "the second time there is nothing");
    let again = lease(&*store, 10).await;
    assert_eq!(numbers(&again), [2, 3, 4, 5]);
    for (again, lost) in again.iter().zip(&lost) {
        assert_eq!((again.key.id, again.attempt), (lost.key.id, 1));
        assert!(again.key.fence > lost.key.fence, "the lost lease is no longer current");
        let stored = get(&*store, again.key.id).await;
        assert_eq!((stored.crashes, stored.attempts.len()), (0, 0));
    }
    assert_eq!(settle(&*store, complete(&lost[0])).await, Settled::Lost);
    for held in &held {
        assert_eq!(settle(&*store, complete(held)).await, Settled::Done, "what is held stays so");
    }
}

/// The smaller number first, then the earlier, then the one that came first.
pub async fn priority_then_time_then_arrival_is_the_order(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let at = |second: u64| start() + seconds(second);
    insert(
        &*store,
        [
            job(5).priority(9),
            job(3).priority(5).scheduled_at(at(2)),
            job(2).priority(5).scheduled_at(at(1)),
            job(4).priority(5).scheduled_at(at(2)),
            job(1).priority(0).scheduled_at(at(3)),
        ],
    )
    .await;
    clock.advance(seconds(10));
    assert_eq!(numbers(&lease(&*store, 2).await), [1, 2]);
    assert_eq!(numbers(&lease(&*store, 10).await), [3, 4, 5]);
}

/// Not a moment too early, and the store says how long to wait.
pub async fn a_job_is_not_leased_before_it_is_due(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let past = job(0).scheduled_at(start() - seconds(3600));
    insert(&*store, [past, job(1).scheduled_at(start() + seconds(5)), job(2).scheduled_at(start() + seconds(60))])
        .await;
    assert_eq!(numbers(&lease(&*store, 10).await), [0]);
    clock.advance(Duration::from_millis(4_999));
    let none = store.lease(want(10)).await.expect("lease");
    assert!(none.jobs.is_empty());
    assert_eq!(none.next_due_in, Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    let leased = store.lease(want(10)).await.expect("lease");
    assert_eq!(numbers(&leased.jobs), [1]);
    assert_eq!(leased.next_due_in, Some(seconds(55)));
}

/// And no job of another queue.
pub async fn queues_are_taken_in_the_order_asked_for(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, [job(1).queue("b").priority(0), job(2).queue("a"), job(3).queue("c"), job(4).queue("a")]).await;
    let want = Want { queues: vec!["a".into(), "b".into()], ..want(3) };
    assert_eq!(numbers(&store.lease(want).await.expect("lease").jobs), [2, 4, 1]);
    assert!(lease(&*store, 10).await.is_empty());
}

/// It is a dead letter that says so.
pub async fn an_expired_job_is_never_started(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let ids =
        insert(&*store, [job(1).expires_at(start() + seconds(1)), job(2).expires_at(start() + seconds(10))]).await;
    clock.advance(seconds(2));
    assert_eq!(numbers(&lease(&*store, 10).await), [2]);
    let dead = get(&*store, ids[0]).await;
    assert_eq!((dead.state, dead.attempt), (JobState::Discarded, 0));
    assert!(dead.last_error().is_some_and(|error| error.message.contains("expired")), "{dead:?}");
}

/// Also if it is extended many times.
pub async fn a_lease_that_is_extended_is_not_rescued(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, [job(1)]).await;
    let held = lease_one(&*store).await;
    for _ in 0..5 {
        clock.advance(seconds(20));
        assert_eq!(store.extend(vec![held.key], seconds(30)).await.expect("extend"), [held.key]);
        assert_eq!(store.rescue(10, 3).await.expect("rescue"), Rescued::default());
    }
    assert_eq!(settle(&*store, complete(&held)).await, Settled::Done);
}

/// The next lease has a larger fence.
pub async fn an_expired_lease_is_rescued_and_its_attempt_given_back(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let id = insert(&*store, [job(1)]).await[0];
    let first = lease_one(&*store).await;
    clock.advance(seconds(29));
    assert_eq!(store.rescue(10, 3).await.expect("rescue"), Rescued::default());
    clock.advance(seconds(2));
    assert_eq!(store.rescue(10, 3).await.expect("rescue"), Rescued { available: 1, discarded: 0 });
    let second = lease_one(&*store).await;
    assert_eq!((first.attempt, second.attempt), (1, 1), "a crash is no attempt of the job");
    assert!(second.key.fence > first.key.fence);
    let stale = LeaseKey { fence: Fence(first.key.fence.0), ..second.key };
    assert!(store.extend(vec![stale], seconds(30)).await.expect("extend").is_empty());
    assert_eq!(get(&*store, id).await.crashes, 1);
}

/// A poison job ends; the jobs beside it do not notice.
pub async fn the_third_crash_is_a_dead_letter_and_neighbours_go_on(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let poison = insert(&*store, [job(1).max_attempts(1), job(2)]).await[0];
    for round in 1..=3 {
        let leases = lease(&*store, 1).await;
        assert_eq!(leases[0].key.id, poison);
        clock.advance(seconds(31));
        let rescued = store.rescue(10, 3).await.expect("rescue");
        assert_eq!(rescued.discarded, usize::from(round == 3), "round {round}");
    }
    let dead = get(&*store, poison).await;
    assert_eq!((dead.state, dead.crashes), (JobState::Discarded, 3));
    assert!(dead.last_error().is_some_and(|error| error.message.contains("crashed")), "{dead:?}");
    assert_eq!(numbers(&lease(&*store, 10).await), [2]);
}

/// Who polled `ready` before the insert is told.
pub async fn an_insert_wakes_who_waits(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let queues = [Queue::DEFAULT];
    for n in 0..20 {
        let mut ready = store.ready(&queues);
        let told = std::future::poll_fn(|cx| std::task::Poll::Ready(ready.as_mut().poll(cx).is_ready())).await;
        if !told {
            insert(&*store, [job(n)]).await;
            tokio::time::timeout(seconds(5), ready).await.expect("woken");
        }
    }
}

/// Whoever asked for one more attempt than there are: it becomes a dead letter, and its neighbour is started.
pub async fn a_job_whose_attempts_are_used_up_is_not_started(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let ids = insert(&*store, [job(1).max_attempts(1), job(2)]).await;
    let first = lease_one(&*store).await;
    settle(&*store, end(&first, Status::INTERNAL_ERROR, Settlement::Retry { at: start() })).await;
    assert_eq!(numbers(&lease(&*store, 5).await), [2]);
    let dead = get(&*store, ids[0]).await;
    let why = dead.last_error().map(|error| error.message.clone()).unwrap_or_default();
    assert_eq!((dead.state, dead.attempt), (JobState::Discarded, 1));
    assert!(why.contains("attempt 2 of at most 1"), "{why}");
}
