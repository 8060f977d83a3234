use serde_json::json;
use work_core::JobId;
use work_core::store::{CancelOutcome, Change, Counts, DeleteOutcome, JobFilter, Order};
use work_core::{JobState, StoreError};

use super::no_such_job;
use crate::cli::ChangeArgs;
use crate::confirm::{Go, confirm};
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::text::count_of;

/// What is done with jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Cancel,
    Delete,
    RunNow,
}

/// What came of it, for one job.
enum Done {
    Changed(&'static str),
    /// Why not, and what to do instead.
    Unsuited(&'static str),
    NotFound,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::RunNow => "run now",
        }
    }

    const fn past(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Cancel => "cancelled",
            Self::Delete => "deleted",
            Self::RunNow => "due now",
        }
    }

    /// The filter with the states that it changes, or none if it has none of them.
    fn narrowed(self, mut filter: JobFilter) -> Option<JobFilter> {
        match self {
            Self::Retry => Change::Retry.narrowed(filter),
            Self::Cancel => Change::Cancel.narrowed(filter),
            Self::Delete => Change::Delete.narrowed(filter),
            Self::RunNow => {
                let suits = filter.states.is_empty() || filter.states.contains(&JobState::Available);
                filter.states = vec![JobState::Available];
                suits.then_some(filter)
            }
        }
    }
}

/// Changes the jobs that are named, or those of a filter.
pub(super) async fn run(verb: Verb, args: ChangeArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let filter = args.filter.filter(session.now())?;
    let unfiltered = filter == JobFilter::all();
    match (args.ids.is_empty(), unfiltered, args.all) {
        (false, true, false) => named(verb, &args, session, out).await,
        (false, ..) => Err(CliError::usage("give either ids, or a filter; nothing was done")),
        (true, true, false) => {
            let how = format!("{} which jobs? Give ids, a filter such as --state or --kind, or --all", verb.name());
            Err(CliError::usage(how))
        }
        (true, false, true) => Err(CliError::usage("give either a filter, or --all; nothing was done")),
        (true, ..) => matching(verb, filter, &args, session, out).await,
    }
}

/// Each on its own, with an answer for each.
async fn named(verb: Verb, args: &ChangeArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let mut problem = None;
    for id in &args.ids {
        let done = if args.consent.dry_run { look(*id, session).await? } else { one(verb, *id, session).await? };
        let (outcome, text) = match done {
            Done::Changed(how) => (how, format!("{id} {how}")),
            Done::Unsuited(why) => {
                problem.get_or_insert_with(|| CliError::failed(format!("{id}: {why}")));
                ("unchanged", format!("{id} unchanged"))
            }
            Done::NotFound => {
                problem = Some(no_such_job(*id));
                ("not found", format!("{id} not found"))
            }
        };
        out.answer(&json!({ "id": id, "outcome": outcome }), &text)?;
    }
    if args.consent.dry_run {
        out.note("Nothing was done.");
    }
    problem.map_or(Ok(()), Err)
}

async fn look(id: JobId, session: &Session) -> Result<Done, StoreError> {
    Ok(session.store.get(id).await?.map_or(Done::NotFound, |_| Done::Changed("found")))
}

async fn one(verb: Verb, id: JobId, session: &Session) -> Result<Done, StoreError> {
    let store = &session.store;
    let answer = match verb {
        Verb::Retry => Some(store.retry(id).await?).filter(|done| *done).map(|_| Done::Changed("retried")),
        Verb::RunNow => Some(store.run_now(id).await?).filter(|done| *done).map(|_| Done::Changed("due now")),
        Verb::Cancel => match store.cancel(vec![id]).await?.first() {
            Some(CancelOutcome::Cancelled) => Some(Done::Changed("cancelled")),
            Some(CancelOutcome::Requested) => Some(Done::Changed("asked to stop")),
            _ => None,
        },
        Verb::Delete => match store.delete(vec![id]).await?.first() {
            Some(DeleteOutcome::Deleted) => Some(Done::Changed("deleted")),
            _ => None,
        },
    };
    if let Some(answer) = answer {
        return Ok(answer);
    }
    let Some(job) = store.get(id).await? else { return Ok(Done::NotFound) };
    Ok(Done::Unsuited(why_not(verb, job.state)))
}

const fn why_not(verb: Verb, state: JobState) -> &'static str {
    match (verb, state) {
        (Verb::Retry, JobState::Available) => "it waits already; `work jobs run-now` makes it due now",
        (Verb::Retry, JobState::Running) => "it runs; wait for its end, or cancel it first",
        (Verb::Retry, JobState::Completed) => "it ended well, and such a job is not tried again; enqueue a new one",
        (Verb::Retry, _) => "another job has its unique key by now; delete one of the two",
        (Verb::Delete, JobState::Running) => "it runs; cancel it first, then delete it",
        (Verb::RunNow, JobState::Running) => "it runs already",
        (Verb::RunNow, _) => "it has ended; `work jobs retry` makes it available again",
        (Verb::Cancel, _) => "it has ended already",
        (Verb::Delete, _) => "it changed meanwhile; try again",
    }
}

/// All at once, after a question.
async fn matching(
    verb: Verb,
    filter: JobFilter,
    args: &ChangeArgs,
    session: &Session,
    out: &mut Out,
) -> Result<(), CliError> {
    let Some(filter) = verb.narrowed(filter) else {
        return Err(CliError::usage(format!("no job in such a state can be {}; nothing was done", verb.past())));
    };
    let counts = session.store.counts(filter.clone()).await?;
    let matched = counts.total();
    let dry_run = args.consent.dry_run;
    if matched == 0 || dry_run {
        let answer = json!({ "action": verb.name(), "matched": matched, "changed": 0, "dry_run": dry_run });
        let would = format!("would {} {}", verb.name(), described(&counts));
        return out.answer(&answer, if matched == 0 { "no such job: nothing to do" } else { &would });
    }
    let what = format!("{} {}", verb.name(), described(&counts));
    if confirm(&args.consent, &what, out)? == Go::OnlySay {
        return Ok(());
    }
    // No more than was announced, though others may come to match meanwhile.
    let limit = usize::try_from(matched).unwrap_or(usize::MAX);
    let changed = match verb {
        Verb::Retry => session.store.retry_all(filter, limit).await?,
        Verb::Cancel => session.store.cancel_all(filter, limit).await?,
        Verb::Delete => session.store.delete_all(filter, limit).await?,
        Verb::RunNow => run_all_now(filter, limit, session).await?,
    };
    let answer = json!({ "action": verb.name(), "matched": matched, "changed": changed, "dry_run": false });
    let passed_over = if changed < matched { "; the others changed meanwhile, or were not suited" } else { "" };
    out.answer(&answer, &format!("{} {}{passed_over}", count_of(changed, "job"), verb.past()))
}

async fn run_all_now(filter: JobFilter, limit: usize, session: &Session) -> Result<u64, StoreError> {
    let (mut after, mut left, mut changed) = (None, limit, 0);
    while left > 0 {
        let page = session.store.list(filter.clone(), Order::OldestFirst, after, left.min(500)).await?;
        left -= page.jobs.len().min(left);
        for job in &page.jobs {
            changed += u64::from(session.store.run_now(job.job.parts.id).await?);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(changed)
}

/// `12 jobs (10 discarded, 2 cancelled)`.
fn described(counts: &Counts) -> String {
    let states: Vec<String> =
        counts.0.iter().filter(|(_, n)| **n > 0).map(|(state, n)| format!("{n} {state}")).collect();
    format!("{} ({})", count_of(counts.total(), "job"), states.join(", "))
}
