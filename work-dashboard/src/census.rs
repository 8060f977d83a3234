//! How many jobs there are: exactly where that takes few rows, and otherwise counted a part at a time beside the pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use work_core::store::{Counts, Inspect, JobFilter, QueueInfo, Tally};
use work_core::{Clock, JobState, Queue, StoreError};

use crate::count::{ByState, Count};

/// Rows of one part: so many jobs are counted for each look, more of them beside the looks.
const PART: usize = 2_000;

/// The smallest part, if rows are so large that a part takes long.
const LEAST: usize = 100;

/// Entries that are read for the counts of queues.
const ENTRIES: usize = 2_000;

/// Between two parts.
const PAUSE: Duration = Duration::from_secs(1);

/// A part that takes longer is followed by a smaller one, so that counting goes on for a hundredth of the time.
const LONG: Duration = Duration::from_millis(10);

/// Counting ends so long after somebody looked.
const IDLE: Duration = Duration::from_secs(120);

/// What is counted of a store.
pub(crate) struct Census {
    store: Arc<dyn Inspect>,
    clock: Clock,
    walk: Mutex<Walk>,
}

/// From the oldest job to the newest, again and again.
#[derive(Default)]
struct Walk {
    /// True while a task counts.
    goes_on: bool,
    /// When somebody looked last.
    looked: Option<Instant>,
    /// Rows of the next part; 0 before the first.
    rows: usize,
    began: DateTime<Utc>,
    /// What this walk has counted.
    so_far: Tally,
    /// What the one before had counted at its end.
    last: Option<Arc<Whole>>,
}

struct Whole {
    began: DateTime<Utc>,
    queues: BTreeMap<Queue, Counts>,
}

/// The numbers of one look.
pub(crate) struct Numbers {
    pub(crate) counts: ByState,
    pub(crate) queues: Vec<QueueNow>,
    /// Since when the jobs were looked at that numbers with an "about" tell of.
    pub(crate) counted_since: Option<DateTime<Utc>>,
}

/// A queue, with the best that is known of its jobs. Where that is not exact, the counts of its `info` are the same, and
/// its `at_least` names the state.
pub(crate) struct QueueNow {
    pub(crate) info: QueueInfo,
    pub(crate) counts: ByState,
}

impl Census {
    pub(crate) fn new(store: Arc<dyn Inspect>, clock: Clock) -> Self {
        Self { store, clock, walk: Mutex::default() }
    }

    fn walk(&self) -> MutexGuard<'_, Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers now. If there are many jobs, somebody counts them from then on.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Numbers, StoreError> {
        let found = self.store.queues_up_to(ENTRIES).await?;
        let many = {
            let mut walk = self.walk();
            walk.looked = Some(Instant::now());
            walk.goes_on || walk.last.is_some()
        };
        if !many {
            let began = self.clock.now();
            let first = self.store.tally(JobFilter::all(), None, PART).await?;
            if first.next.is_none() {
                return Ok(exactly(found.queues, &first));
            }
            let mut walk = self.walk();
            (walk.began, walk.so_far, walk.rows) = (began, first, PART);
        }
        self.go_on();
        let walk = self.walk();
        let (counted, whole) = match &walk.last {
            Some(last) => (&last.queues, Some(last.began)),
            None => (&walk.so_far.queues, None),
        };
        Ok(merged(found.queues, found.complete, counted, whole))
    }

    fn go_on(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.walk().goes_on, true) {
            tokio::spawn(count(Arc::downgrade(self)));
        }
    }

    /// Counts the next part. False if nobody has looked for long.
    async fn part(&self) -> bool {
        let (after, rows) = {
            let mut walk = self.walk();
            if walk.looked.is_none_or(|at| at.elapsed() > IDLE) {
                // Numbers of long ago tell nobody anything.
                *walk = Walk::default();
                return false;
            }
            if walk.so_far.next.is_none() {
                walk.began = self.clock.now();
            }
            (walk.so_far.next, walk.rows)
        };
        let start = Instant::now();
        // Who looks meanwhile hears that the store does not answer.
        let Ok(part) = self.store.tally(JobFilter::all(), after, rows).await else { return true };
        let mut walk = self.walk();
        walk.rows = if start.elapsed() > LONG { (rows / 2).max(LEAST) } else { (rows * 2).min(PART) };
        if walk.so_far.add(part).is_some() {
            return true;
        }
        let queues = std::mem::take(&mut walk.so_far).queues;
        let few = queues.values().map(Counts::total).sum::<u64>() < PART as u64;
        walk.last = (!few).then(|| Arc::new(Whole { began: walk.began, queues }));
        walk.goes_on = !few;
        !few
    }
}

/// A part a second, as long as there is somebody who may want to know.
async fn count(census: Weak<Census>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(census) = census.upgrade() else { return };
        if !census.part().await {
            return;
        }
    }
}

/// All jobs were counted at once.
fn exactly(queues: Vec<QueueInfo>, all: &Tally) -> Numbers {
    let of = |mut info: QueueInfo| {
        info.counts = all.queues.get(&info.queue).cloned().unwrap_or_default();
        // As the store says it of a queue.
        info.counts.0.remove(&JobState::Completed);
        info.at_least.clear();
        QueueNow { counts: ByState::exactly(&info.counts), info }
    };
    let counts = all.queues.values().map(ByState::exactly).fold(ByState::default(), std::ops::Add::add);
    Numbers { counts, queues: queues.into_iter().map(of).collect(), counted_since: None }
}

