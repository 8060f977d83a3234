use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use work_core::store::{Inspect, JobFilter, Order, StoredJob};
use work_core::{JobId, JobState, StoreError};

use super::names::RunName;
use super::read::Notes;
use super::stored::{Record, Shape, Step, Went};

/// A run as JSON: what `Run::export` of the crate `work-workflow` writes, and its graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Export {
    /// The workflow.
    pub workflow: String,
    /// The run.
    pub run: String,
    /// Its overall context.
    pub overall: Value,
    /// When it was exported.
    pub at: DateTime<Utc>,
    /// Its states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graph: Vec<Shape>,
    /// Its items, in the order they were made.
    pub items: Vec<ItemView>,
}

/// One item of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ItemView {
    /// The item: the id of its first step.
    pub id: JobId,
    /// The item that kicked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
    /// Where it is.
    pub state: String,
    /// What it does there: `waiting`, `executing`, `completed`, `failed` or `cancelled`.
    pub phase: String,
    /// How many steps it has had, the present one included.
    pub step: u32,
    /// How many attempts the present step has had.
    pub attempt: u32,
    /// When the present step is due, if it was put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime<Utc>>,
    /// The signal that it waits for, and the state that leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<(String, String)>,
    /// What it carries.
    pub context: Value,
    /// The errors of its attempts, by state, in order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, Vec<String>>,
    /// Errors with the number of their step, until all steps are known.
    #[serde(skip)]
    noted: Vec<(u32, String, Vec<String>)>,
}

/// Jobs that are read at once.
const PAGE: usize = 1_000;

/// Reads all of a run, if there is one: as exact, and as long, as the run is large.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub async fn export(store: &dyn Inspect, name: &RunName, at: DateTime<Utc>) -> Result<Option<Export>, StoreError> {
    let Some(job) = store.get(name.record_id()).await? else { return Ok(None) };
    let Ok(record) = serde_json::from_slice::<Record<'_>>(&job.job.args) else { return Ok(None) };
    let graph = Notes::read(store, name).await?.shapes(&record);
    let mut items = HashMap::new();
    for shape in &graph {
        let filter = JobFilter::all().queue(name.queue(&shape.state));
        let mut after = None;
        loop {
            let page = store.list(filter.clone(), Order::OldestFirst, after, PAGE).await?;
            page.jobs.iter().for_each(|job| add(&mut items, &shape.state, job));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let mut items: Vec<ItemView> = items.into_values().collect();
    items.sort_by_key(|item| item.id);
    items.iter_mut().for_each(ItemView::sort_errors);
    Ok(Some(Export {
        workflow: name.workflow().to_owned(),
        run: record.run,
        overall: serde_json::from_str(record.overall.get()).unwrap_or_default(),
        at,
        graph,
        items,
    }))
}

/// Every job of a filter.
pub(super) async fn all(store: &dyn Inspect, filter: JobFilter) -> Result<Vec<StoredJob>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), Order::OldestFirst, after, PAGE).await?;
        found.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

fn add(items: &mut HashMap<JobId, ItemView>, state: &str, stored: &StoredJob) {
    let Ok(step) = serde_json::from_slice::<Step<'_>>(&stored.job.args) else { return };
    let item = items.entry(step.item).or_insert_with(|| ItemView::new(step.item));
    for (state, errors) in step.log.into_iter().flatten() {
        item.errors.entry(state).or_default().splice(0..0, errors);
    }
    if !stored.attempts.is_empty() {
        let errors = stored.attempts.iter().map(|attempt| attempt.error.message.clone()).collect();
        item.noted.push((step.step, state.to_owned(), errors));
    }
    if step.step < item.step {
        return;
    }
    let went = stored.output.as_ref().and_then(|output| serde_json::from_slice::<Went<'_>>(output).ok());
    let ended = went.filter(|went| went.context.is_some());
    item.step = step.step;
    item.parent = step.parent;
    item.attempt = stored.attempt;
    item.due = stored.job.parts.scheduled_at;
    item.unless = step.unless;
    phase(stored.state).clone_into(&mut item.phase);
    ended.as_ref().map_or(state, |went| went.to).clone_into(&mut item.state);
    let context = ended.and_then(|went| went.context).unwrap_or(step.context);
    item.context = serde_json::from_str(context.get()).unwrap_or_default();
}

const fn phase(state: JobState) -> &'static str {
    match state {
        JobState::Available => "waiting",
        JobState::Running => "executing",
        JobState::Completed => "completed",
        JobState::Discarded => "failed",
        _ => "cancelled",
    }
}

impl ItemView {
    const fn new(id: JobId) -> Self {
        Self {
            id,
            parent: None,
            state: String::new(),
            phase: String::new(),
            step: 0,
            attempt: 0,
            due: None,
            unless: None,
            context: Value::Null,
            errors: BTreeMap::new(),
            noted: Vec::new(),
        }
    }

    /// Puts the errors into the order of the steps.
    fn sort_errors(&mut self) {
        self.noted.sort_by_key(|(step, ..)| *step);
        for (_, state, errors) in std::mem::take(&mut self.noted) {
            self.errors.entry(state).or_default().extend(errors);
        }
    }
}
