use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use work_core::JobState;
use work_core::store::{Inspect, JobFilter, StoredJob};

use crate::report::Summary;
use crate::run::Run;

/// How long the store may refuse every write before the command gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows how far the run is, on stderr, until its report is there.
pub(crate) async fn until_reported(run: &Run) -> anyhow::Result<Summary> {
    let (start, mut shown) = (Instant::now(), Instant::now());
    let display = Display::new();
    loop {
        if let Some(report) = reported(run).await? {
            display.end(&report, start.elapsed());
            return Ok(report);
        }
        if let Some(why) = run.store.failing_for(PATIENCE) {
            bail!("the store takes nothing: {why}; the same command goes on when that is mended");
        }
        if shown.elapsed() >= display.every() {
            shown = Instant::now();
            let filter = JobFilter::all().queue(run.queue());
            let counts = run.store.counts(filter).await?;
            display.show(counts.total() - counts.open(), counts.total());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn reported(run: &Run) -> anyhow::Result<Option<Summary>> {
    match run.store.get(run.plan.report).await? {
        Some(job) if job.state == JobState::Completed => {
            Ok(Some(serde_json::from_slice(&job.output.unwrap_or_default())?))
        }
        Some(job) if job.state.is_terminal() => bail!("the report failed: {}", reason(&job)),
        Some(_) => Ok(None),
        None => walk_failed(run).await.map(|()| None),
    }
}

/// No report will come if the walk ended in any other way than well.
async fn walk_failed(run: &Run) -> anyhow::Result<()> {
    match run.store.get(run.walk).await? {
        Some(walk) if walk.state.is_terminal() && walk.state != JobState::Completed => {
            bail!("the walk failed: {}", reason(&walk))
        }
        _ => Ok(()),
    }
}

fn reason(job: &StoredJob) -> &str {
    job.last_error().map_or("no reason was recorded", |error| &error.message)
}

/// A bar on a terminal, a line now and then elsewhere.
enum Display {
    Bar(ProgressBar),
    Lines,
}

impl Display {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs, {per_sec}, {eta}");
        Self::Bar(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    const fn every(&self) -> Duration {
        match self {
            Self::Bar(_) => Duration::from_millis(200),
            Self::Lines => Duration::from_secs(2),
        }
    }

    fn show(&self, done: u64, all: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(all);
                bar.set_position(done);
            }
            Self::Lines => eprintln!("{done} of {all} jobs"),
        }
    }

    fn end(&self, report: &Summary, elapsed: Duration) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
        let seconds = elapsed.as_secs_f64().max(0.001);
        let (files, megabytes) = (report.totals.files as f64 / seconds, report.totals.bytes as f64 / seconds / 1e6);
        eprintln!("{seconds:.1} s, {files:.0} files/s, {megabytes:.1} MB/s");
    }
}
