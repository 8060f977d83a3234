//! As `crate::sync`, for schedules that are chosen: each step that another thread could see is a point at which that one may go on.

use std::time::Duration;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use shuttle::thread::{Thread, current, park};
use tokio::sync::futures::Notified;

/// Somebody else may go on here.
pub(crate) fn point() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// The time may be over at once.
pub(crate) fn park_timeout(_: Duration) {
    shuttle::thread::yield_now();
}

pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::Notify::new())
    }

    pub(crate) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }
}
