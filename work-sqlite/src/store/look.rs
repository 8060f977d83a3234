//! What people look through and act on.

use bytes::Bytes;
use work_core::limit::Rate;
use work_core::store::{
    Act, Acted, BoxFuture, Change, Counts, DeleteOutcome, Inspect, JobFilter, JobVersion, Order, Page, QueueInfo,
    Queues, StoredJob, Tally, WorkerInfo, check_capacity, check_limit, check_new_args, check_queue, check_rate,
};
use work_core::{JobId, Queue, StoreError};

use super::{SqliteStore, call};
use crate::search::{ROWS, Search};
use crate::{capacity, change, glance, inspect, operate, queues, rates, schedules, workers};

impl Inspect for SqliteStore {
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        call(&self.reader, 1, id, inspect::get)
    }

    fn list(
        &self,
        filter: JobFilter,
        order: Order,
        after: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        call(&self.lister, 1, Search { filter, order, after, limit, look: ROWS }, inspect::list)
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        if filter.is_coarse() {
            return call(&self.lister, 1, filter, inspect::counts);
        }
        Box::pin(async move {
            let mut counts = Counts::default();
            let mut search = Search { filter, order: Order::OldestFirst, after: None, limit: usize::MAX, look: ROWS };
            loop {
                let (states, next) = call(&self.lister, 1, search.clone(), inspect::count_page).await?;
                states.into_iter().for_each(|state| *counts.0.entry(state).or_default() += 1);
                let Some(next) = next else { return Ok(counts) };
                search.after = Some(next);
            }
        })
    }

    fn tally(&self, filter: JobFilter, after: Option<i64>, rows: usize) -> BoxFuture<'_, Result<Tally, StoreError>> {
        let search = Search { filter, order: Order::OldestFirst, after, limit: usize::MAX, look: rows.max(1) };
        call(&self.lister, 1, search, glance::tally)
    }

    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, id, change::retry)
    }

    fn run_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, id, operate::run_now)
    }

    fn edit(&self, id: JobId, args: Bytes) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_new_args(&args, self.shared.max_args) {
            Ok(()) => self.write(1, (id, args), operate::edit),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn act_if(&self, id: JobId, seen: JobVersion, act: Act) -> BoxFuture<'_, Result<Acted, StoreError>> {
        match act.args().map_or(Ok(()), |args| check_new_args(args, self.shared.max_args)) {
            Ok(()) => self.write(1, (id, seen, act), operate::act_if),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn delete(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<DeleteOutcome>, StoreError>> {
        self.write(ids.len(), ids, |connection, shared, ids| operate::delete(connection, shared, ids))
    }

    fn pause(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_queue(&queue) {
            Ok(()) => self.write(1, queue, queues::pause),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn resume(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, queue, queues::resume)
    }

    fn limit_queue(&self, queue: Queue, at_most: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        match check_limit(&queue, at_most) {
            Ok(()) => self.write(1, (queue, at_most), queues::set_limit),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn rate_queue(&self, queue: Queue, rate: Option<Rate>) -> BoxFuture<'_, Result<Option<Rate>, StoreError>> {
        match check_rate(&queue, rate.as_ref()) {
            Ok(()) => self.write(1, (queue, rate), rates::set),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn bound_queue(&self, queue: Queue, capacity: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        match check_capacity(&queue, capacity) {
            Ok(()) => self.write(1, (queue, capacity), capacity::set),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn keep_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_queue(&prefix) {
            Ok(()) => self.write(1, prefix, queues::keep),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn release_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, prefix, queues::release)
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, StoreError>> {
        call(&self.lister, 1, (), queues::queues)
    }

    fn queues_up_to(&self, entries: usize) -> BoxFuture<'_, Result<Queues, StoreError>> {
        call(&self.lister, 1, entries, glance::queues_up_to)
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, StoreError>> {
        call(&self.reader, 1, (), workers::workers)
    }

    fn pause_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, name, schedules::pause)
    }

    fn resume_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, name, schedules::resume)
    }

    fn remove_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(1, name, schedules::remove)
    }

    fn change_all(&self, change: Change, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        /// Jobs that are changed in one transaction, so that nobody waits long behind it.
        const AT_ONCE: usize = 500;
        Box::pin(async move {
            let Some(filter) = change.narrowed(filter) else { return Ok(0) };
            let mut search = Search { filter, order: Order::OldestFirst, after: None, limit: AT_ONCE, look: ROWS };
            let mut left = limit;
            while left > 0 {
                search.limit = left.min(AT_ONCE);
                let (ids, next) = call(&self.lister, 1, search.clone(), inspect::ids).await?;
                let changed = self.write(ids.len(), (change, ids), operate::change).await?;
                left = left.saturating_sub(usize::try_from(changed).unwrap_or(usize::MAX));
                let Some(next) = next else { break };
                search.after = Some(next);
            }
            Ok((limit - left) as u64)
        })
    }
}
