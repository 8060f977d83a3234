//! Queues, workers and what is kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::store::{DeleteOutcome, QueueInfo, Retention, WorkerInfo};
use crate::{JobId, JobState, Queue};

impl Table {
    pub(super) fn queues(&self, now: DateTime<Utc>) -> Vec<QueueInfo> {
        let mut queues = BTreeMap::new();
        let limited = self.limits.keys().chain(self.rates.keys()).chain(self.capacities.keys());
        let drained = self.workers(now).into_iter().flat_map(|worker| worker.queues);
        for queue in drained.chain(self.paused.keys().cloned()).chain(limited.cloned()) {
            let info = info(&mut queues, &queue);
            info.paused_at = self.paused.get(&queue).copied();
            info.at_most = self.limits.get(&queue).copied();
            info.rate = self.rates.get(&queue).cloned();
            info.capacity = self.capacities.get(&queue).copied();
        }
        for (seq, row) in self.rows.iter().filter(|(_, row)| row.stored.state != JobState::Completed) {
            let info = info(&mut queues, &row.stored.job.parts.queue);
            *info.counts.0.entry(row.stored.state).or_default() += 1;
            let ready = row.stored.state == JobState::Available && !self.comes_after(*seq);
            let waits = (now - row.due()).to_std().ok().filter(|_| ready);
            info.oldest_ready_for = info.oldest_ready_for.max(waits);
        }
        queues.into_values().collect()
    }

    pub(super) fn beat(&mut self, worker: WorkerInfo, now: DateTime<Utc>) {
        let started_at = self.workers.get(&worker.id).map_or(now, |known| known.started_at);
        self.workers.insert(worker.id.clone(), WorkerInfo { started_at, last_beat: now, ..worker });
        self.workers.retain(|_, worker| is_alive(worker, now));
    }

    pub(super) fn workers(&self, now: DateTime<Utc>) -> Vec<WorkerInfo> {
        self.workers.values().filter(|worker| is_alive(worker, now)).cloned().collect()
    }

    pub(super) fn prune(&mut self, retention: Retention, limit: usize, now: DateTime<Utc>) -> u64 {
        let old = |state, at: Option<DateTime<Utc>>| at.is_some_and(|at| retention.until(state, now) > Some(at));
        let kept = |queue: &Queue| self.kept.iter().any(|prefix| queue.as_str().starts_with(prefix.as_str()));
        let rows = self.rows.values().filter(|row| old(row.stored.state, row.stored.finished_at));
        let rows = rows.filter(|row| !kept(&row.stored.job.parts.queue));
        let ids: Vec<JobId> = rows.take(limit).map(|row| row.stored.job.parts.id).collect();
        ids.into_iter().filter(|id| self.delete(*id) == DeleteOutcome::Deleted).count() as u64
    }
}

fn info<'q>(queues: &'q mut BTreeMap<Queue, QueueInfo>, queue: &Queue) -> &'q mut QueueInfo {
    queues.entry(queue.clone()).or_insert_with(|| QueueInfo::new(queue.clone()))
}

fn is_alive(worker: &WorkerInfo, now: DateTime<Utc>) -> bool {
    (now - worker.last_beat).to_std().is_ok_and(|silent| silent <= WorkerInfo::GONE_AFTER) || now <= worker.last_beat
}
