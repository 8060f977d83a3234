//! The numbers of the overview. Read at most every two seconds, however many people look.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::time::Instant;
use work_core::JobState;
use work_core::store::{JobFilter, Order, StoredJob};

use crate::census::{Numbers, QueueNow};
use crate::count::{ByState, Count};
use crate::dashboard::App;
use crate::failure::Failure;

/// How long numbers are shown before they are read again.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// Jobs that throughput and times are taken from.
pub(crate) const SAMPLE: usize = 1000;

/// Bars of a chart.
const BARS: usize = 48;

/// The longest time that the chart covers.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// What was read last.
pub(crate) struct Cached {
    at: Instant,
    snapshot: Arc<Snapshot>,
}

/// The store at a glance.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    pub(crate) at: DateTime<Utc>,
    /// Jobs by state.
    pub(crate) counts: ByState,
    /// Since when jobs were counted where a number is not exact, if all of them have been.
    pub(crate) counted_since: Option<DateTime<Utc>>,
    /// How many there are.
    #[serde(rename = "queues", serialize_with = "number_of")]
    pub(crate) queues: Vec<QueueNow>,
    pub(crate) paused: Vec<String>,
    /// Seconds that the job that has been due longest waits already, and its queue.
    pub(crate) oldest_ready: Option<OldestReady>,
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) busy: usize,
    /// The jobs that ended lately.
    pub(crate) lately: Lately,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct OldestReady {
    pub(crate) queue: String,
    pub(crate) seconds: u64,
}

fn number_of<S: serde::Serializer>(queues: &[QueueNow], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(queues.len() as u64)
}

/// What became of the newest jobs that ended in the last hour, at most [`SAMPLE`].
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Lately {
    /// How many they are.
    pub(crate) jobs: usize,
    /// Of these, how many ended well.
    pub(crate) completed: usize,
    /// And how many are dead letters.
    pub(crate) discarded: usize,
    /// Where the time starts that they cover.
    pub(crate) from: Option<DateTime<Utc>>,
    /// When the last of them ended.
    #[serde(skip)]
    pub(crate) to: Option<DateTime<Utc>>,
    /// Jobs a second in that time.
    pub(crate) per_second: f64,
    /// Milliseconds from when a job was due until it ended: of half of them, 95 %, 99 %.
    pub(crate) p50_ms: i64,
    pub(crate) p95_ms: i64,
    pub(crate) p99_ms: i64,
    /// Seconds that each bar covers.
    pub(crate) bar_seconds: f64,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    pub(crate) completed: u32,
    pub(crate) discarded: u32,
    pub(crate) other: u32,
}

impl Snapshot {
    /// What is equal as long as nothing changed that a page shows.
    pub(crate) fn version(&self) -> String {
        let ByState { available, running, completed, discarded, cancelled } = self.counts;
        let [available, running, completed, discarded, cancelled] =
            [available, running, completed, discarded, cancelled].map(Count::jobs);
        // Where there are many, their number may be an old one.
        let newest = self.lately.to.map_or(0, |at| at.timestamp_millis());
        let states = format!("{available}.{running}.{completed}.{discarded}.{cancelled}");
        // What runs has a progress, which is not among these numbers.
        let moves = if running > 0 { self.at.timestamp() } else { 0 };
        let queues = self.queues.len();
        format!("{states}.{newest}.{moves}.{}.{}.{queues}.{}", self.workers, self.busy, self.paused.len())
    }
}

/// The numbers, two seconds old at most. Whoever comes while they are read waits for them.
pub(crate) async fn snapshot(app: &App) -> Result<Arc<Snapshot>, Failure> {
    let mut cached = app.cached.lock().await;
    if let Some(cached) = cached.as_ref().filter(|cached| cached.at.elapsed() < FRESH) {
        return Ok(Arc::clone(&cached.snapshot));
    }
    let snapshot = Arc::new(read(app).await?);
    *cached = Some(Cached { at: Instant::now(), snapshot: Arc::clone(&snapshot) });
    Ok(snapshot)
}

/// Lets the next look see what was just done.
pub(crate) async fn forget(app: &App) {
    *app.groups.lock().await = None;
    *app.cached.lock().await = None;
}

async fn read(app: &App) -> Result<Snapshot, Failure> {
    let now = app.clock.now();
    let Numbers { counts, queues, counted_since } = app.census.take().await?;
    let workers = app.store.workers().await?;
    let ended = [JobState::Completed, JobState::Discarded, JobState::Cancelled].into_iter();
    let ended = ended.fold(JobFilter::all().finished(now - WINDOW..), JobFilter::state);
    let page = app.store.list(ended, Order::NewestFirst, None, SAMPLE).await?;
    let infos = || queues.iter().map(|queue| &queue.info);
    let oldest = infos().filter_map(|queue| Some((queue.oldest_ready_for?, queue.queue.as_str())));
    Ok(Snapshot {
        at: now,
        counts,
        counted_since,
        paused: infos().filter(|queue| queue.paused_at.is_some()).map(|queue| queue.queue.to_string()).collect(),
        oldest_ready: oldest
            .max()
            .map(|(wait, queue)| OldestReady { queue: queue.to_owned(), seconds: wait.as_secs() }),
        workers: workers.len(),
        slots: workers.iter().map(|worker| worker.slots).sum(),
        busy: workers.iter().map(|worker| worker.running.min(worker.slots)).sum(),
        lately: lately(&page.jobs, page.next.is_some(), now),
        queues,
    })
}

fn lately(jobs: &[StoredJob], more: bool, now: DateTime<Utc>) -> Lately {
    let ended: Vec<_> = jobs.iter().filter_map(|job| Some((job.finished_at?, job))).collect();
    let Some(first) = ended.iter().map(|(at, _)| *at).min() else { return Lately::default() };
    // If there are more, what is before the first of these is not known.
    let from = if more { first } else { first.min(now - TimeDelta::minutes(1)) };
    let span = (now - from).num_milliseconds().max(1000);
    let mut bars = vec![Bar::default(); BARS];
    let mut times = Vec::with_capacity(ended.len());
    for (at, job) in &ended {
        let place = (*at - from).num_milliseconds().max(0) * BARS as i64 / span;
        let place = usize::try_from(place).unwrap_or_default().min(BARS - 1);
        let bar = &mut bars[place];
        match job.state {
            JobState::Completed => bar.completed += 1,
            JobState::Discarded => bar.discarded += 1,
            _ => bar.other += 1,
        }
        if job.state == JobState::Completed {
            let due = job.job.parts.scheduled_at.unwrap_or(job.created_at).max(job.created_at);
            times.push((*at - due).num_milliseconds().max(0));
        }
    }
    times.sort_unstable();
    let of = |state| ended.iter().filter(|(_, job)| job.state == state).count();
    Lately {
        jobs: ended.len(),
        completed: of(JobState::Completed),
        discarded: of(JobState::Discarded),
        from: Some(from),
        to: ended.iter().map(|(at, _)| *at).max(),
        per_second: ended.len() as f64 * 1000.0 / span as f64,
        p50_ms: percentile(&times, 50),
        p95_ms: percentile(&times, 95),
        p99_ms: percentile(&times, 99),
        bar_seconds: span as f64 / 1000.0 / BARS as f64,
        bars,
    }
}

fn percentile(sorted: &[i64], percent: usize) -> i64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}
