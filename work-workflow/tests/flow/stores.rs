//! Each check runs on each store.

use std::future::Future;
use std::time::Duration;

use work_core::store::Inspect;
use work_workflow::{Engine, Run, States};

/// Runs a check on a store in memory, on a file, and on a server if there is one.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(work_core::store::MemoryStore::new()).await;
            })+
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let store = work_sqlite::SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
                super::$name(store).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(store) = crate::stores::postgres().await {
                    super::$name(store).await;
                }
            })+
        }
    };
}
pub(crate) use on_every_store;

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

/// Runs the engine until the run is done.
pub(crate) async fn drain<S: States>(engine: &Engine<S>, run: &Run<S>) {
    within(engine.run_until(run.done())).await.unwrap();
}

/// No test takes longer.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it does not end")
}

/// An engine with a workflow on a store.
pub(crate) fn engine<S: States>(store: impl Inspect, workflow: work_workflow::Workflow<S>) -> Engine<S> {
    Engine::builder(store, workflow).lease_for(Duration::from_secs(5)).build()
}

/// A result that any error fits.
pub(crate) type Anyhow<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
