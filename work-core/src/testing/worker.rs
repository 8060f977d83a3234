use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Clock, Job, JobId, Kind, LocalWorker, LocalWorkerBuilder, Router};

/// A [`LocalWorker`] for tests: it keeps what it performs, and its clock is tokio's, so that a test which pauses the time
/// (`#[tokio::test(start_paused = true)]`) decides when it is.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Args, Job, Router, Worker, assert_performed, refute_performed, testing::TestWorker};
///
/// async fn remind(Args(_who): Args<String>) {}
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = TestWorker::new(Router::new().route("remind", remind));
/// worker.perform_in(Job::new("remind", "Ann"), Duration::from_secs(86_400)).await?;
/// worker.pass(Duration::from_secs(3_600)).await;
/// refute_performed!(worker, "remind");
/// worker.drain().await; // a day passes at once
/// assert_performed!(worker, "remind", "Ann");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestWorker {
    worker: LocalWorker,
    clock: Clock,
    performed: Log,
}

/// A job that a [`TestWorker`] started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Performed {
    /// Which job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// Its args as JSON; empty if they have no JSON form.
    pub args: Bytes,
    /// When it started.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Performed>>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Performed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestWorker {
    /// A worker whose wall clock starts at 2026-01-01 00:00 UTC.
    ///
    /// # Panics
    ///
    /// Never: the default settings are in range.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self::with(router, |builder| builder)
    }

    /// A worker with settings; its clock stays the one of the test.
    ///
    /// # Panics
    ///
    /// If a setting is out of its range, as a test should.
    #[must_use]
    pub fn with(router: Router, settings: impl FnOnce(LocalWorkerBuilder) -> LocalWorkerBuilder) -> Self {
        let start = DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default();
        let (clock, performed) = (Clock::tokio(start), Log::default());
        let layer = Recording { log: performed.clone(), clock: clock.clone() };
        let builder = settings(LocalWorker::builder(router.layer(layer))).clock(clock.clone());
        let worker = builder.build().unwrap_or_else(|error| panic!("{error}"));
        Self { worker, clock, performed }
    }

    /// What the worker takes for now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Every execution that has started, in order; attempts of one job are several.
    #[must_use]
    pub fn performed(&self) -> Vec<Performed> {
        self.performed.lock().clone()
    }

    /// Executions of this kind, of these args if they are given.
    #[must_use]
    pub fn count(&self, kind: &str, args: Option<&serde_json::Value>) -> usize {
        let same = |performed: &&Performed| {
            let fits = |args: &serde_json::Value| serde_json::from_slice(&performed.args).ok().as_ref() == Some(args);
            performed.kind.as_str() == kind && args.is_none_or(fits)
        };
        self.performed.lock().iter().filter(same).count()
    }

    /// Lets so much time pass. With tokio's clock paused that takes no time.
    pub async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until every job that was accepted has ended, those that are due later and their follow-ups included. With
    /// tokio's clock paused that takes no time. Does not return while a schedule goes on or a source hands over items.
    pub async fn drain(&self) {
        self.worker.idle().await;
    }

    /// What to say when an expectation fails.
    #[doc(hidden)]
    #[must_use]
    pub fn story(&self) -> String {
        let line = |p: &Performed| format!("\n  {} {}({})", p.at, p.kind, String::from_utf8_lossy(&p.args));
        let lines: String = self.performed.lock().iter().map(line).collect();
        if lines.is_empty() { "nothing was performed".to_owned() } else { format!("performed were:{lines}") }
    }

    #[doc(hidden)]
    #[must_use]
    pub fn json(args: impl Serialize) -> serde_json::Value {
        serde_json::to_value(args).unwrap_or_default()
    }
}

impl Deref for TestWorker {
    type Target = LocalWorker;

    fn deref(&self) -> &LocalWorker {
        &self.worker
    }
}

#[derive(Clone)]
struct Recording {
    log: Log,
    clock: Clock,
}

#[derive(Clone)]
struct Recorded<S> {
    recording: Recording,
    inner: S,
}

impl<S> Layer<S> for Recording {
    type Service = Recorded<S>;

    fn layer(&self, inner: S) -> Recorded<S> {
        Recorded { recording: self.clone(), inner }
    }
}

impl<S: Service<Job>> Service<Job> for Recorded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Poll_<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> S::Future {
        let args = job.args_json().unwrap_or_default();
        let performed = Performed { id: job.id(), kind: job.kind().clone(), args, at: self.recording.clock.now() };
        self.recording.log.lock().push(performed);
        self.inner.call(job)
    }
}

/// Asserts that a [`TestWorker`] has performed a job of a kind, if args are given then with these, and if `times = n` is
/// given then so often.
///
/// # Panics
///
/// If it has not, with everything that it has performed.
#[macro_export]
macro_rules! assert_performed {
    ($worker:expr, $kind:expr, times = $times:expr $(,)?) => {
        let (worker, kind, times): (&$crate::testing::TestWorker, &str, usize) = (&$worker, $kind, $times);
        let count = worker.count(kind, None);
        assert!(count == times, "{kind:?} was performed {count} times, not {times}; {}", worker.story());
    };
    ($worker:expr, $kind:expr, $args:expr, times = $times:expr $(,)?) => {
        let (worker, kind, times): (&$crate::testing::TestWorker, &str, usize) = (&$worker, $kind, $times);
        let args = $crate::testing::TestWorker::json($args);
        let count = worker.count(kind, Some(&args));
        assert!(count == times, "{kind:?} was performed {count} times with {args}, not {times}; {}", worker.story());
    };
    ($worker:expr, $kind:expr $(,)?) => {
        let (worker, kind): (&$crate::testing::TestWorker, &str) = (&$worker, $kind);
        assert!(worker.count(kind, None) > 0, "{kind:?} was not performed; {}", worker.story());
    };
    ($worker:expr, $kind:expr, $args:expr $(,)?) => {
        let (worker, kind): (&$crate::testing::TestWorker, &str) = (&$worker, $kind);
        let args = $crate::testing::TestWorker::json($args);
        assert!(worker.count(kind, Some(&args)) > 0, "{kind:?} was not performed with {args}; {}", worker.story());
    };
}

/// Asserts that a [`TestWorker`] has not performed a job of a kind, if args are given then with these.
///
/// # Panics
///
/// If it has, with everything that it has performed.
#[macro_export]
macro_rules! refute_performed {
    ($worker:expr, $kind:expr $(,)?) => {
        let (worker, kind): (&$crate::testing::TestWorker, &str) = (&$worker, $kind);
        assert!(worker.count(kind, None) == 0, "{kind:?} was performed; {}", worker.story());
    };
    ($worker:expr, $kind:expr, $args:expr $(,)?) => {
        let (worker, kind): (&$crate::testing::TestWorker, &str) = (&$worker, $kind);
        let args = $crate::testing::TestWorker::json($args);
        assert!(worker.count(kind, Some(&args)) == 0, "{kind:?} was performed with {args}; {}", worker.story());
    };
}
