use std::ops::Bound;

use chrono::{DateTime, Utc};
use work_core::store::{Change, Inspect, JobFilter, MemoryStore, Order, Store, TimeRange};
use work_core::testing::fuzz::{Fuzz, Random};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState};

fn instant(random: &mut Random) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(random.number()).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn range(random: &mut Random) -> TimeRange {
    let mut bound = || match random.below(4) {
        0 => Bound::Included(instant(random)),
        1 => Bound::Excluded(instant(random)),
        _ => Bound::Unbounded,
    };
    TimeRange { from: bound(), to: bound() }
}

fn filter(random: &mut Random) -> JobFilter {
    let mut filter = JobFilter::all();
    if random.once_in(4) {
        filter = filter.queue(random.text(&["mail", "default"])).kind(random.text(&["a", "b"]));
    }
    if random.once_in(4) {
        filter = filter.state(*random.pick(&JobState::ALL)).tag(random.text(&["t"]));
    }
    if random.once_in(3) {
        filter = filter.args(&random.text(&["id", "user.id"]), random.json(3));
    }
    if random.once_in(3) {
        filter = filter.error_contains(random.text(&["refused"]));
    }
    (filter.created, filter.due, filter.finished) = (range(random), range(random), range(random));
    filter
}

/// The rows of a page are those after any cursor, and what comes next goes on there.
#[tokio::test]
async fn any_filter_and_any_cursor_give_pages() {
    let store = MemoryStore::new();
    let jobs = (0..20).map(|n| Job::new(if n % 2 == 0 { "a" } else { "b" }, n).into_stored(DEFAULT_MAX_ARGS).unwrap());
    store.insert(jobs.collect()).await.unwrap();
    let mut fuzz = Fuzz::new("pages");
    while let Some(mut random) = fuzz.next_case() {
        let (filter, after, limit) = (filter(&mut random), random.number(), random.below(30));
        let order = *random.pick(&[Order::OldestFirst, Order::NewestFirst]);
        let page = store.list(filter.clone(), order, Some(after), limit).await.unwrap();
        assert!(page.jobs.len() <= limit.max(1), "case {}", fuzz.case());
        let counts = store.counts(filter.clone()).await.unwrap();
        assert!(counts.total() as usize >= page.jobs.len(), "case {}", fuzz.case());
        store.change_all(*random.pick(&[Change::Retry]), filter, limit).await.unwrap();
    }
}
