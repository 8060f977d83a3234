//! Queues that take only so many jobs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::store::{Inserted, NewJob};
use crate::{Queue, QueueFull, Unique};

impl Table {
    /// All of them or none.
    pub(super) fn insert_within(&mut self, jobs: Vec<NewJob>, now: DateTime<Utc>) -> Result<Vec<Inserted>, QueueFull> {
        let bounds: BTreeMap<Queue, (u32, u64)> = jobs
            .iter()
            .map(|job| &job.parts.queue)
            .filter_map(|queue| Some((queue.clone(), (*self.capacities.get(queue)?, self.depth(queue)))))
            .collect();
        if bounds.is_empty() {
            return Ok(jobs.into_iter().map(|job| self.insert(job, now)).collect());
        }
        let queues: Vec<Queue> = jobs.iter().map(|job| job.parts.queue.clone()).collect();
        let holders: Vec<(i64, NewJob)> = jobs.iter().filter_map(|job| self.holder(job)).collect();
        let answers: Vec<Inserted> = jobs.into_iter().map(|job| self.insert(job, now)).collect();
        for (queue, (capacity, depth)) in bounds {
            let new = queues.iter().zip(&answers).filter(|(of, answer)| **of == queue && is_new(**answer));
            let given = new.count() as u64;
            if given > 0 && depth + given > u64::from(capacity) {
                self.undo(&answers, holders);
                return Err(QueueFull::new(queue, capacity, depth, given));
            }
        }
        Ok(answers)
    }

    /// How many jobs of a queue wait or run.
    fn depth(&self, queue: &Queue) -> u64 {
        let open = self.rows.values().filter(|row| !row.stored.state.is_terminal());
        open.filter(|row| row.stored.job.parts.queue == *queue).count() as u64
    }

    /// The holder of the key of a job, as it is.
    fn holder(&self, job: &NewJob) -> Option<(i64, NewJob)> {
        let seq = *self.by_key.get(job.parts.unique.as_ref().map(Unique::key)?)?;
        self.rows.get(&seq).map(|row| (seq, row.stored.job.clone()))
    }

    /// Holders may have let go of their key, or have got other args.
    fn undo(&mut self, answers: &[Inserted], holders: Vec<(i64, NewJob)>) {
        answers.iter().filter(|answer| is_new(**answer)).for_each(|answer| _ = self.delete(answer.id()));
        for (seq, job) in holders {
            if let (Some(row), Some(unique)) = (self.rows.get_mut(&seq), &job.parts.unique) {
                self.by_key.insert(unique.key().to_owned(), seq);
                row.stored.job = job;
            }
        }
    }
}

const fn is_new(answer: Inserted) -> bool {
    matches!(answer, Inserted::New(_))
}