/// What was counted now as far as it goes, and otherwise what was counted beside: of all jobs, `whole` says since when, or so
/// far of some.
fn merged(
    found: Vec<QueueInfo>,
    complete: bool,
    counted: &BTreeMap<Queue, Counts>,
    whole: Option<DateTime<Utc>>,
) -> Numbers {
    let rough = |now: u64, then: u64| {
        if whole.is_some() && then > now { Count::About(then) } else { Count::AtLeast(now.max(then)) }
    };
    let mut queues: BTreeMap<Queue, QueueNow> = BTreeMap::new();
    for mut info in found {
        let then = counted.get(&info.queue).cloned().unwrap_or_default();
        let counts = ByState::each(|state| match info.counts.of(state) {
            _ if state == JobState::Completed => Count::default(),
            now if info.at_least.contains(&state) => rough(now, then.of(state)),
            now => Count::Exactly(now),
        });
        for state in info.at_least.clone() {
            info.counts.0.insert(state, counts.state(state).jobs());
        }
        queues.insert(info.queue.clone(), QueueNow { info, counts });
    }
    // Queues that were not reached now.
    for (queue, then) in
        counted.iter().filter(|(queue, _)| !complete && !queues.contains_key(*queue)).collect::<Vec<_>>()
    {
        let mut info = QueueInfo::new(queue.clone());
        info.counts = then.clone();
        info.counts.0.remove(&JobState::Completed);
        info.at_least = info.counts.0.keys().copied().collect();
        let counts = ByState::each(|state| match info.counts.of(state) {
            0 => Count::Exactly(0),
            jobs => rough(0, jobs),
        });
        queues.insert(queue.clone(), QueueNow { info, counts });
    }
    let mut counts = queues.values().map(|queue| queue.counts).fold(ByState::default(), std::ops::Add::add);
    if !complete {
        counts = ByState::each(|state| counts.state(state) + rough(0, 0));
    }
    let completed = counted.values().map(|counts| counts.of(JobState::Completed)).sum();
    counts.completed = if whole.is_some() { Count::About(completed) } else { Count::AtLeast(completed) };
    Numbers { counts, queues: queues.into_values().collect(), counted_since: whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use work_core::Job;
    use work_core::store::{MemoryStore, NewJob};

    fn jobs(count: usize) -> Vec<NewJob> {
        (0..count).map(|_| Job::new("k", ()).into_stored(1 << 20).unwrap()).collect()
    }

    async fn completed_of(census: &Arc<Census>) -> Count {
        census.take().await.unwrap().counts.completed
    }

    async fn complete(store: &dyn Inspect, count: usize) {
        use work_core::store::{Lease, Settle, Settlement, Want};
        let leased = store.lease(Want { limit: count, ..Want::default() }).await.unwrap().jobs;
        let settlement = || Settlement::Complete { output: None };
        let done = |lease: &Lease| Settle {
            key: lease.key,
            status: work_core::Status::SUCCESS,
            settlement: settlement(),
            error: None,
            then: Vec::new(),
        };
        store.settle(leased.iter().map(done).collect()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn few_jobs_are_counted_for_each_look_and_many_a_part_at_a_time_beside_the_looks() {
        let store: Arc<dyn Inspect> = Arc::new(MemoryStore::new());
        let census = Arc::new(Census::new(Arc::clone(&store), Clock::system()));
        for count in 1..4 {
            store.insert(jobs(1)).await.unwrap();
            complete(&*store, 1).await;
            assert_eq!(completed_of(&census).await, Count::Exactly(count));
        }
        store.insert(jobs(10_000)).await.unwrap();
        complete(&*store, 8_000).await;
        assert_eq!(completed_of(&census).await, Count::AtLeast(PART as u64), "the first part");
        tokio::time::sleep(PAUSE + Duration::from_millis(1)).await;
        assert_eq!(completed_of(&census).await, Count::AtLeast(2 * PART as u64), "two of them");
        tokio::time::sleep(PAUSE * 5).await;
        assert_eq!(completed_of(&census).await, Count::About(8_003), "all");
        let numbers = census.take().await.unwrap();
        assert!(numbers.counted_since.is_some());
        assert_eq!(numbers.counts.available, Count::Exactly(2_000), "this store counts what waits in any case");
        // Nobody looks, and counting ends.
        tokio::time::sleep(IDLE * 2).await;
        assert!(!census.walk().goes_on);
        assert_eq!(completed_of(&census).await, Count::AtLeast(PART as u64));
    }

    #[test]
    fn a_number_that_stopped_is_shown_as_what_was_counted_beside_unless_that_is_less() {
        let mut info = QueueInfo::new("mail".into());
        info.counts.0.extend([(JobState::Available, 100), (JobState::Discarded, 7)]);
        info.at_least.insert(JobState::Available);
        let then = |jobs| {
            BTreeMap::from([("mail".into(), Counts([(JobState::Available, jobs), (JobState::Discarded, 9)].into()))])
        };
        let of = |jobs, whole: Option<DateTime<Utc>>| {
            let counts = merged(vec![info.clone()], true, &then(jobs), whole).counts;
            (counts.available, counts.discarded)
        };
        let whole = Some(DateTime::UNIX_EPOCH);
        assert_eq!(of(5_000, whole), (Count::About(5_000), Count::Exactly(7)));
        assert_eq!(of(50, whole), (Count::AtLeast(100), Count::Exactly(7)), "there are more by now");
        assert_eq!(of(500, None), (Count::AtLeast(500), Count::Exactly(7)), "not all was looked at yet");
        let cut = merged(
            vec![info.clone()],
            false,
            &BTreeMap::from([("other".into(), then(3)[&Queue::from("mail")].clone())]),
            whole,
        );
        assert_eq!(cut.queues.len(), 2, "queues that were not reached now are those of the last count");
        assert_eq!(cut.counts.discarded, Count::About(16));
    }
}
