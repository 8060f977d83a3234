//! Jobs that end together.

use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use super::runner::becomes;
use super::*;
use crate::store::{CancelOutcome, GROUP_KIND, JobFilter};
use crate::{
    Args, Attempt, Backoff, Classify, Group, GroupStatus, JobState, OutputError, QueueWorker, RetryPolicy, Router,
    Worker,
};

type Log = Arc<Mutex<Vec<GroupStatus>>>;

/// Members that end as their args say, and a callback that is noted.
fn router(log: &Log) -> Router {
    let test = async |Args(n): Args<u32>, Attempt(attempt): Attempt| match n {
        0 => Err("no luck").discard(),
        n if attempt < n => Err("not yet").retryable(),
        _ => Ok(()),
    };
    let log = log.clone();
    let callback = move |status: GroupStatus| {
        let log = log.clone();
        async move { log.lock().expect("log").push(status) }
    };
    Router::new().route("test", test).route("callback", callback)
}

fn worker(store: &Arc<dyn Inspect>, clock: &Clock, log: &Log) -> QueueWorker {
    let at_once = RetryPolicy::default().backoff(Backoff::constant(Duration::ZERO));
    let builder = QueueWorker::builder(store.clone(), router(log)).retry(at_once).clock(clock.clone());
    builder.build().expect("valid settings")
}

/// Workers at work, and time that passes for them and the store.
struct AtWork {
    workers: Vec<QueueWorker>,
    stop: CancellationToken,
    tasks: tokio_util::task::TaskTracker,
}

