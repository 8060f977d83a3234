//! What people look through and act on.

use bytes::Bytes;
use work_core::limit::Rate;
use work_core::store::{
    Act, Acted, BoxFuture, Change, Counts, DeleteOutcome, Inspect, JobFilter, JobVersion, Order, Page, QueueInfo,
    Queues, StoredJob, Tally, WorkerInfo, check_capacity, check_limit, check_new_args, check_queue, check_rate,
};
use work_core::{JobId, Queue, StoreError};

use super::PostgresStore;
use crate::search::{ROWS, Search};
use crate::{capacity, change, glance, inspect, operate, queues, rates, schedules, workers};

/// Jobs that are changed in one transaction, so that nobody waits long behind it.
const AT_ONCE: usize = 500;

impl PostgresStore {
    /// Tells of a job that is available again, and answers whether there is one.
    fn told(&self, queue: Option<&String>) -> bool {
        if queue.is_some() {
            self.shared.again_available(queue.map(String::as_str));
        }
        queue.is_some()
    }
}

impl Inspect for PostgresStore {
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        self.shared.call("get", id, inspect::get)
    }

    fn list(
        &self,
        filter: JobFilter,
        order: Order,
        after: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.shared.call("list", Search { filter, order, after, limit, look: ROWS }, inspect::list)
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        if filter.is_coarse() {
            return self.shared.call("counts", filter, inspect::counts);
        }
        Box::pin(async move {
            let mut counts = Counts::default();
            let mut search =
                Search { filter, order: Order::OldestFirst, after: None, limit: usize::MAX - 1, look: ROWS };
            loop {
                let (page, next) = self.shared.call("counts", search.clone(), inspect::count_page).await?;
                page.0.into_iter().for_each(|(state, jobs)| *counts.0.entry(state).or_default() += jobs);
                let Some(next) = next else { return Ok(counts) };
                search.after = Some(next);
            }
        })
    }

    fn tally(&self, filter: JobFilter, after: Option<i64>, rows: usize) -> BoxFuture<'_, Result<Tally, StoreError>> {
        let (limit, look) = (usize::MAX - 1, rows.max(1));
        self.shared.call("tally", Search { filter, order: Order::OldestFirst, after, limit, look }, glance::tally)
    }

    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let queue = self.shared.call("retry", id, change::retry).await?;
            Ok(self.told(queue.as_ref()))
        })
    }

    fn run_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let queue = self.shared.call("run_now", id, operate::run_now).await?;
            Ok(self.told(queue.as_ref()))
        })
    }

    fn edit(&self, id: JobId, args: Bytes) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_new_args(&args, self.shared.max_args) {
            Ok(()) => self.shared.call("edit", (id, args), operate::edit),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn act_if(&self, id: JobId, seen: JobVersion, act: Act) -> BoxFuture<'_, Result<Acted, StoreError>> {
        if let Some(Err(error)) = act.args().map(|args| check_new_args(args, self.shared.max_args)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(async move {
            let (acted, queue) = self.shared.call("act_if", (id, seen, act), operate::act_if).await?;
            self.told(queue.as_ref());
            Ok(acted)
        })
    }

    fn delete(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<DeleteOutcome>, StoreError>> {
        if ids.is_empty() {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        self.shared.call("delete", ids, operate::delete)
    }

    fn change_all(&self, change: Change, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let Some(filter) = change.narrowed(filter) else { return Ok(0) };
            let mut search = Search { filter, order: Order::OldestFirst, after: None, limit: AT_ONCE, look: ROWS };
            let mut left = limit;
            while left > 0 {
                search.limit = left.min(AT_ONCE);
                let (ids, next) = self.shared.call("change_all", search.clone(), inspect::ids).await?;
                if !ids.is_empty() {
                    let (changed, queues) = self.shared.call("change_all", (change, ids), operate::change).await?;
                    left = left.saturating_sub(usize::try_from(changed).unwrap_or(usize::MAX));
                    if !queues.is_empty() {
                        self.shared.again_available(queues.iter().map(String::as_str));
                    }
                }
                let Some(next) = next else { break };
                search.after = Some(next);
            }
            Ok((limit - left) as u64)
        })
    }

    fn pause(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_queue(&queue) {
            Ok(()) => self.shared.call("pause", queue, queues::pause),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn resume(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let resumed = self.shared.call("resume", queue.clone(), queues::resume).await?;
            if resumed {
                self.shared.again_available([queue.as_str()]);
            }
            Ok(resumed)
        })
    }

    fn limit_queue(&self, queue: Queue, at_most: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        if let Err(error) = check_limit(&queue, at_most) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(async move {
            let before = self.shared.call("limit_queue", (queue.clone(), at_most), queues::set_limit).await?;
            self.shared.again_available([queue.as_str()]);
            Ok(before)
        })
    }

    fn rate_queue(&self, queue: Queue, rate: Option<Rate>) -> BoxFuture<'_, Result<Option<Rate>, StoreError>> {
        if let Err(error) = check_rate(&queue, rate.as_ref()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        Box::pin(async move {
            let before = self.shared.call("rate_queue", (queue.clone(), rate), rates::set).await?;
            self.shared.again_available([queue.as_str()]);
            Ok(before)
        })
    }

    fn bound_queue(&self, queue: Queue, capacity: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        match check_capacity(&queue, capacity) {
            Ok(()) => self.shared.call("bound_queue", (queue, capacity), capacity::set),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn keep_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        match check_queue(&prefix) {
            Ok(()) => self.shared.call("keep_queues", prefix, queues::keep),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn release_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.call("release_queues", prefix, queues::release)
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, StoreError>> {
        self.shared.call("queues", (), queues::queues)
    }

    fn queues_up_to(&self, entries: usize) -> BoxFuture<'_, Result<Queues, StoreError>> {
        self.shared.call("queues_up_to", entries, glance::queues_up_to)
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, StoreError>> {
        self.shared.call("workers", (), workers::workers)
    }

    fn pause_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.call("pause_schedule", name, schedules::pause)
    }

    fn resume_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.call("resume_schedule", name, schedules::resume)
    }

    fn remove_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.shared.call("remove_schedule", name, schedules::remove)
    }
}
