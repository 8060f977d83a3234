//! What keeps a store in order: queues, workers, and what is old.

use super::*;
use crate::JobState;
use crate::store::{Fence, JobFilter, LeaseKey, QueueInfo, Retention, WorkerInfo};

/// Other queues go on, jobs are accepted meanwhile, and who waits is woken.
pub async fn a_paused_queue_is_not_leased_from_until_it_is_resumed(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, [job(1), job(2).queue("other")]).await;
    assert!(store.pause(Queue::DEFAULT).await.expect("pause"));
    assert!(!store.pause(Queue::DEFAULT).await.expect("pause"), "it was paused already");
    insert(&*store, [job(3)]).await;
    let both = || Want { queues: vec![Queue::DEFAULT, "other".into()], ..want(10) };
    let leased = store.lease(both()).await.expect("lease");
    assert_eq!((numbers(&leased.jobs), leased.next_due_in), (vec![2], None));
    let queues = [Queue::DEFAULT];
    let mut ready = store.ready(&queues);
    let told = std::future::poll_fn(|cx| std::task::Poll::Ready(ready.as_mut().poll(cx).is_ready())).await;
    clock.advance(seconds(1));
    assert!(store.resume(Queue::DEFAULT).await.expect("resume"));
    if !told {
        tokio::time::timeout(seconds(5), ready).await.expect("woken");
    }
    assert!(!store.resume(Queue::DEFAULT).await.expect("resume"));
    assert_eq!(numbers(&store.lease(both()).await.expect("lease").jobs), [1, 3]);
    let refused = store.pause("no queue".into()).await.expect_err("a name that no queue has");
    assert!(refused.to_string().contains("U+0020"), "{refused}");
}

/// By name, also one that is empty and paused, or that a worker drains.
pub async fn queues_tell_their_depth_and_their_oldest_job(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let later = job(1).scheduled_at(start() + seconds(500));
    insert(&*store, [job(0), later, job(2).priority(9), job(3).queue("mail").scheduled_at(start() + seconds(70))])
        .await;
    clock.advance(seconds(60));
    insert(&*store, [job(4).priority(0), job(5)]).await;
    let leases = lease(&*store, 2).await;
    settle(&*store, end(&leases[1], Status::BAD_REQUEST, Settlement::Discard)).await;
    store.pause("empty".into()).await.expect("pause");
    store.beat(WorkerInfo { queues: vec!["drained".into()], ..WorkerInfo::new("w") }).await.expect("beat");
    let queues = store.queues().await.expect("queues");
    let names: Vec<_> = queues.iter().map(|info| info.queue.as_str()).collect();
    assert_eq!(names, ["default", "drained", "empty", "mail"]);
    let of = |info: &QueueInfo| JobState::ALL.map(|state| info.counts.of(state));
    assert_eq!(of(&queues[0]), [3, 1, 0, 1, 0], "{queues:?}");
    assert_eq!(of(&queues[3]), [1, 0, 0, 0, 0]);
    assert_eq!(queues[0].oldest_ready_for, Some(seconds(60)), "of the job that was due at the start");
    assert_eq!((queues[3].oldest_ready_for, queues[2].paused_at), (None, Some(start() + seconds(60))));
    assert_eq!((queues[0].paused_at, &queues[1]), (None, &QueueInfo::new("drained".into())));
}

