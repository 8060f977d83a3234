use work_core::store::{Change, Inspect, JobFilter, NewJob};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, StoreError, Unique};

use super::names::{self, RunName};
use super::read::RunView;
use super::stored::Paused;

/// Starts no more of a run's items, in any process, as soon as that looks for runs the next time. Answers whether it was
/// at work.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be written.
pub async fn pause(store: &dyn Inspect, name: &RunName) -> Result<bool, StoreError> {
    let paused = serde_json::to_vec(&Paused { run: name.run().to_owned() }).unwrap_or_default();
    let inserted = store.insert(vec![record(name, "pause", paused, |job| job.unique(Unique::new(name.pause_key())))?]);
    Ok(inserted.await?.iter().any(|inserted| matches!(inserted, work_core::store::Inserted::New(_))))
}

/// Lets a paused run go on. Answers whether it was paused.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be written.
pub async fn resume(store: &dyn Inspect, name: &RunName) -> Result<bool, StoreError> {
    let filter = JobFilter::all().queue(name.control()).kind(name.kind("pause")).state(JobState::Available);
    let records = super::export::all(store, filter).await?;
    let ours = records
        .into_iter()
        .filter(|job| serde_json::from_slice::<Paused>(&job.job.args).is_ok_and(|paused| paused.run == name.run()));
    let ids: Vec<_> = ours.map(|job| job.job.parts.id).collect();
    let outcomes = if ids.is_empty() { Vec::new() } else { store.cancel(ids).await? };
    Ok(outcomes.iter().any(|outcome| outcome.is_change()))
}

/// Ends a run: what waits is cancelled, what runs is told to stop, and nothing more starts. Answers how many items that
/// were.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be written; repeating the call goes on.
pub async fn cancel(store: &dyn Inspect, run: &RunView) -> Result<u64, StoreError> {
    let Ok(name) = RunName::new(&run.workflow, &run.run) else { return Ok(0) };
    // Pauses are of no use to a run that has ended.
    resume(store, &name).await?;
    let steps = run.states.iter().fold(JobFilter::all(), |filter, state| filter.queue(name.queue(&state.shape.state)));
    let told = store.change_all(Change::Cancel, steps.clone(), usize::MAX).await?;
    // The record goes last but one: as long as it is there, the cancellation can be repeated.
    store.cancel(vec![name.record_id()]).await?;
    // What ran meanwhile may have led to something.
    let late = store.change_all(Change::Cancel, steps.state(JobState::Available), usize::MAX).await?;
    Ok(told + late)
}

/// Tries all items of a run again that failed in a state, or in any, with their errors kept. Answers how many.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be written; repeating the call goes on.
pub async fn retry_failed(store: &dyn Inspect, run: &RunView, state: Option<&str>) -> Result<u64, StoreError> {
    let Ok(name) = RunName::new(&run.workflow, &run.run) else { return Ok(0) };
    let states = run.states.iter().map(|one| one.shape.state.as_str()).filter(|one| state.is_none_or(|it| it == *one));
    let steps = states.fold(JobFilter::all().state(JobState::Discarded), |all, state| all.queue(name.queue(state)));
    if steps.queues.is_empty() {
        return Ok(0);
    }
    store.change_all(Change::Retry, steps, usize::MAX).await
}

/// A job that is never due, in the queue of control.
pub(super) fn record(
    name: &RunName,
    what: &str,
    json: Vec<u8>,
    set: impl FnOnce(Job) -> Job,
) -> Result<NewJob, StoreError> {
    let job = Job::from_json(name.kind(what), json).queue(name.control()).scheduled_at(names::never());
    let stored = set(job).into_stored(DEFAULT_MAX_ARGS);
    stored.map_err(|error| StoreError::rejected("the record of a run is no job", error))
}
