//! A store that is shared is a store, and what wrappers of stores are made with.

use std::sync::Arc;
use std::time::Duration;

use super::{BoxFuture, HandedOver, Inserted, Inspect, LeaseKey, Leased, NewJob, Settle, Settled, Store, Told, Want};
use crate::Queue;

/// Writes the methods of [`Inspect`] in a wrapper of a store, each as a call of the same on the store inside.
///
/// ```
/// use work_core::store::{Inspect, Store};
/// # use std::sync::Arc;
/// # use work_core::{JobId, Queue, StoreError, store::*};
///
/// struct Wrapper(MemoryStore);
///
/// impl Inspect for Wrapper {
///     work_core::forward_inspect!(self => self.0);
/// }
/// # impl Store for Wrapper {
/// #     work_core::forward_upkeep!(self => self.0);
/// #     fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> { self.0.insert(jobs) }
/// #     fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> { self.0.lease(want) }
/// #     fn extend(&self, leases: Vec<LeaseKey>, by: std::time::Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> { self.0.extend(leases, by) }
/// #     fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> { self.0.settle(done) }
/// #     fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> { self.0.ready(queues) }
/// # }
/// ```
#[macro_export]
macro_rules! forward_inspect {
    ($this:ident => $store:expr) => {
        $crate::forward_methods! { $this => $store;
            get(id: $crate::JobId) -> Option<$crate::store::StoredJob>;
            list(
                filter: $crate::store::JobFilter,
                order: $crate::store::Order,
                after: Option<i64>,
                limit: usize
            ) -> $crate::store::Page;
            counts(filter: $crate::store::JobFilter) -> $crate::store::Counts;
            tally(filter: $crate::store::JobFilter, after: Option<i64>, rows: usize) -> $crate::store::Tally;
            retry(id: $crate::JobId) -> bool;
            run_now(id: $crate::JobId) -> bool;
            edit(id: $crate::JobId, args: $crate::store::Bytes) -> bool;
            act_if(id: $crate::JobId, seen: $crate::store::JobVersion, act: $crate::store::Act) -> $crate::store::Acted;
            delete(ids: Vec<$crate::JobId>) -> Vec<$crate::store::DeleteOutcome>;
            change_all(change: $crate::store::Change, filter: $crate::store::JobFilter, limit: usize) -> u64;
            pause(queue: $crate::Queue) -> bool;
            resume(queue: $crate::Queue) -> bool;
            limit_queue(queue: $crate::Queue, at_most: Option<u32>) -> Option<u32>;
            rate_queue(queue: $crate::Queue, rate: Option<$crate::limit::Rate>) -> Option<$crate::limit::Rate>;
            bound_queue(queue: $crate::Queue, capacity: Option<u32>) -> Option<u32>;
            keep_queues(prefix: $crate::Queue) -> bool;
            release_queues(prefix: $crate::Queue) -> bool;
            queues() -> Vec<$crate::store::QueueInfo>;
            queues_up_to(entries: usize) -> $crate::store::Queues;
            workers() -> Vec<$crate::store::WorkerInfo>;
            pause_schedule(name: String) -> bool;
            resume_schedule(name: String) -> bool;
            remove_schedule(name: String) -> bool;
        }
    };
}

/// Writes the methods of [`Store`] that are not about single leases, as [`forward_inspect!`](crate::forward_inspect).
#[macro_export]
macro_rules! forward_upkeep {
    ($this:ident => $store:expr) => {
        $crate::forward_methods! { $this => $store;
            completed(leases: Vec<$crate::store::LeaseKey>) -> Vec<$crate::store::LeaseKey>;
            rescue(limit: usize, max_crashes: u32) -> $crate::store::Rescued;
            take_back(worker: String, held: Vec<$crate::store::LeaseKey>) -> u64;
            cancel(ids: Vec<$crate::JobId>) -> Vec<$crate::store::CancelOutcome>;
            stop_requests() -> Vec<$crate::store::LeaseKey>;
            set_progress(of: Vec<($crate::store::LeaseKey, f32)>) -> ();
            beat(worker: $crate::store::WorkerInfo) -> ();
            leave(worker: String) -> ();
            prune(retention: $crate::store::Retention, limit: usize) -> u64;
            declare_limit(queue: $crate::Queue, at_most: u32) -> u32;
            declare_rate(queue: $crate::Queue, rate: $crate::limit::Rate) -> $crate::limit::Rate;
            put_schedule(schedule: $crate::store::StoredSchedule) -> ();
            schedules() -> Vec<$crate::store::StoredSchedule>;
            fire(due: Vec<$crate::store::Firing>) -> Vec<$crate::store::Fired>;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! forward_methods {
    ($this:ident => $store:expr; $($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&$this, $($arg: $type),*) -> $crate::store::BoxFuture<'_, Result<$answer, $crate::StoreError>> {
            ($store).$name($($arg),*)
        })*
    };
}

impl<S: Store + ?Sized> Store for Arc<S> {
    crate::forward_upkeep!(self => **self);
    crate::forward_methods! { self => **self;
        insert(jobs: Vec<NewJob>) -> Vec<Inserted>;
        lease(want: Want) -> Leased;
        extend(leases: Vec<LeaseKey>, lease_for: Duration) -> Vec<LeaseKey>;
        settle(done: Vec<Settle>) -> Vec<Settled>;
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        (**self).ready(queues)
    }

    fn hand_over<'a>(&'a self, want: Want, told: Told<'a>) -> BoxFuture<'a, Option<HandedOver>> {
        (**self).hand_over(want, told)
    }
}

impl<S: Inspect + ?Sized> Inspect for Arc<S> {
    crate::forward_inspect!(self => **self);
}
