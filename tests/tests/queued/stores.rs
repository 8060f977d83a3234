//! Each test runs on each store.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use work_core::runner::Report;
use work_core::store::{Inspect, JobFilter};
use work_core::{InvalidJob, QueueWorker, QueueWorkerBuilder};

/// Runs a test in memory, on a file, and on a server if there is one.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(std::sync::Arc::new(work_core::store::MemoryStore::new())).await;
            })+
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let store = work_sqlite::SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(store) = crate::stores::postgres().await {
                    super::$name(std::sync::Arc::new(store)).await;
                }
            })+
        }
    };
}
pub(crate) use on_every_store;

/// A store of a test.
pub(crate) type Store = std::sync::Arc<dyn Inspect>;

/// A schema of its own on the server that `cargo xtask test` starts. Without one there is nothing to check.
pub(crate) async fn postgres() -> Option<work_postgres::PostgresStore> {
    const VARIABLE: &str = "WORK_TEST_POSTGRES";
    let Ok(url) = std::env::var(VARIABLE) else {
        println!("SKIPPED: {VARIABLE} is not set; `cargo xtask test test` starts a server and sets it");
        return None;
    };
    let schema = format!("t_{}", work_core::JobId::new().as_uuid().simple());
    let builder = work_postgres::PostgresStore::builder(&url).schema(&schema).pool_size(4);
    Some(builder.connect().await.unwrap())
}

/// A worker at work, until it is stopped.
pub(crate) struct Running {
    pub(crate) worker: QueueWorker,
    stop: CancellationToken,
    run: JoinHandle<Result<Report, InvalidJob>>,
}

impl Running {
    pub(crate) fn start(builder: QueueWorkerBuilder) -> Self {
        let (worker, stop) = (builder.build().unwrap(), CancellationToken::new());
        let run = tokio::spawn(worker.clone().run_until(stop.clone().cancelled_owned()));
        Self { worker, stop, run }
    }

    pub(crate) async fn stop(self) -> Report {
        self.stop.cancel();
        within(self.run).await.unwrap().unwrap()
    }

    /// As if its process were killed: nothing is given back, and nobody is told.
    pub(crate) async fn kill(self) {
        self.run.abort();
        assert!(self.run.await.unwrap_err().is_cancelled());
    }
}

/// No test takes longer.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("it does not end")
}

/// Jobs that wait or run.
pub(crate) async fn open(store: &Store) -> u64 {
    store.counts(JobFilter::all()).await.unwrap().open()
}

/// Looks until it is so.
pub(crate) async fn becomes(what: impl AsyncFn() -> bool) {
    within(async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn all_done(store: &Store) {
    becomes(async || open(store).await == 0).await;
}
