use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use work_core::Queue;

/// Who waits for jobs of which queue.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    queues: Mutex<HashMap<String, Arc<Notify>>>,
    waiters: AtomicUsize,
}

/// Queues that are remembered, before those are forgotten for which nobody waits.
const MANY: usize = 256;

impl Arrivals {
    /// Resolves when a job of one of these queues has arrived since the first poll, or when it is time to look.
    pub(crate) async fn wait(&self, queues: &[Queue]) {
        let notifies: Vec<Arc<Notify>> = queues.iter().map(|queue| self.notify(queue.as_str())).collect();
        // Registered from here on.
        let mut told: Vec<Pin<Box<Notified<'_>>>> = notifies.iter().map(|notify| Box::pin(notify.notified())).collect();
        let _waiting = Waiting::new(&self.waiters);
        poll_fn(|cx| {
            let ready = told.iter_mut().any(|told| told.as_mut().poll(cx).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Answers whether somebody waits for this queue.
    pub(crate) fn wake(&self, queue: &str) -> bool {
        let queues = self.locked();
        let wake = |notify: &Arc<Notify>| {
            notify.notify_waiters();
            // Who waits has it too.
            Arc::strong_count(notify) > 1
        };
        let key = queue.contains(':').then(|| Queue::from(queue.to_owned()).among()).flatten();
        let among = key.and_then(|keys| queues.get(keys.as_str())).is_some_and(wake);
        queues.get(queue).is_some_and(wake) || among
    }

    pub(crate) fn wake_all(&self) {
        self.locked().values().for_each(|notify| notify.notify_waiters());
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }

    fn notify(&self, queue: &str) -> Arc<Notify> {
        let mut queues = self.locked();
        if let Some(notify) = queues.get(queue) {
            return notify.clone();
        }
        if queues.len() >= MANY {
            queues.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        queues.entry(queue.to_owned()).or_default().clone()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts somebody as waiting, until it is dropped.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(waiters: &'w AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
