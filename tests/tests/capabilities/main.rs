//! What users of a job library count on, each with its figure. `docs/capabilities.md` lists which test shows what.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod bad_settings;
mod bucket;
mod jobs;
mod ramp;
mod receiving;
mod same_text;
mod stress;
mod time;
mod worker;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use work_core::Context;

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Counts runs, and how many overlap.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Counters>);

#[derive(Default)]
struct Counters {
    runs: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    cancelled: AtomicUsize,
}

/// Counts down also when the handler is dropped.
struct Running<'m>(&'m Meter, bool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::SeqCst);
        self.0.0.cancelled.fetch_add(usize::from(!self.1), Ordering::SeqCst);
    }
}

impl Meter {
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        let mut running = Running(self, false);
        let answer = work.await;
        running.1 = true;
        answer
    }

    /// Runs that began.
    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// Runs that go on.
    pub(crate) fn now(&self) -> usize {
        self.0.now.load(Ordering::SeqCst)
    }

    /// The most that went on at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    /// Runs that were dropped before their end.
    pub(crate) fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// A handler that takes so long.
    pub(crate) fn taking(
        &self,
        time: Duration,
    ) -> impl Fn(Context) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + Sync + 'static + use<>
    {
        let meter = self.clone();
        move |_| {
            let meter = meter.clone();
            Box::pin(async move { meter.run(tokio::time::sleep(time)).await })
        }
    }
}