impl AtWork {
    fn start(workers: Vec<QueueWorker>, clock: &Clock) -> Self {
        let (stop, tasks) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
        for worker in &workers {
            let run = worker.clone().run_until(stop.clone().cancelled_owned());
            tasks.spawn(async { drop(run.await.expect("valid settings")) });
        }
        let (clock, ticking) = (clock.clone(), stop.clone());
        tasks.spawn(async move {
            while !ticking.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                clock.advance(Duration::from_millis(50));
            }
        });
        tasks.close();
        Self { workers, stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn nothing_is_open(store: &dyn Inspect) {
    becomes(async || store.counts(JobFilter::all()).await.expect("counts").open() == 0).await;
}

/// Whatever became of them: completed after retries, discarded, cancelled by somebody else, deleted.
pub async fn a_callback_runs_once_when_all_have_ended(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let log = Log::default();
    let worker = worker(&store, &clock, &log);
    let later = |n: u32| job(n).scheduled_at(start() + seconds(86_400));
    let group = Group::new([job(1), job(3), job(0), later(1), later(1), later(2)]).then(Job::new("callback", ()));
    let handle = worker.perform_group(group.clone()).await.expect("accepted");
    let (id, members) = (handle.id(), handle.members().to_vec());
    let again = worker.perform_group(group).await.expect("accepted before");
    assert_eq!((again.id(), again.members()), (id, &members[..]));
    let status = worker.group(id).await.expect("read").expect("a group");
    assert_eq!((status.total, status.waiting, status.has_ended()), (6, 6, false));
    let at_work = AtWork::start(vec![worker.clone()], &clock);
    becomes(async || {
        let status = worker.group(id).await.expect("read").expect("a group");
        (status.waiting, status.completed, status.discarded) == (3, 2, 1)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(log.lock().expect("log").is_empty(), "three of them wait");
    assert_eq!(store.cancel(vec![members[3]]).await.expect("cancel"), [CancelOutcome::Cancelled]);
    store.delete(vec![members[4]]).await.expect("delete");
    assert!(store.run_now(members[5]).await.expect("run now"));
    let ended = tokio::time::timeout(seconds(60), handle.ended()).await.expect("in time").expect("ended");
    assert_eq!((ended.completed, ended.discarded, ended.cancelled, ended.gone), (3, 1, 1, 1));
    assert!(ended.has_ended() && ended.has_failed());
    nothing_is_open(&*store).await;
    assert_eq!(*log.lock().expect("log"), [ended]);
    // What it says is what the jobs are, also later.
    assert!(store.retry(members[2]).await.expect("retry"));
    nothing_is_open(&*store).await;
    assert_eq!(worker.group(id).await.expect("read"), Some(ended));
    assert_eq!(log.lock().expect("log").len(), 1);
    at_work.stop().await;
}

/// An attempt that did not go well is no end, however long the next one is away.
pub async fn a_callback_waits_for_the_retries_of_a_member(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let log = Log::default();
    let in_an_hour = RetryPolicy::default().backoff(Backoff::constant(seconds(3600)));
    let worker = QueueWorker::builder(store.clone(), router(&log)).retry(in_an_hour).clock(clock.clone());
    let worker = worker.build().expect("valid settings");
    let group = Group::new([job(1), job(2)]).then(Job::new("callback", ()));
    let handle = worker.perform_group(group).await.expect("accepted");
    let (stop, member) = (CancellationToken::new(), handle.members()[1]);
    let running = tokio::spawn(worker.clone().run_until(stop.clone().cancelled_owned()));
    becomes(async || {
        let member = get(&*store, member).await;
        (member.state, member.attempt) == (JobState::Available, 1)
    })
    .await;
    for _ in 0..40 {
        clock.advance(seconds(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(log.lock().expect("log").is_empty(), "one of them is to run again");
    clock.advance(seconds(3600));
    // What watches over the group looks again when some time has passed.
    let (mut ended, mut waiting) = (None, std::pin::pin!(handle.ended()));
    for _ in 0..600 {
        clock.advance(seconds(1));
        ended = tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await.ok();
        if ended.is_some() {
            break;
        }
    }
    let ended = ended.expect("in time").expect("ended");
    assert_eq!((ended.total, ended.completed), (2, 2));
    nothing_is_open(&*store).await;
    assert_eq!(*log.lock().expect("log"), [ended]);
    stop.cancel();
    running.await.expect("no panic").expect("valid settings");
}

/// And one without a callback just ends.
pub async fn the_callback_of_an_empty_group_runs_at_once(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let log = Log::default();
    let at_work = AtWork::start(vec![worker(&store, &clock, &log)], &clock);
    let worker = &at_work.workers[0];
    let handle = worker.perform_group(Group::new([]).then(Job::new("callback", ()))).await.expect("accepted");
    let ended = tokio::time::timeout(seconds(60), handle.ended()).await.expect("in time").expect("ended");
    assert_eq!((ended.total, ended.has_ended(), ended.has_failed()), (0, true, false));
    nothing_is_open(&*store).await;
    assert_eq!(*log.lock().expect("log"), [ended]);
    let silent = worker.perform_group(Group::new([job(1)])).await.expect("accepted");
    let ended = tokio::time::timeout(seconds(60), silent.ended()).await.expect("in time").expect("ended");
    assert_eq!((ended.total, ended.completed), (1, 1));
    assert_eq!(worker.group(JobId::new()).await.expect("read"), None);
    assert_eq!(log.lock().expect("log").len(), 1);
    at_work.stop().await;
}

/// And the reason is named.
pub async fn a_group_is_accepted_whole_or_not_at_all(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let worker = worker(&store, &clock, &Log::default());
    let keyed = job(1).unique(crate::Unique::new("k"));
    let large = Job::new("test", "x".repeat(DEFAULT_MAX_ARGS));
    for (refused, why) in [
        (Group::new([job(1), Job::new("nobody", ())]), "nobody"),
        (Group::new([job(1)]).then(Job::new("nobody", ())), "nobody"),
        (Group::new([job(1), keyed]), "unique key"),
        (Group::new([job(1), large]), "1048576"),
        (Group::new((0..10_001).map(job)), "at most 10000 jobs"),
    ] {
        let error = worker.perform_group(refused).await.expect_err("refused").to_string();
        assert!(error.contains(why), "{error} lacks {why}");
    }
    assert_eq!(store.counts(JobFilter::all()).await.expect("counts").total(), 0);
    // Somebody who cancels the group's own id does without the callback.
    let handle = worker.perform_group(Group::new([job(1)]).then(Job::new("callback", ()))).await.expect("accepted");
    assert!(worker.cancel(handle.id()).await.expect("cancel"));
    assert!(matches!(handle.ended().await, Err(OutputError::Failed { status: Status::CANCELLED, .. })));
}

/// Those of a member make a dead letter of it, those of what watches over the group do not.
pub async fn a_group_outlives_the_crashes_of_its_workers(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let log = Log::default();
    let worker = worker(&store, &clock, &log);
    let group = Group::new([job(1)]).then(Job::new("callback", ()));
    let handle = worker.perform_group(group).await.expect("accepted");
    let watch = handle.id();
    for _ in 0..5 {
        lease(&*store, 10).await;
        clock.advance(seconds(31));
        store.rescue(10, 3).await.expect("rescue");
    }
    assert_eq!(get(&*store, handle.members()[0]).await.state, JobState::Discarded);
    let kept = get(&*store, watch).await;
    assert_eq!((kept.state, kept.job.parts.kind.as_str()), (JobState::Available, GROUP_KIND));
    let at_work = AtWork::start(vec![worker], &clock);
    let ended = tokio::time::timeout(seconds(60), handle.ended()).await.expect("in time").expect("ended");
    assert_eq!((ended.discarded, ended.has_failed()), (1, true));
    nothing_is_open(&*store).await;
    assert_eq!(*log.lock().expect("log"), [ended]);
    at_work.stop().await;
}

/// With several workers, and members that are cancelled while they wait or run.
pub async fn each_of_many_groups_calls_back_once(make: &impl MakeStore) {
    const GROUPS: usize = 30;
    const MEMBERS: usize = 20;
    let (store, clock) = super::store(make).await;
    let log = Log::default();
    let workers = (0..3).map(|_| worker(&store, &clock, &log)).collect();
    let at_work = AtWork::start(workers, &clock);
    let mut handles = Vec::new();
    for n in 0..GROUPS {
        let members = (0..MEMBERS).map(|m| job(u32::try_from(m % 4).expect("small")));
        let worker = &at_work.workers[n % 3];
        let group = Group::new(members).then(Job::new("callback", ()));
        let handle = worker.perform_group(group).await.expect("accepted");
        store.cancel(vec![handle.members()[MEMBERS - 1]]).await.expect("cancel");
        handles.push(handle);
    }
    let mut ended = Vec::new();
    for handle in handles {
        ended.push(tokio::time::timeout(seconds(60), handle.ended()).await.expect("in time").expect("ended"));
    }
    nothing_is_open(&*store).await;
    let mut called = log.lock().expect("log").clone();
    called.sort_unstable_by_key(|status| status.id);
    ended.sort_unstable_by_key(|status| status.id);
    assert_eq!(called, ended);
    assert!(ended.iter().all(|status| status.completed + status.discarded + status.cancelled == MEMBERS));
    let callbacks = store.counts(JobFilter::all().kind("callback")).await.expect("counts");
    assert_eq!(callbacks.total(), GROUPS as u64);
    at_work.stop().await;
}
