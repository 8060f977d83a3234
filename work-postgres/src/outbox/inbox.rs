use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use work_core::Status;

/// What a relay is told from outside. As many rows are in it as are in flight, at most.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    mail: Mutex<Mail>,
    arrived: Notify,
}

/// What has come in.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Deliveries by number, and how their jobs ended.
    pub(super) settled: Vec<(u64, Option<Status>)>,
    /// Somebody says that there are new rows.
    pub(super) woken: bool,
    /// Nobody wants any more rows. Stays so.
    pub(super) closed: bool,
}

impl Inbox {
    pub(super) fn settle(&self, delivery: u64, status: Option<Status>) {
        self.lock().settled.push((delivery, status));
        self.arrived.notify_one();
    }

    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// What has come in, or comes in before `until`.
    pub(super) async fn wait(&self, until: Instant) -> Mail {
        // What came earlier has left its sign, so that nothing is slept through.
        let _ = timeout_at(until, self.arrived.notified()).await;
        let mut mail = self.lock();
        let closed = mail.closed;
        std::mem::replace(&mut *mail, Mail { closed, ..Mail::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
