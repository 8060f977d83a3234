//! A dashboard that listens, on a store of either kind.

use std::future::Future;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use work_core::store::{Inspect, MemoryStore};
use work_core::{Clock, JobId, JobState};
use work_dashboard::{Dashboard, DashboardBuilder};
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

/// What the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Sqlite,
    Postgres,
}

pub(crate) struct Site {
    pub(crate) origin: String,
    pub(crate) store: Arc<dyn Inspect>,
    /// What store and pages go by. It stands unless somebody moves it.
    pub(crate) clock: Clock,
    runtime: Runtime,
    _folder: TempDir,
}

impl Site {
    /// One that shows args; nothing where there is no server.
    pub(crate) fn open(kind: Kind) -> Option<Self> {
        Self::with(kind, DashboardBuilder::show_args)
    }

    pub(crate) fn with(kind: Kind, set: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> Option<Self> {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-21T09:00:00Z".parse().unwrap());
        let store: Arc<dyn Inspect> = match kind {
            Kind::Memory => Arc::new(MemoryStore::with_clock(clock.clone())),
            Kind::Sqlite => {
                let builder = SqliteStore::builder(folder.path().join("jobs.db")).clock(clock.clone());
                Arc::new(runtime.block_on(builder.open()).unwrap())
            }
            Kind::Postgres => {
                let Ok(url) = std::env::var("WORK_TEST_POSTGRES") else {
                    eprintln!("SKIPPED: WORK_TEST_POSTGRES is not set; `cargo xtask test browser` sets it");
                    return None;
                };
                let schema = format!("t_{}", JobId::new().as_uuid().simple());
                let builder = PostgresStore::builder(&url).schema(&schema).clock(clock.clone());
                Arc::new(runtime.block_on(builder.connect()).unwrap())
            }
        };
        let builder = Dashboard::builder(Arc::clone(&store)).clock(clock.clone()).title("Example");
        let dashboard = set(builder).build().unwrap();
        let bound = runtime.block_on(dashboard.bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let origin = format!("http://{}", bound.address());
        runtime.spawn(bound.run());
        Some(Self { origin, store, clock, runtime, _folder: folder })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn state(&self, id: JobId) -> Option<JobState> {
        self.wait(self.store.get(id)).unwrap().map(|job| job.state)
    }
}
