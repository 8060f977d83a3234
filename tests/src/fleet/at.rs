use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use work_core::JobId;
use work_core::store::Inspect;
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

/// Where a store is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum At {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server, in a schema.
    Postgres {
        /// The server.
        url: String,
        /// The schema.
        schema: String,
    },
}

impl At {
    /// A new file in a folder.
    #[must_use]
    pub fn sqlite(dir: &Path) -> Self {
        Self::Sqlite(dir.join("store.db"))
    }

    /// A new schema on the server for tests; nothing if there is none.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        let url = std::env::var("WORK_TEST_POSTGRES").ok();
        if url.is_none() {
            println!("SKIPPED: WORK_TEST_POSTGRES is not set; `cargo xtask test crash` starts a server and sets it");
        }
        Some(Self::Postgres { url: url?, schema: format!("c_{}", JobId::new().as_uuid().simple()) })
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn open(&self) -> Result<Arc<dyn Inspect>, Box<dyn Error + Send + Sync>> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path).await?),
            Self::Postgres { url, schema } => {
                Arc::new(PostgresStore::builder(url).schema(schema).pool_size(4).connect().await?)
            }
        })
    }
}