/// And what was not counted says so; where that is enough, all is as without a bound.
pub async fn queues_are_counted_only_as_far_as_asked(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    insert(&*store, (0..60).map(job)).await;
    insert(&*store, (0..3).map(|n| job(n).queue("mail"))).await;
    for lease in lease(&*store, 40).await.iter().take(30) {
        settle(&*store, end(lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    }
    store.pause("empty".into()).await.expect("pause");
    clock.advance(seconds(60));
    let all = store.queues().await.expect("queues");
    let enough = store.queues_up_to(10_000).await.expect("queues");
    assert_eq!((&enough.queues, enough.complete), (&all, true));
    assert_eq!(all.iter().filter(|info| !info.at_least.is_empty()).count(), 0);
    for entries in [1, 4, 16, 32, 64, 100] {
        let some = store.queues_up_to(entries).await.expect("queues");
        for info in &some.queues {
            let whole = all.iter().find(|one| one.queue == info.queue).expect("a queue");
            for state in JobState::ALL {
                let (found, there) = (info.counts.of(state), whole.counts.of(state));
                let least = info.at_least.contains(&state);
                assert!(if least { found <= there } else { found == there || !some.complete }, "{entries}: {info:?}");
            }
            assert_eq!(info.paused_at, whole.paused_at);
            assert!(info.oldest_ready_for == whole.oldest_ready_for || !some.complete, "{entries}: {info:?}");
        }
        assert!(some.queues.len() == all.len() || !some.complete, "{entries}: {some:?}");
    }
}

/// With what they say last, and the store's own times.
pub async fn workers_are_known_as_long_as_they_beat(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let worker = |id: &str, running| WorkerInfo {
        host: "ant".into(),
        pid: 7,
        version: "1.2".into(),
        queues: vec!["b".into(), "a".into()],
        slots: 10,
        running,
        ..WorkerInfo::new(id)
    };
    store.beat(worker("one", 1)).await.expect("beat");
    store.beat(worker("two", 2)).await.expect("beat");
    clock.advance(seconds(45));
    store.beat(worker("two", 3)).await.expect("beat");
    let known = store.workers().await.expect("workers");
    let now = start() + seconds(45);
    let two = WorkerInfo { started_at: start(), last_beat: now, ..worker("two", 3) };
    assert_eq!(known, [WorkerInfo { started_at: start(), last_beat: start(), ..worker("one", 1) }, two.clone()]);
    clock.advance(seconds(16));
    assert_eq!(store.workers().await.expect("workers"), [two], "silent for more than a minute");
    store.leave("two".into()).await.expect("leave");
    store.leave("nobody".into()).await.expect("leave");
    assert!(store.workers().await.expect("workers").is_empty());
}

/// Until it has ended, whatever became of it, or is to run again.
pub async fn a_running_job_that_is_to_stop_is_named(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let ids = insert(&*store, (0..5).map(job)).await;
    let leases = lease(&*store, 4).await;
    assert!(store.stop_requests().await.expect("asked").is_empty());
    let told = store.cancel(ids).await.expect("cancel");
    assert_eq!(told.len(), 5);
    let stops = async || {
        let mut keys: Vec<_> =
            store.stop_requests().await.expect("asked").iter().map(|key| (key.id, key.fence)).collect();
        keys.sort_unstable();
        keys
    };
    let key = |lease: &Lease| (lease.key.id, lease.key.fence);
    assert_eq!(stops().await, leases.iter().map(key).collect::<Vec<_>>(), "not the one that was cancelled at once");
    assert!(get(&*store, leases[0].key.id).await.stopping);
    settle(&*store, end(&leases[0], Status::CANCELLED, Settlement::Cancel)).await;
    settle(&*store, complete(&leases[1])).await;
    settle(&*store, end(&leases[2], Status::BAD_REQUEST, Settlement::Discard)).await;
    assert_eq!(stops().await, [key(&leases[3])]);
    clock.advance(seconds(31));
    store.rescue(10, 3).await.expect("rescue");
    assert!(stops().await.is_empty());
    let ended = get(&*store, leases[3].key.id).await;
    assert_eq!((ended.state, ended.stopping), (JobState::Cancelled, false));
    assert!(store.retry(ended.job.parts.id).await.expect("retry"));
    assert_eq!(lease(&*store, 1).await.len(), 1);
    assert!(stops().await.is_empty(), "it was retried");
}

/// And of no other; a job that waits again has none.
pub async fn the_progress_of_a_current_lease_is_kept(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let ids = insert(&*store, [job(1), job(2)]).await;
    let leases = lease(&*store, 2).await;
    clock.advance(seconds(5));
    let stale = LeaseKey { fence: Fence(77), ..leases[1].key };
    store.set_progress(vec![(leases[0].key, 0.25), (stale, 0.5)]).await.expect("progress");
    let progress = async |id| {
        let stored = get(&*store, id).await;
        (stored.progress, stored.progress_at)
    };
    assert_eq!(progress(ids[0]).await, (Some(0.25), Some(start() + seconds(5))));
    assert_eq!(progress(ids[1]).await, (None, None));
    let stored = get(&*store, ids[0]).await;
    assert_eq!((stored.worker.as_deref(), stored.lease_until), (Some("suite"), Some(start() + seconds(30))));
    settle(&*store, end(&leases[0], Status::INTERNAL_ERROR, Settlement::Retry { at: start() })).await;
    assert_eq!(progress(ids[0]).await, (None, None));
    assert_eq!(get(&*store, ids[0]).await.lease_until, None);
    store.set_progress(Vec::new()).await.expect("nothing");
}

/// Each state by its own time, and no more at once than was asked for.
pub async fn jobs_that_ended_long_ago_are_forgotten(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let mut ids = insert(&*store, (0..40).map(|n| job(n).tag("t"))).await;
    let leases = lease(&*store, 35).await;
    for (n, lease) in leases.iter().enumerate() {
        let done = match n {
            0..10 => complete(lease),
            10..20 => end(lease, Status::BAD_REQUEST, Settlement::Discard),
            20..30 => end(lease, Status::CANCELLED, Settlement::Cancel),
            _ => continue,
        };
        assert_eq!(settle(&*store, done).await, Settled::Done);
    }
    let day = 24 * 3600;
    let prune = async |limit| store.prune(Retention::default(), limit).await.expect("prune");
    let of = async |state| store.counts(JobFilter::all().state(state)).await.expect("counts").total();
    clock.advance(seconds(day));
    assert_eq!(prune(100).await, 0, "a day is not over");
    clock.advance(seconds(1));
    ids.extend(insert(&*store, [job(50)]).await);
    assert_eq!((prune(7).await, prune(7).await, prune(7).await, prune(7).await), (7, 7, 6, 0));
    let left = [of(JobState::Completed).await, of(JobState::Discarded).await, of(JobState::Cancelled).await];
    assert_eq!(left, [0, 10, 0]);
    assert!(store.get(ids[3]).await.expect("get").is_none());
    assert_eq!(store.prune(Retention::FOREVER, 100).await.expect("prune"), 0);
    assert_eq!(store.prune(Retention::FOREVER.discarded(Duration::ZERO), 4).await.expect("prune"), 4);
    clock.advance(seconds(6 * day));
    assert_eq!((prune(100).await, prune(100).await), (6, 0));
    let left = store.counts(JobFilter::all()).await.expect("counts");
    assert_eq!((left.of(JobState::Running), left.of(JobState::Available), left.total()), (5, 6, 11));
}

/// However old they are, until they are released; and no other queue is meant.
pub async fn jobs_of_queues_that_are_kept_are_not_forgotten(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    for queue in ["flow.run.a", "flow.run.b", "flow.runs", "other"] {
        insert(&*store, (0..3).map(|n| job(n).queue(queue))).await;
        let leased = store.lease(Want { queues: vec![queue.into()], ..want(3) }).await.expect("lease").jobs;
        settle(&*store, complete(&leased[0])).await;
        settle(&*store, end(&leased[1], Status::BAD_REQUEST, Settlement::Discard)).await;
        settle(&*store, end(&leased[2], Status::CANCELLED, Settlement::Cancel)).await;
    }
    assert!(store.keep_queues("flow.run.".into()).await.expect("kept"));
    assert!(!store.keep_queues("flow.run.".into()).await.expect("kept"), "it was");
    assert!(store.keep_queues("no queue".into()).await.is_err());
    clock.advance(seconds(30 * 24 * 3600));
    let prune = async || store.prune(Retention::default(), 100).await.expect("prune");
    assert_eq!((prune().await, prune().await), (6, 0));
    assert!(store.release_queues("flow.run.".into()).await.expect("released"));
    assert!(!store.release_queues("flow.run.".into()).await.expect("released"));
    assert_eq!((prune().await, prune().await), (6, 0));
}

/// The request stays with the job until it ends, also if the attempt that was asked ended as it liked.
pub async fn a_job_that_is_to_stop_is_asked_again_when_it_runs_again(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let id = insert(&*store, [job(1)]).await[0];
    let first = lease_one(&*store).await;
    store.cancel(vec![id]).await.expect("cancel");
    settle(&*store, end(&first, Status::INTERNAL_ERROR, Settlement::Retry { at: start() })).await;
    assert!(!get(&*store, id).await.stopping, "it waits");
    assert!(store.stop_requests().await.expect("stops").is_empty());
    let second = lease_one(&*store).await;
    assert!(get(&*store, id).await.stopping);
    assert_eq!(store.stop_requests().await.expect("stops"), [second.key]);
    assert!(store.extend(vec![second.key], seconds(9)).await.expect("extend").is_empty());
    settle(&*store, end(&second, Status::CANCELLED, Settlement::Cancel)).await;
    assert!(store.retry(id).await.expect("retry"));
    lease_one(&*store).await;
    assert!(store.stop_requests().await.expect("stops").is_empty(), "an operator wants it again");
}

/// As every job that is made available again.
pub async fn a_job_that_is_retried_has_no_progress(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let id = insert(&*store, [job(1)]).await[0];
    let lease = lease_one(&*store).await;
    store.set_progress(vec![(lease.key, 0.5)]).await.expect("progress");
    settle(&*store, end(&lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    assert!(store.retry(id).await.expect("retry"));
    let again = get(&*store, id).await;
    assert_eq!((again.progress, again.progress_at), (None, None));
}
