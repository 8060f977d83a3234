//! Handlers that take their process down, by an abort and by a stack that overflows: the third time, the job is a dead letter that
//! says so, and its neighbours go on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::Path;
use std::time::{Duration, Instant};

use work_core::store::JobFilter;
use work_core::{JobState, Worker};
use work_tests::fleet::{At, Crew, Orders, task};

const LEASE: Duration = Duration::from_millis(1_000);

/// Jobs that have nothing to do with it.
const NEIGHBOURS: usize = 600;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_handler_that_takes_its_process_down_three_times_is_a_dead_letter_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    bring_down(dir.path(), &At::sqlite(dir.path()));
}

#[test]
fn a_handler_that_takes_its_process_down_three_times_is_a_dead_letter_on_postgres() {
    let dir = tempfile::tempdir().unwrap();
    if let Some(at) = At::postgres() {
        bring_down(dir.path(), &at);
    }
}

fn bring_down(dir: &Path, at: &At) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for kind in ["aborts", "overflows"] {
            let dir = dir.join(kind);
            std::fs::create_dir(&dir).unwrap();
            bring_down_by(kind, &dir, at.another(&dir)).await;
        }
    });
}

async fn bring_down_by(kind: &'static str, dir: &Path, at: At) {
    let orders = Orders {
        at,
        history: dir.join("history"),
        lease_for: LEASE,
        grace: Duration::from_secs(5),
        concurrency: 8,
        schedules: Vec::new(),
        makes: None,
        limits: Vec::new(),
    };
    let crew = Crew::new(env!("CARGO_BIN_EXE_fleet_worker"), orders);
    let producer = crew.producer().await;
    // Those that crash beside it are done long before, the next time: else they would count three crashes as well.
    let bad = producer.perform(task(kind, 700)).await.unwrap().id();
    producer.perform_many((0..NEIGHBOURS).map(|_| task("plain", 20))).await.unwrap();
    let store = producer.store();
    let (start, mut deaths, mut member) = (Instant::now(), 0, crew.start());
    while store.counts(JobFilter::all()).await.unwrap().open() > 0 {
        assert!(start.elapsed() < LIMIT, "it does not end:\n{}", crew.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
        member = crew.bury(member).unwrap_or_else(|| {
            deaths += 1;
            crew.start()
        });
    }
    member.stop();
    let stored = store.get(bad).await.unwrap().unwrap();
    assert_eq!((deaths, stored.state, stored.crashes), (3, JobState::Discarded, 3), "{kind}");
    let said = stored.last_error().map(|error| error.message.clone()).unwrap_or_default();
    assert!(said.contains("crashed"), "{kind}: {said:?}");
    let (_, report) = crew.check(store).await;
    println!("{kind}: {said:?}\n{report}");
    assert!(report.is_clean());
    assert_eq!((report.completed, report.discarded), (NEIGHBOURS, 1));
}
