//! What people do, once for pages and API: each is done, logged, and answered in the same way.

use bytes::Bytes;
use work_core::store::{self, Acted, CancelOutcome, Change, DeleteOutcome, JobVersion, StoredJob, Tally};
use work_core::{JobId, Queue};

use crate::call::Call;
use crate::failure::{Failure, shown};
use crate::filter::Filters;
use crate::snapshot::forget;
use crate::version::{changed, check_form, check_header};
use crate::workflows::{self, RunName, RunPhase, RunView};

/// What is done with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Retry,
    Run,
    Cancel,
    Delete,
}

impl Act {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Run => "run",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
        }
    }
}

/// The job, or 404.
pub(crate) async fn found(call: &Call, id: JobId) -> Result<StoredJob, Failure> {
    let job = call.app.store.get(id).await?;
    job.ok_or_else(|| Failure::not_found(format!("No job has the id {id}. It may have been deleted.")))
}

/// Does it, or says why the job is not one for that.
pub(crate) async fn act(call: &Call, act: Act, id: JobId) -> Result<(), Failure> {
    let store = &call.app.store;
    let job = found(call, id).await?;
    let done = if check_header(call, &job)? {
        let act = match act {
            Act::Retry => store::Act::Retry,
            Act::Run => store::Act::RunNow,
            Act::Cancel => store::Act::Cancel,
            Act::Delete => store::Act::Delete,
        };
        acted(call, &job, store.act_if(id, JobVersion::of(&job), act).await?).await?
    } else {
        match act {
            Act::Retry => store.retry(id).await?,
            Act::Run => store.run_now(id).await?,
            Act::Cancel => {
                store.cancel(vec![id]).await?.first().is_some_and(|outcome| CancelOutcome::is_change(*outcome))
            }
            Act::Delete => store.delete(vec![id]).await?.first() == Some(&DeleteOutcome::Deleted),
        }
    };
    finish(call, act.name(), &id.to_string(), done).await;
    if done {
        return Ok(());
    }
    let state = job.state;
    Err(Failure::conflict(match act {
        Act::Retry => no_retry(&job),
        Act::Run => format!("The job is {state}. Only a job that waits can be made due now."),
        Act::Cancel => format!("The job is {state}. Only jobs that wait or run are cancelled."),
        Act::Delete => format!("The job is {state}. One that runs has to be cancelled first."),
    }))
}

/// Whether it was done to the job that was seen.
async fn acted(call: &Call, seen: &StoredJob, acted: Acted) -> Result<bool, Failure> {
    match acted {
        Acted::Done => Ok(true),
        Acted::Changed => Err(changed(call.app.store.get(seen.job.parts.id).await?.as_ref().unwrap_or(seen))),
        Acted::NotFound => Err(Failure::not_found(format!("The job {} has just been deleted.", seen.job.parts.id))),
        _ => Ok(false),
    }
}

/// Gives a job other arguments, if it is still what it was when somebody looked.
pub(crate) async fn edit(call: &Call, id: JobId, args: Bytes, seen: Option<&str>) -> Result<(), Failure> {
    let job = to_edit(call, id, &args).await?;
    let guarded = check_header(call, &job)? | check_form(seen, &job)?;
    let done = if guarded {
        let answer = call.app.store.act_if(id, JobVersion::of(&job), store::Act::Edit(args)).await;
        acted(call, &job, answer.map_err(edit_failed)?).await?
    } else {
        call.app.store.edit(id, args).await.map_err(edit_failed)?
    };
    finish(call, "edit", &id.to_string(), done).await;
    let refused = || format!("The job is {}. The arguments of one that runs cannot be changed.", job.state);
    if done { Ok(()) } else { Err(Failure::conflict(refused())) }
}

