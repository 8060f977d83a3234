use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use work_core::Status;

/// What the thread of a relay is told from outside. As many rows are in it as are in flight, at most.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
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

    /// What has come in, or comes in before `until`. That it is closed does not end the wait again and again.
    pub(super) fn wait(&self, until: Instant, knows_closed: bool) -> Mail {
        let mut mail = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let is_news = !mail.settled.is_empty() || mail.woken || mail.closed != knows_closed;
            if is_news || left == Duration::ZERO {
                let closed = mail.closed;
                return std::mem::replace(&mut *mail, Mail { closed, ..Mail::default() });
            }
            mail = self.arrived.wait_timeout(mail, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
