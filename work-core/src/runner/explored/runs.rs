//! A run from its leases to its report: each job is settled once or given back, whatever the store answers and whenever the
//! runner is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};

use super::board::Board;
use super::execute::{Item, Leases};
use super::pool::Pool;
use super::sync::{CancellationToken, point};
use super::{explore, settle, wind_down};
use crate::store::{
    BoxFuture, Inserted, Inspect, JobFilter, LeaseKey, Leased, MemoryStore, NewJob, Settle, Settled, Store, Want,
};
use crate::{Attempt, Job, JobState, Queue, Router, Status, StoreError};

const JOBS: usize = 4;

/// Fails a few times, before or after it has done what it was asked.
struct Flaky {
    inner: MemoryStore,
    failures: AtomicUsize,
}

impl Flaky {
    fn fails(&self) -> bool {
        let fails = thread_rng().gen_bool(0.4);
        fails && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl Store for Flaky {
    crate::forward_upkeep!(self => self.inner);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.inner.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.inner.lease(want)
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.inner.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move {
            yield_now().await;
            if self.fails() {
                return Err(StoreError::rejected("away", "by lot"));
            }
            let answers = self.inner.settle(done).await?;
            yield_now().await;
            if self.fails() { Err(StoreError::unknown("no answer", "by lot")) } else { Ok(answers) }
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.inner.ready(queues)
    }
}

/// Takes a few steps, and ends in one way or another.
async fn handler(Attempt(_): Attempt) -> Status {
    let (steps, status) = (thread_rng().gen_range(0..6), [Status::SUCCESS, Status::UNAVAILABLE, Status::BAD_REQUEST]);
    for _ in 0..steps {
        yield_now().await;
    }
    status[thread_rng().gen_range(0..3)]
}

fn insert_and_lease(store: &MemoryStore) -> Leased {
    let jobs = (0..JOBS).map(|n| Job::new("step", n).into_stored(64).expect("valid")).collect();
    store.insert(jobs).now_or_never().expect("at once").expect("stored");
    let (queues, at_most) = (vec![Queue::DEFAULT], vec![JOBS]);
    let lease_for = Duration::from_secs(3_600);
    let want = Want { queues, at_most, limit: JOBS, lease_for, worker: "one".into(), aging: None };
    store.lease(want).now_or_never().expect("at once").expect("leased")
}

/// Does now and then what the thread that keeps leases does: some are extended, some are not, some are overdue.
async fn keep(board: Arc<Board>) {
    for _ in 0..thread_rng().gen_range(0..3) {
        yield_now().await;
        let (tried, asked) = (board.held(), tokio::time::Instant::now());
        match thread_rng().gen_range(0..3) {
            0 => board.stop(&tried[..tried.len() / 2]),
            1 => board.stop_overdue(Duration::from_secs(7_200)),
            _ => board.extended(&tried, &tried[tried.len() / 2..], asked),
        }
    }
}

fn run() {
    let inner = MemoryStore::new();
    let leased = insert_and_lease(&inner);
    let store = Arc::new(Flaky { inner: inner.clone(), failures: AtomicUsize::new(3) });
    let runner = crate::runner::Runner::new(store.clone(), Router::new().route("step", handler));
    let board = Arc::new(Board::new(store, runner.settings.clone(), Arc::default(), Arc::default(), None));
    let pool = Pool::new(Leases::new(board.clone(), runner.routes), (), 2);
    let hurry = CancellationToken::new();
    let board = block_on(async {
        let settler = spawn(settle::run(board.clone()));
        let items: Vec<Item> = leased.jobs.into_iter().map(|lease| Item::new(lease, 1_024, None)).collect();
        board.hold(items.iter().map(Item::held), tokio::time::Instant::now());
        pool.submit_all(|()| items);
        let keeper = spawn(keep(board.clone()));
        for _ in 0..thread_rng().gen_range(0..10) {
            yield_now().await;
        }
        point();
        wind_down::run(&board, &pool, &hurry).await;
        keeper.await.expect("what keeps leases");
        board.closed.cancel();
        settler.await.expect("the loop that settles");
        board
    });
    assert!(!board.holds_any(), "a lease is still held");
    assert_eq!(board.backlog(), 0, "an end is still on the board");
    let counts = inner.counts(JobFilter::all()).now_or_never().expect("at once").expect("counted");
    assert_eq!(counts.of(JobState::Running), 0, "nobody has it, and it runs: {counts:?}");
    assert_eq!(counts.total(), JOBS as u64);
}

#[test]
fn each_job_of_a_runner_that_stops_is_settled_or_given_back_in_any_order_of_steps() {
    explore("runs", 1_500, run);
}
