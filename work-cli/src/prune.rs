use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use work_core::JobState;
use work_core::store::{JobFilter, Retention};

use crate::cli::PruneArgs;
use crate::confirm::{Go, confirm};
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::text::count_of;

/// Jobs that are forgotten before it is looked whether somebody wants this to end.
const AT_ONCE: usize = 1_000;

/// Forgets jobs that ended long ago.
pub(crate) async fn run(args: &PruneArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let keep = Retention::default().completed(args.completed).discarded(args.discarded).cancelled(args.cancelled);
    let now = session.now();
    let mut counts = Vec::new();
    for state in [JobState::Completed, JobState::Discarded, JobState::Cancelled] {
        counts.push((state, old(state, keep, now, session).await?));
    }
    let matched: u64 = counts.iter().map(|(_, count)| count).sum();
    let each: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let what = format!("forget {} ({})", count_of(matched, "job"), each.join(", "));
    let answer =
        |forgotten: u64| json!({ "matched": matched, "forgotten": forgotten, "dry_run": args.consent.dry_run });
    if matched == 0 {
        return out.answer(&answer(0), "no job is that old: nothing to do");
    }
    if confirm(&args.consent, &what, out)? == Go::OnlySay {
        return out.answer(&answer(0), &format!("would {what}"));
    }
    let mut forgotten = 0;
    loop {
        let part = session.store.prune(keep, AT_ONCE).await?;
        forgotten += part;
        if part < AT_ONCE as u64 {
            break;
        }
    }
    out.answer(&answer(forgotten), &format!("{} forgotten", count_of(forgotten, "job")))
}

async fn old(state: JobState, keep: Retention, now: DateTime<Utc>, session: &Session) -> Result<u64, CliError> {
    let Some(until) = keep.until(state, now) else { return Ok(0) };
    // A range is to the millisecond, and one that ended in this one is not old.
    let until = until.checked_sub_signed(TimeDelta::milliseconds(1)).unwrap_or(until);
    Ok(session.store.counts(JobFilter::all().state(state).finished(..=until)).await?.of(state))
}
