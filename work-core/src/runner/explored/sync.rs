//! As `crate::sync`, for schedules that are chosen. Whatever could be seen by another thread is a point at which that one may go
//! on instead. What comes from tokio never waits for a thread by itself, so it may stay.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

pub(in crate::runner) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(in crate::runner) use shuttle::sync::{Mutex, MutexGuard};
pub(in crate::runner) use std::sync::{Arc, PoisonError};
use tokio::sync::futures::Notified;

/// Somebody else may go on here.
pub(super) fn point() {
    shuttle::thread::sleep(Duration::ZERO);
}

pub(in crate::runner) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(shuttle::future::spawn(future));
}

pub(in crate::runner) const fn at_once() -> usize {
    1
}

pub(in crate::runner) async fn consume_budget() {
    point();
}

/// Time passes when it likes to.
pub(in crate::runner) async fn sleep(_: Duration) {
    shuttle::future::yield_now().await;
}

/// Is over at any look at it, or never.
pub(in crate::runner) async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, ()> {
    let mut future = pin!(future);
    let mut elapses = thread_rng().gen_bool(0.5).then(|| thread_rng().gen_range(0..20));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Some(left) = &mut elapses {
            if *left == 0 {
                return Poll::Ready(Err(()));
            }
            *left -= 1;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[derive(Debug, Default)]
pub(in crate::runner) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(in crate::runner) fn new() -> Self {
        Self::default()
    }

    pub(in crate::runner) fn notify_one(&self) {
        point();
        self.0.notify_one();
    }

    pub(in crate::runner) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }

    pub(in crate::runner) fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }
}

#[derive(Debug, Clone, Default)]
pub(in crate::runner) struct CancellationToken(tokio_util::sync::CancellationToken);

impl CancellationToken {
    pub(in crate::runner) fn new() -> Self {
        Self::default()
    }

    pub(in crate::runner) fn cancel(&self) {
        point();
        self.0.cancel();
    }

    pub(in crate::runner) fn is_cancelled(&self) -> bool {
        point();
        self.0.is_cancelled()
    }

    pub(in crate::runner) async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        point();
        self.0.run_until_cancelled(future).await
    }
}
