//! Settings that could not be kept.

use std::time::Duration;

use work_core::limit::{Aimd, FixedWindow, Gcra, Rate, SlidingWindow};
use work_core::runner::{Queues, Ramp};
use work_core::store::MemoryStore;
use work_core::{
    ConcurrentJob, Job, LocalWorker, LocalWorkerBuilder, OverflowWorker, QueueWorker, QueueWorkerBuilder, Status,
};

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

fn stored() -> QueueWorkerBuilder {
    QueueWorker::builder(MemoryStore::new(), router())
}

fn local() -> LocalWorkerBuilder {
    LocalWorker::builder(router())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_worker_that_could_not_work_is_not_made() {
    let mut table = Table::of("workers");
    for (given, shown) in [(0, "concurrency 0"), (usize::MAX, "concurrency 18446744073709551615")] {
        table.refused(Case(38, "jobs at once, in memory", shown), async { local().concurrency(given).build() }).await;
        table.refused(Case(38, "jobs at once, of a store", shown), async { stored().concurrency(given).build() }).await;
    }
    for (given, shown) in [(0, "capacity 0"), (usize::MAX, "capacity 18446744073709551615")] {
        table.refused(Case(38, "capacity", shown), async { local().capacity(given).build() }).await;
    }
    let overflow = OverflowWorker::builder(MemoryStore::new(), router()).concurrency(5).capacity(4);
    table.refused(Case(38, "less room than slots", "capacity 4"), async { overflow.build() }).await;
    for (given, shown) in
        [(Duration::ZERO, "0ns"), (Duration::from_millis(99), "99ms"), (Duration::MAX, "lease_for 18446")]
    {
        table.refused(Case(39, "a lease", shown), async { stored().lease_for(given).build() }).await;
    }
    for (given, shown) in [(Duration::ZERO, "0ns"), (Duration::MAX, "aging 18446744073709551615")] {
        table.refused(Case(39, "aging", shown), async { stored().aging(given).build() }).await;
    }
    let output = async { stored().max_output(usize::MAX).build() };
    table.refused(Case(39, "an output without an end", "max_output 18446744073709551615"), output).await;
    table.refused(Case(39, "no time between starts", "0ns"), async { Ramp::new(Duration::ZERO) }).await;
    let endless = stored().grace(Duration::MAX).max_crashes(u32::MAX).build();
    table.accepted(Case(39, "a grace without an end, and crashes", "what runs is waited for"), async { endless }).await;
    table.stays();
}

#[tokio::test]
async fn queues_that_could_not_be_drained_are_refused() {
    let mut table = Table::of("queues");
    let queues = |queues: Queues| async move { stored().queues(queues).build() };
    let none = Vec::<&str>::new();
    table.refused(Case(40, "no queues", "no queues"), queues(Queues::strict(none))).await;
    table.refused_for_good(Case(40, "a queue twice", "`a`"), queues(Queues::strict(["a", "a"]))).await;
    table.refused(Case(40, "a queue with a space", "\"a b\""), queues(Queues::strict(["a b"]))).await;
    table.refused(Case(40, "a weight of 0", "weight 0"), queues(Queues::weighted([("a", 0)]))).await;
    let weight = queues(Queues::weighted([("a", u32::MAX)]));
    table.refused(Case(40, "the largest weight there is", "weight 4294967295"), weight).await;
    table.refused(Case(40, "no job of a queue", "at most 0"), queues(Queues::strict(["a"]).at_most("a", 0))).await;
    let other = queues(Queues::strict(["a"]).at_most("b", 1));
    table.refused_for_good(Case(40, "a limit for a queue that is not drained", "`b`"), other).await;
    table.stays();
}

#[tokio::test]
async fn limits_that_would_let_nothing_pass_are_refused() {
    let mut table = Table::of("limits");
    table.refused(Case(41, "none in a window", "count 0"), async { FixedWindow::new(0, SECOND) }).await;
    table.refused(Case(41, "a window of no time", "0ns"), async { SlidingWindow::new(5, Duration::ZERO) }).await;
    table.refused(Case(41, "a window without an end", "per 18446"), async { Gcra::new(5, Duration::MAX) }).await;
    table.refused(Case(41, "no burst", "burst 0"), async { Gcra::new(5, SECOND)?.burst(0) }).await;
    table.refused(Case(41, "none of a queue", "count 0"), async { Rate::even(0, SECOND) }).await;
    for (given, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (0.0, "start 0"), (-1.0, "-1")] {
        table.refused(Case(41, "a rate to start with", shown), async { Aimd::new(given, 1.0, 2.0) }).await;
    }
    table.refused(Case(41, "more at least than at most", "min 3"), async { Aimd::new(3.0, 3.0, 2.0) }).await;
    let decrease = async { Aimd::new(1.0, 1.0, 2.0)?.decrease(f64::NAN) };
    table.refused(Case(41, "a factor that is none", "NaN"), decrease).await;
    table.stays();
}

#[tokio::test]
async fn concurrent_jobs_that_could_not_run_are_not_started() {
    let mut table = Table::of("concurrent_jobs");
    let worker = LocalWorker::new(router());
    let once = || ConcurrentJob::once(&worker, job());
    table.refused(Case(42, "no workers", "max_workers 0"), async { once().max_workers(0).start() }).await;
    let all = async { once().max_workers(usize::MAX).start() };
    table.refused(Case(42, "all the workers there can be", "max_workers 18446744073709551615"), all).await;
    let burst = async { once().start_interval(Duration::ZERO).start() };
    table.refused(Case(42, "no time between starts", "0ns"), burst).await;
    let every = async { ConcurrentJob::every(&worker, job(), Duration::ZERO).start() };
    table.refused(Case(42, "no time between runs", "0ns"), every).await;
    let unknown = async { ConcurrentJob::every(&worker, Job::new("unknown", ()), SECOND).start() };
    table.refused(Case(42, "a kind without a handler", "\"unknown\""), unknown).await;
    let none = futures_util::stream::empty::<()>();
    let received = async { ConcurrentJob::receive(&worker, "unknown", none).start() };
    table.refused(Case(42, "items of a kind without a handler", "\"unknown\""), received).await;
    assert_eq!(worker.counts().submitted, 0);
    table.stays();
}

#[tokio::test]
async fn a_status_has_three_digits() {
    let mut table = Table::of("statuses");
    for (given, shown) in [(0, "0"), (99, "99"), (1_000, "1000"), (u16::MAX, "65535")] {
        table.refused(Case(43, shown, shown), async { Status::new(given) }).await;
    }
    table.stays();
}
