use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use work_core::store::{CancelOutcome, Lease, Settle, Settlement, Want};
use work_core::{DEFAULT_MAX_ARGS, JobId, Queue, Status, StoreError};

use crate::envelope::{Went, Whole};
use crate::live::lock;
use crate::report::Phase;
use crate::service::Follow;
use crate::{FlowError, Run, States};

/// Items that are moved in one transaction.
const BATCH: usize = 500;

/// Takes a state off the list of those that are held, however the move ends.
struct Held<'r, S: States>(&'r Run<S>, usize);

impl<S: States> Drop for Held<'_, S> {
    fn drop(&mut self) {
        let mut held = lock(&self.0.live.held);
        if let Some(at) = held.iter().position(|state| *state == self.1) {
            held.swap_remove(at);
        }
        drop(held);
        self.0.shared.live.stir();
        self.0.shared.live.changed();
    }
}

impl<S: States> Run<S> {
    /// Moves all items of one state to another, with their context and a new set of attempts: those that wait, that
    /// failed or were cancelled there, and of a terminal state those that ended there. What runs is not touched. Answers
    /// how many were moved.
    ///
    /// Each item is moved once, in one transaction: a move that was cut off may be repeated. The states need no
    /// transition between them: this is what people do when something went wrong.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store fails; some items may have been moved.
    ///
    /// # Cancel safety
    ///
    /// As after an error. Items that were being moved are free again after half a minute.
    pub async fn redrive(&self, from: S, to: S) -> Result<u64, FlowError> {
        let graph = &self.shared.live.graph;
        let index = |state: S| {
            graph.index(state.name()).ok_or_else(|| FlowError::UnknownState {
                workflow: graph.name.clone(),
                given: state.name().to_owned(),
                known: graph.list(0..graph.defs.len()),
            })
        };
        let (from, to) = (index(from)?, index(to)?);
        self.move_all(from, self.live.queues[from].clone(), to).await
    }

    /// Moves all items that wait in a state which this code lacks to one that it has. See [`redrive`](Self::redrive).
    ///
    /// # Errors
    ///
    /// [`FlowError::UnknownState`] if no code that worked on this run had such a state; else as
    /// [`redrive`](Self::redrive).
    pub async fn redrive_unknown(&self, from: &str, to: S) -> Result<u64, FlowError> {
        let graph = &self.shared.live.graph;
        let known = lock(&self.live.unknown).clone();
        if !known.iter().any(|name| name == from) {
            let (workflow, given, known) = (graph.name.clone(), from.to_owned(), known.join(", "));
            return Err(FlowError::UnknownState { workflow, given, known });
        }
        let to = graph.index(to.name()).unwrap_or_default();
        self.move_all(usize::MAX, crate::names::queue(&graph.name, self.name(), from), to).await
    }

    async fn move_all(&self, from: usize, queue: Queue, to: usize) -> Result<u64, FlowError> {
        lock(&self.live.held).push(from);
        let _held = Held(self, from);
        let mut moved = 0;
        let mut free = Vec::new();
        let name = queue.as_str().rsplit('.').next().unwrap_or_default().to_owned();
        for seen in self.scan().await?.into_sorted().into_iter().filter(|seen| seen.item.state == name) {
            match seen.item.phase {
                Phase::Completed => moved += self.send_back(from, to, seen.job, &seen.item).await?,
                Phase::Executing => {}
                Phase::Waiting if seen.item.due.is_none() && seen.item.attempt == 0 => {}
                // Due later: a job that comes back is due now.
                Phase::Waiting => free.push((seen.job, Phase::Waiting)),
                phase @ (Phase::Failed | Phase::Cancelled) => free.push((seen.job, phase)),
            }
        }
        for (job, phase) in free {
            self.free(from, job, phase).await?;
        }
        loop {
            let want = Want {
                queues: vec![queue.clone()],
                limit: BATCH,
                lease_for: Duration::from_secs(30),
                worker: "redrive".to_owned(),
                ..Want::default()
            };
            let leased = self.shared.store.lease(want).await?.jobs;
            if leased.is_empty() {
                return Ok(moved);
            }
            moved += self.settle_moved(from, to, leased).await?;
        }
    }

    /// Makes a step that ended, or is due later, one that can be leased now.
    async fn free(&self, from: usize, job: JobId, phase: Phase) -> Result<(), StoreError> {
        if phase == Phase::Waiting {
            let outcome = self.shared.store.cancel(vec![job]).await?;
            if outcome.first() != Some(&CancelOutcome::Cancelled) {
                return Ok(());
            }
        }
        if self.shared.store.retry(job).await? {
            self.live.tally(from, |tally| match phase {
                Phase::Failed => (tally.failed, tally.waiting) = (tally.failed - 1, tally.waiting + 1),
                Phase::Cancelled => (tally.cancelled, tally.waiting) = (tally.cancelled - 1, tally.waiting + 1),
                _ => {}
            });
        }
        Ok(())
    }

    async fn settle_moved(&self, from: usize, to: usize, leased: Vec<Lease>) -> Result<u64, FlowError> {
        let graph = &self.shared.live.graph;
        let terminal = graph.defs[to].terminal;
        let mut done = Vec::with_capacity(leased.len());
        for lease in &leased {
            let json = |source| FlowError::Json { what: "the step cannot be read", source };
            let whole: Whole<'_> = serde_json::from_slice(&lease.job.args).map_err(json)?;
            let step = Follow { context: whole.context, item: whole.item, parent: whole.parent, step: whole.step + 1 };
            let mut then = Vec::new();
            if !terminal {
                let id = lease.key.id.follow("redrive", 0);
                then.push(step.job(graph, &self.live, to, id).into_stored(DEFAULT_MAX_ARGS)?);
            }
            let went = Went { to: graph.defs[to].name, context: terminal.then_some(whole.context) };
            let output = Some(Bytes::from(serde_json::to_vec(&went).map_err(json)?));
            let settlement = Settlement::Complete { output };
            done.push(Settle { key: lease.key, status: Status::SUCCESS, settlement, error: None, then });
        }
        let answers = self.shared.store.settle(done).await?;
        let moved = answers.iter().filter(|answer| **answer == work_core::store::Settled::Done).count();
        let count = i64::try_from(moved).unwrap_or(i64::MAX);
        self.live.tally(from, |tally| tally.waiting -= count);
        if terminal {
            self.live.tally(to, |tally| tally.completed += count);
        } else {
            self.shared.live.arrive(&self.live, to, count);
        }
        Ok(moved as u64)
    }

    /// An item that ended in a terminal state gets a further step.
    async fn send_back(&self, from: usize, to: usize, job: JobId, item: &crate::ItemReport) -> Result<u64, FlowError> {
        let json = |source| FlowError::Json { what: "the context", source };
        let context: Box<RawValue> = serde_json::value::to_raw_value(&item.context).map_err(json)?;
        let step = Follow { context: &*context, item: item.id, parent: item.parent, step: item.step + 1 };
        let new = step.job(&self.shared.live.graph, &self.live, to, job.follow("redrive", 1));
        let inserted = self.insert_jobs(to, vec![new.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        let new = inserted.iter().filter(|inserted| matches!(inserted, work_core::store::Inserted::New(_))).count();
        self.live.tally(from, |tally| tally.completed -= i64::try_from(new).unwrap_or(0));
        Ok(new as u64)
    }
}