/// Retries a job with other arguments, as one change.
pub(crate) async fn edit_and_retry(call: &Call, id: JobId, args: Bytes, seen: Option<&str>) -> Result<(), Failure> {
    let job = to_edit(call, id, &args).await?;
    check_header(call, &job)?;
    check_form(seen, &job)?;
    let answer = call.app.store.act_if(id, JobVersion::of(&job), store::Act::EditAndRetry(args)).await;
    let done = acted(call, &job, answer.map_err(edit_failed)?).await?;
    finish(call, "edit", &id.to_string(), done).await;
    finish(call, Act::Retry.name(), &id.to_string(), done).await;
    if done { Ok(()) } else { Err(Failure::conflict(format!("{} It has its old arguments.", no_retry(&job)))) }
}

async fn to_edit(call: &Call, id: JobId, args: &Bytes) -> Result<StoredJob, Failure> {
    match serde_json::from_slice::<serde_json::Value>(args) {
        Ok(_) => found(call, id).await,
        Err(error) => Err(Failure::bad("invalid-args", format!("The arguments are no JSON: {error}."))),
    }
}

fn edit_failed(error: work_core::StoreError) -> Failure {
    if error.fault().is_none() && !error.is_unknown() && !error.is_closed() {
        return Failure::bad("invalid-args", error.to_string());
    }
    error.into()
}

fn no_retry(job: &StoredJob) -> String {
    let state = job.state;
    format!(
        "The job is {state}. Only dead letters and cancelled jobs are retried, and only while no other job has their unique key."
    )
}

/// Pauses a queue, or lets it go on.
pub(crate) async fn pause_queue(call: &Call, pause: Pause) -> Result<bool, Failure> {
    let queue = Queue::from(call.param().to_owned());
    let known = async || Ok::<_, Failure>(call.app.queues().await?.iter().any(|one| one.info.queue == queue));
    if !known().await? {
        // It may be younger than the last look.
        forget(&call.app).await;
    }
    if !known().await? {
        return Err(Failure::not_found(format!("There is no queue {}.", shown(call.param()))));
    }
    let done = match pause {
        Pause::Pause => call.app.store.pause(queue).await?,
        Pause::Resume => call.app.store.resume(queue).await?,
    };
    finish(call, &format!("{} queue", pause.name()), call.param(), done).await;
    Ok(done)
}

/// What is done with a queue or a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Pause,
    Resume,
}

impl Pause {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

async fn known_schedule(call: &Call) -> Result<String, Failure> {
    let name = call.param().to_owned();
    let known = call.app.store.schedules().await?.iter().any(|schedule| schedule.name == name);
    if known { Ok(name) } else { Err(Failure::not_found(format!("There is no schedule {}.", shown(&name)))) }
}

/// Pauses a schedule, or lets it go on.
pub(crate) async fn pause_schedule(call: &Call, pause: Pause) -> Result<bool, Failure> {
    let name = known_schedule(call).await?;
    let done = match pause {
        Pause::Pause => call.app.store.pause_schedule(name).await?,
        Pause::Resume => call.app.store.resume_schedule(name).await?,
    };
    finish(call, &format!("{} schedule", pause.name()), call.param(), done).await;
    Ok(done)
}

/// Makes a job of a schedule.
pub(crate) async fn run_schedule(call: &Call) -> Result<JobId, Failure> {
    let name = known_schedule(call).await?;
    let id = call.app.store.run_schedule_now(name).await?;
    finish(call, "run schedule", call.param(), id.is_some()).await;
    id.ok_or_else(|| Failure::not_found(format!("There is no schedule {}.", shown(call.param()))))
}

/// The run that the path names, or 404.
pub(crate) async fn found_run(call: &Call) -> Result<RunView, Failure> {
    let missing = || Failure::not_found(format!("There is no run {}.", shown(call.param())));
    let name: RunName = call.param().parse().map_err(|_| missing())?;
    let queues = call.app.queues().await?;
    let run = workflows::run_with(&*call.app.store, &name, queues.iter().map(|queue| &queue.info)).await?;
    run.ok_or_else(missing)
}

/// The same, if it has not ended.
async fn run_at_work(call: &Call) -> Result<(RunName, RunView), Failure> {
    let run = found_run(call).await?;
    if run.phase == RunPhase::Ended {
        return Err(Failure::conflict("The run has ended. Export it and import it under another name to go on."));
    }
    let name = call.param().parse().map_err(|_| Failure::not_found("There is no such run."))?;
    Ok((name, run))
}

/// Pauses a run, or lets it go on.
pub(crate) async fn pause_run(call: &Call, pause: Pause) -> Result<bool, Failure> {
    let (name, _) = run_at_work(call).await?;
    let done = match pause {
        Pause::Pause => workflows::pause(&*call.app.store, &name).await?,
        Pause::Resume => workflows::resume(&*call.app.store, &name).await?,
    };
    finish(call, &format!("{} run", pause.name()), call.param(), done).await;
    Ok(done)
}

/// Ends a run, and answers how many of its items that cancelled.
pub(crate) async fn cancel_run(call: &Call) -> Result<u64, Failure> {
    let (_, run) = run_at_work(call).await?;
    let told = workflows::cancel(&*call.app.store, &run).await?;
    call.audit("cancel run", call.param(), &format!("{told} items"));
    forget(&call.app).await;
    Ok(told)
}

/// How many jobs there are, as far as so many rows tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Count {
    pub(crate) count: u64,
    /// False if there may be more.
    pub(crate) exact: bool,
}

