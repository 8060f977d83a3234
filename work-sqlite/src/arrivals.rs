use std::sync::OnceLock;

use super::sync::{AtomicBool, AtomicUsize, Notify, Ordering, Thread};

/// Who waits for jobs, and the thread that looks for those of other processes as long as somebody does.
pub(crate) struct Arrivals {
    /// Set inside a transaction that makes jobs available; told to `arrived` after the commit.
    changed: AtomicBool,
    arrived: Notify,
    /// How many wait for `arrived`.
    waiters: AtomicUsize,
    looker: OnceLock<Thread>,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            changed: AtomicBool::new(false),
            arrived: Notify::new(),
            waiters: AtomicUsize::new(0),
            looker: OnceLock::new(),
        }
    }

    pub(crate) fn made_available(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn forget_changes(&self) {
        self.changed.store(false, Ordering::Relaxed);
    }

    pub(crate) fn wake_if_changed(&self) {
        if self.changed.swap(false, Ordering::Relaxed) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        self.arrived.notify_waiters();
    }

    pub(crate) fn looker_is(&self, thread: Thread) {
        let _ = self.looker.set(thread);
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0
    }

    /// Registers at its first poll.
    pub(crate) async fn arrival(&self) {
        let arrived = self.arrived.notified();
        let _waiting = Waiting::new(self);
        arrived.await;
    }
}

/// Counts somebody as waiting, until it is dropped.
struct Waiting<'s>(&'s Arrivals);

impl<'s> Waiting<'s> {
    fn new(arrivals: &'s Arrivals) -> Self {
        if arrivals.waiters.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(looker) = arrivals.looker.get()
        {
            looker.unpark();
        }
        Self(arrivals)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}
