//! What every store refuses.

use crate::limit::Rate;
use crate::runner::InvalidQueues;
use crate::{InvalidJob, Queue, StoreError};

/// The largest capacity of a queue.
pub const MAX_CAPACITY: u32 = 10_000_000;

/// Refuses arguments that could not be read back: no JSON, too large, or nested too deep. For authors of stores.
///
/// # Errors
///
/// [`StoreError`] says which, and what is accepted.
pub fn check_new_args(args: &[u8], limit: usize) -> Result<(), StoreError> {
    let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(args);
    syntax.map_err(|error| StoreError::rejected("the new arguments are no JSON", error))?;
    let fits = crate::args::check_json(args, limit);
    fits.map_err(|error| StoreError::rejected("the new arguments are refused", error))
}

/// Refuses a queue that no job could be in. For authors of stores.
///
/// # Errors
///
/// [`StoreError`] says what is wrong with the name, and what is accepted.
pub fn check_queue(queue: &Queue) -> Result<(), StoreError> {
    queue.validate().map_err(|error| StoreError::rejected("the queue is refused", error))
}

fn check_drained(queue: &Queue) -> Result<(), StoreError> {
    queue.validate_drained().map_err(|error| StoreError::rejected("the queue is refused", error))
}

/// Refuses a queue that no job could be in, and a limit that would let no job run. For authors of stores.
///
/// # Errors
///
/// [`StoreError`] says what is wrong, and what is accepted.
pub fn check_limit(queue: &Queue, at_most: Option<u32>) -> Result<(), StoreError> {
    check_drained(queue)?;
    if at_most == Some(0) {
        return Err(StoreError::rejected("the limit of the queue is refused", InvalidQueues::NoRoom(queue.clone())));
    }
    Ok(())
}

/// Refuses a queue that no job could be in, and a capacity out of its range. For authors of stores.
///
/// # Errors
///
/// [`StoreError`] says what is wrong, and what is accepted.
pub fn check_capacity(queue: &Queue, capacity: Option<u32>) -> Result<(), StoreError> {
    check_queue(queue)?;
    match capacity.filter(|jobs| !(1..=MAX_CAPACITY).contains(jobs)) {
        Some(given) => Err(StoreError::rejected(
            "the capacity of the queue is refused",
            InvalidJob::out_of_range("capacity", given, "1 to 10000000, or pause who inserts"),
        )),
        None => Ok(()),
    }
}

/// Refuses a queue that no job could be in, and a rate whose name is none. For authors of stores.
///
/// # Errors
///
/// [`StoreError`] says what is wrong, and what is accepted.
pub fn check_rate(queue: &Queue, rate: Option<&Rate>) -> Result<(), StoreError> {
    check_drained(queue)?;
    let name = rate.map_or(Ok(()), Rate::validate);
    name.map_err(|error| StoreError::rejected("the rate of the queue is refused", error))
}
