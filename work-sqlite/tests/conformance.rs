//! The SQLite store passes the suite that every store passes.

use std::path::Path;
use std::sync::Arc;

use work_core::store::Inspect;
use work_core::{Clock, JobId};
use work_sqlite::SqliteStore;

/// A file of its own for each test, below the target directory.
async fn make(clock: Clock) -> Arc<dyn Inspect> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}.db", JobId::new()));
    Arc::new(SqliteStore::builder(path).clock(clock).open().await.expect("opened"))
}

work_core::conformance!(make);

work_core::model!(make);
