use serde_json::{Map, Value, json};
use work_core::JobState;
use work_core::store::{Counts, JobFilter, QueueInfo, WorkerInfo};

use crate::error::CliError;
use crate::output::Out;
use crate::queues;
use crate::session::Session;
use crate::time::rfc3339;

/// What is in a store at one moment.
pub(crate) struct Stats {
    pub(crate) counts: Counts,
    pub(crate) queues: Vec<QueueInfo>,
    pub(crate) workers: Vec<WorkerInfo>,
}

impl Stats {
    pub(crate) async fn of(session: &Session) -> Result<Self, CliError> {
        let counts = session.store.counts(JobFilter::all()).await?;
        Ok(Self { counts, queues: session.store.queues().await?, workers: session.store.workers().await? })
    }

    /// `12 available  3 running  …`
    pub(crate) fn summary(&self) -> String {
        let states = JobState::ALL.map(|state| format!("{} {state}", self.counts.of(state)));
        states.join("   ")
    }

    /// `2 workers, 3 of 200 slots in use`.
    pub(crate) fn slots(&self) -> String {
        let slots: usize = self.workers.iter().map(|worker| worker.slots).sum();
        let running: usize = self.workers.iter().map(|worker| worker.running).sum();
        let workers = crate::text::count_of(self.workers.len() as u64, "worker");
        let held = crate::text::count_of(running as u64, "job");
        format!("{workers}, {held} held for {slots} slots")
    }

    fn to_json(&self, session: &Session) -> Value {
        let states = JobState::ALL.map(|state| (state.name().to_owned(), json!(self.counts.of(state))));
        json!({
            "at": rfc3339(session.now()),
            "store": session.url.kind(),
            "jobs": Map::from_iter(states),
            "queues": self.queues.iter().map(queues::to_json).collect::<Vec<_>>(),
            "workers": self.workers.len(),
            "slots": self.workers.iter().map(|worker| worker.slots).sum::<usize>(),
            "held": self.workers.iter().map(|worker| worker.running).sum::<usize>(),
        })
    }
}

/// Counts the jobs of each state and queue.
pub(crate) async fn run(session: &Session, out: &mut Out) -> Result<(), CliError> {
    let stats = Stats::of(session).await?;
    if out.is_json() {
        return out.value(&stats.to_json(session));
    }
    out.line(&stats.summary())?;
    out.line(&format!("{}\n", stats.slots()))?;
    queues::table(&stats.queues, session, out)
}
