use std::time::Duration;

use tokio::time::Instant;
use work_core::JobState;
use work_core::store::{JobFilter, Order};

use crate::cli::TopArgs;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::stats::{self, Stats};
use crate::text;
use crate::time::{relative, rough};
use crate::{queues, workers};

/// Shows counts, queues, workers and what failed last, again and again on a terminal, and once elsewhere.
pub(crate) async fn run(args: &TopArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    if args.every < Duration::from_millis(100) {
        let given = rough(args.every);
        return Err(CliError::usage(format!("--every {given} is too often for the store; use 100ms or more")));
    }
    if out.is_json() {
        return stats::run(session, out).await;
    }
    let live = out.is_terminal() && !args.once;
    let mut before: Option<(Instant, u64)> = None;
    loop {
        let (stats, at) = (Stats::of(session).await?, Instant::now());
        if live {
            // To the upper left, and everything below it away.
            out.bytes(b"\x1b[H\x1b[2J")?;
        }
        let completed = stats.counts.of(JobState::Completed);
        let rate = before.map(|(then, count)| rate(completed.saturating_sub(count), at - then));
        before = Some((at, completed));
        frame(&stats, rate, session, out).await?;
        if !live {
            return Ok(());
        }
        out.line(&format!("\nevery {}, Ctrl-C ends", rough(args.every)))?;
        out.flush()?;
        tokio::time::sleep(args.every).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(jobs: u64, time: Duration) -> f64 {
    jobs as f64 / time.as_secs_f64().max(0.001)
}

async fn frame(stats: &Stats, rate: Option<f64>, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let rate = rate.map_or_else(String::new, |rate| format!("   {rate:.1} completed a second"));
    out.line(&format!("{}{rate}", session.url))?;
    out.line(&stats.summary())?;
    out.line(&format!("{}\n", stats.slots()))?;
    queues::table(&stats.queues, session, out)?;
    if !stats.workers.is_empty() {
        out.line("")?;
        workers::table(&stats.workers, session, out)?;
    }
    let dead = JobFilter::all().state(JobState::Discarded);
    let dead = session.store.list(dead, Order::NewestFirst, None, 5).await?;
    if !dead.jobs.is_empty() {
        out.line("\ndead letters, the newest first")?;
    }
    for job in &dead.jobs {
        let (parts, now) = (&job.job.parts, session.now());
        let ended = job.finished_at.map_or_else(String::new, |at| relative(at, now));
        let error = job.last_error().map_or("", |error| error.message.as_str());
        let line = format!("  {} {} {ended}: {error}", parts.id, parts.kind);
        out.line(&text::shortened(&text::one_line(&line), 110))?;
    }
    Ok(())
}
