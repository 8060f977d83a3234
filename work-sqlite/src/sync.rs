//! What those parts are made of whose schedules are explored. There it is something else that has the same names.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use std::thread::{Thread, current, park, park_timeout};

pub(crate) use tokio::sync::Notify;
