//! Schedules that could not be kept, and texts that are none.

use std::time::Duration;

use work_core::store::MemoryStore;
use work_core::{CatchUp, Job, LocalWorker, Overlap, QueueWorker, Schedule, Worker};

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

fn every(interval: Duration) -> Schedule {
    Schedule::every(interval).unwrap()
}

#[tokio::test]
async fn a_schedule_that_cannot_be_kept_is_refused() {
    let mut table = Table::of("schedules");
    for (given, shown) in [(0, "0ns"), (1, "1ns"), (999_999, "999.999µs")] {
        let case = Case(50, shown, shown);
        table.refused(case, async { Schedule::every(Duration::from_nanos(given)) }).await;
    }
    for text in ["", "hourly", "every", "every 1h", "every -1s", "every 0s", "every 1s; DROP TABLE jobs", "every ٣s"] {
        let name = format!("{text:?}");
        let shown = if text == "every 0s" {
            "0ns"
        } else if text.contains(';') {
            "jobs"
        } else {
            &name
        };
        table.refused(Case(51, &name, shown), async { text.parse::<Schedule>() }).await;
    }
    let long = "\u{1b}".repeat(100_000);
    table.refused(Case(51, "100,000 escapes", "\\u{1b}"), async { long.parse::<Schedule>() }).await;
    table
        .refused(Case(52, "what is to happen when runs overlap", "\"wait\""), async { "wait".parse::<Overlap>() })
        .await;
    for given in ["all", "all:-1", "all:99999999999"] {
        let shown = format!("{given:?}");
        table.refused(Case(52, &shown, &shown), async { given.parse::<CatchUp>() }).await;
    }
    let worker = QueueWorker::new(MemoryStore::new(), router());
    let kept = worker.schedule("a name", job(), every(Duration::from_secs(1)));
    table.refused(Case(53, "a schedule whose name has a space", "\"a name\""), kept).await;
    let unknown = worker.schedule("name", Job::new("unknown", ()), every(Duration::from_secs(1)));
    table.refused(Case(53, "a schedule of a kind without a handler", "\"unknown\""), unknown).await;
    assert!(worker.store().schedules().await.unwrap().is_empty());
    for seconds in [1, 2] {
        let kept = worker.schedule("name", job(), every(Duration::from_secs(seconds)));
        table.accepted(Case(54, "the same name with other times", "the last one is kept, and no other"), kept).await;
    }
    let schedules = worker.store().schedules().await.unwrap();
    assert_eq!(schedules.iter().map(|kept| kept.schedule.as_str()).collect::<Vec<_>>(), ["every 2s"]);
    table.stays();
}

#[tokio::test(start_paused = true)]
async fn an_interval_longer_than_timers_go_is_performed_once_and_never_again() {
    let mut table = Table::of("intervals");
    let worker = LocalWorker::new(router());
    let years = Duration::from_secs(3 * 366 * 24 * 60 * 60);
    let then = Case(50, "three years", "longer than timers of the runtime go, and performed on time");
    let recurring = table.accepted(then, worker.perform_every(job(), every(years))).await;
    tokio::time::sleep(years + Duration::from_secs(1)).await;
    worker.idle().await;
    assert_eq!(recurring.made(), 2);
    let once = Case(50, "for ever", "performed once");
    let recurring = table.accepted(once, worker.perform_every(job(), every(Duration::MAX))).await;
    tokio::time::sleep(years).await;
    assert_eq!(recurring.made(), 1);
    let ended = tokio::time::timeout(Duration::from_secs(1), recurring.ended()).await;
    assert!(ended.is_err(), "it waits, and has not failed");
    let stored = QueueWorker::new(MemoryStore::new(), router());
    let kept = Case(50, "for ever, on a store", "kept, and never due");
    table.accepted(kept, stored.schedule("never", job(), every(Duration::MAX))).await;
    assert_eq!(stored.store().schedules().await.unwrap().len(), 1);
    table.stays();
}