/// The most jobs that one bulk action changes.
pub(crate) const MAX_BULK: u64 = 10_000;

/// How far is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// For a page that shows some of the jobs too.
    Page,
    /// For who asks for the number alone.
    Look,
    /// To [`MAX_BULK`]: for who says how many there must be.
    Bulk,
}

impl Far {
    /// How many parts, and the rows of each. A store may read two more for each: an entry of an index, and the last error.
    const fn parts(self) -> (usize, usize) {
        match self {
            Self::Page => (2, 1_500),
            Self::Look => (3, 2_000),
            Self::Bulk => (50, 2_000),
        }
    }
}

/// Counts the jobs that a filter means.
pub(crate) async fn count(call: &Call, filters: &Filters) -> Result<Count, Failure> {
    count_of(call, filters.filter.clone(), Far::Look).await
}

/// Counts those of them that the change suits.
pub(crate) async fn count_for(call: &Call, change: Change, filters: &Filters, far: Far) -> Result<Count, Failure> {
    match change.narrowed(filters.filter.clone()) {
        Some(filter) => count_of(call, filter, far).await,
        None => Ok(Count { count: 0, exact: true }),
    }
}

async fn count_of(call: &Call, filter: work_core::store::JobFilter, far: Far) -> Result<Count, Failure> {
    let mut tally = Tally::default();
    let (parts, rows) = far.parts();
    for _ in 0..parts {
        let part = call.app.store.tally(filter.clone(), tally.next, rows).await?;
        if tally.add(part).is_none() || tally.total() > MAX_BULK {
            break;
        }
    }
    Ok(Count { count: tally.total(), exact: tally.next.is_none() })
}

/// Changes the jobs of a filter, at most so many.
pub(crate) async fn change(call: &Call, change: Change, filters: &Filters, limit: u64) -> Result<u64, Failure> {
    let limit = usize::try_from(limit.min(MAX_BULK)).unwrap_or_default();
    let done = call.app.store.change_all(change, filters.filter.clone(), limit).await?;
    let action = format!("{} many", change_name(change));
    call.audit(&action, &filters.words(), &format!("{done} jobs"));
    forget(&call.app).await;
    Ok(done)
}

pub(crate) const fn change_name(change: Change) -> &'static str {
    match change {
        Change::Retry => "retry",
        Change::Cancel => "cancel",
        Change::Delete => "delete",
    }
}

/// The change that a form or a body names.
pub(crate) fn change_of(name: &str) -> Result<Change, Failure> {
    let known = [Change::Retry, Change::Cancel, Change::Delete];
    let found = known.into_iter().find(|change| change_name(*change) == name);
    found.ok_or_else(|| {
        Failure::bad("unknown-action", format!("{} is no action; use retry, cancel or delete", shown(name)))
    })
}

async fn finish(call: &Call, action: &str, what: &str, done: bool) {
    call.audit(action, what, if done { "done" } else { "nothing to do" });
    forget(&call.app).await;
}
