//! What this store does not do yet. What a runner does all the time finds nothing to do; what a person asks for is refused.

use work_core::StoreError;
use work_core::store::BoxFuture;

pub(crate) fn refused<T: Send + 'static>(what: &'static str) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Err(StoreError::rejected("not supported by this store yet", what))))
}

pub(crate) fn nothing<T: Default + Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Ok(T::default())))
}

macro_rules! methods {
    ($answer:expr; $($name:ident($($type:ty),*) -> $of:ty;)*) => {
        $(fn $name(&self, $(_: $type),*) -> BoxFuture<'_, Result<$of, StoreError>> {
            $answer(stringify!($name))
        })*
    };
}
pub(crate) use methods;

macro_rules! upkeep {
    () => {
        crate::pending::methods! { |_| crate::pending::nothing();
            stop_requests() -> Vec<LeaseKey>;
            set_progress(Vec<(LeaseKey, f32)>) -> ();
            beat(work_core::store::WorkerInfo) -> ();
            leave(String) -> ();
            prune(work_core::store::Retention, usize) -> u64;
            schedules() -> Vec<work_core::store::StoredSchedule>;
        }
        crate::pending::methods! { crate::pending::refused;
            put_schedule(work_core::store::StoredSchedule) -> ();
            fire(Vec<work_core::store::Firing>) -> Vec<work_core::store::Fired>;
        }
    };
}
pub(crate) use upkeep;

macro_rules! operators {
    () => {
        crate::pending::methods! { crate::pending::refused;
            run_now(JobId) -> bool;
            edit(JobId, work_core::store::Bytes) -> bool;
            delete(Vec<JobId>) -> Vec<work_core::store::DeleteOutcome>;
            change_all(work_core::store::Change, JobFilter, usize) -> u64;
            pause(Queue) -> bool;
            resume(Queue) -> bool;
            queues() -> Vec<work_core::store::QueueInfo>;
            workers() -> Vec<work_core::store::WorkerInfo>;
            pause_schedule(String) -> bool;
            resume_schedule(String) -> bool;
            remove_schedule(String) -> bool;
        }
    };
}
pub(crate) use operators;
