//! What those parts are made of whose schedules are explored. There it is something else that has the same names.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use tokio::spawn;
pub(crate) use tokio::sync::Notify;
pub(crate) use tokio::task::coop::consume_budget;
pub(crate) use tokio::time::{sleep, timeout};
pub(crate) use tokio_util::sync::CancellationToken;

/// Items of a pool that start a loop of their own: as many as keep every thread busy.
pub(crate) fn at_once() -> usize {
    std::thread::available_parallelism().map_or(8, |threads| 8.max(2 * threads.get()))
}
