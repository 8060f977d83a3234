//! Reads a run out of the store: every step, and from that where each item is.

use std::collections::HashMap;

use work_core::store::{Inspect, JobFilter, Order, StoredJob};
use work_core::{JobId, JobState, StoreError};

use crate::envelope::{Went, Whole};
use crate::graph::Graph;
use crate::live::{LiveRun, lock};
use crate::report::{ItemReport, Phase, RunReport, StateCounts};
use crate::{FlowError, names};

/// Jobs that are read at once.
const PAGE: usize = 1_000;

/// Every job of a filter.
pub(crate) async fn all(store: &dyn Inspect, filter: JobFilter) -> Result<Vec<StoredJob>, StoreError> {
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

/// The items of a run.
pub(crate) struct Items {
    states: Vec<StateCounts>,
    /// The last step of each, and what all steps left behind.
    pub(crate) items: HashMap<JobId, Seen>,
}

pub(crate) struct Seen {
    pub(crate) item: ItemReport,
    /// The job of the last step.
    pub(crate) job: JobId,
}

/// Reads a run.
pub(crate) async fn items(store: &dyn Inspect, graph: &Graph, run: &LiveRun) -> Result<Items, FlowError> {
    let known = graph.defs.iter().map(|def| def.name.to_owned());
    let unknown = lock(&run.unknown).clone();
    let names: Vec<String> = known.chain(unknown).collect();
    let mut seen = Items { states: Vec::new(), items: HashMap::new() };
    for (n, name) in names.into_iter().enumerate() {
        let terminal = graph.defs.get(n).is_some_and(|def| def.terminal);
        seen.states.push(StateCounts::new(name, terminal, n >= graph.defs.len()));
    }
    for state in 0..seen.states.len() {
        let queue = names::queue(&graph.name, run.name(), &seen.states[state].name);
        let filter = JobFilter::all().queue(queue);
        let mut after = None;
        loop {
            let page = store.list(filter.clone(), Order::OldestFirst, after, PAGE).await?;
            page.jobs.iter().for_each(|job| seen.add(state, job));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(seen)
}

impl Items {
    fn add(&mut self, state: usize, stored: &StoredJob) {
        let Ok(whole) = serde_json::from_slice::<Whole<'_>>(&stored.job.args) else { return };
        let went = stored.output.as_ref().and_then(|output| serde_json::from_slice::<Went<'_>>(output).ok());
        if stored.state == JobState::Completed && !self.states[state].terminal {
            self.states[state].completed += 1;
        }
        let id = stored.job.parts.id;
        let seen = self.items.entry(whole.item).or_insert_with(|| Seen { item: ItemReport::new(whole.item), job: id });
        let item = &mut seen.item;
        for (state, errors) in whole.log.into_iter().flatten() {
            item.errors.entry(state).or_default().splice(0..0, errors);
        }
        item.note(whole.step, &self.states[state].name, &stored.attempts);
        if whole.step < item.step {
            return;
        }
        item.step = whole.step;
        item.parent = whole.parent;
        item.attempt = stored.attempt;
        item.due = stored.job.parts.scheduled_at;
        item.unless = whole.unless;
        seen.job = id;
        let ended = went.filter(|went| went.context.is_some());
        item.phase = match stored.state {
            JobState::Available => Phase::Waiting,
            JobState::Running => Phase::Executing,
            JobState::Completed => Phase::Completed,
            JobState::Discarded => Phase::Failed,
            _ => Phase::Cancelled,
        };
        item.state = ended.as_ref().map_or(&*self.states[state].name, |went| went.to).to_owned();
        let context = ended.and_then(|went| went.context).unwrap_or(whole.context);
        item.context = serde_json::from_str(context.get()).unwrap_or_default();
    }

    /// How many items are where.
    pub(crate) fn report(self) -> RunReport {
        let Self { mut states, items } = self;
        for Seen { item, .. } in items.values() {
            let Some(state) = states.iter_mut().find(|state| state.name == item.state) else { continue };
            match item.phase {
                Phase::Waiting => state.waiting += 1,
                Phase::Executing => state.executing += 1,
                Phase::Completed if state.terminal => state.completed += 1,
                Phase::Completed => {}
                Phase::Failed => state.failed += 1,
                Phase::Cancelled => state.cancelled += 1,
            }
        }
        states.retain(|state| !state.unknown || state.waiting + state.executing + state.failed > 0);
        RunReport { states, items: items.len() as u64 }
    }

    /// The items, by id: in the order they were made.
    pub(crate) fn into_sorted(self) -> Vec<Seen> {
        let mut items: Vec<Seen> = self.items.into_values().collect();
        items.sort_by_key(|seen| seen.item.id);
        items.iter_mut().for_each(|seen| seen.item.sort_errors());
        items
    }
}
