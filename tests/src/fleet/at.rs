use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use work_core::JobId;
use work_core::store::Inspect;
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

use super::ledger::Ledger;

/// Where a store is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum At {
    /// In a file.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it outlives.
        outlives: Outlives,
    },
    /// On a server, in a schema.
    Postgres {
        /// The server.
        url: String,
        /// The schema.
        schema: String,
        /// What it outlives.
        outlives: Outlives,
    },
}

/// What a store is to outlive: the durability of either crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outlives {
    /// The default.
    PowerLoss,
    /// Less.
    ProcessDeath,
}

impl At {
    /// A new file in a folder.
    #[must_use]
    pub fn sqlite(dir: &Path) -> Self {
        Self::Sqlite { path: dir.join("store.db"), outlives: Outlives::PowerLoss }
    }

    /// A new schema on the server for tests; nothing if there is none.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        let url = std::env::var("WORK_TEST_POSTGRES").ok();
        if url.is_none() {
            println!("SKIPPED: WORK_TEST_POSTGRES is not set; `cargo xtask test crash` starts a server and sets it");
        }
        Some(Self::postgres_at(url?))
    }

    /// A new schema on a server.
    #[must_use]
    pub fn postgres_at(url: String) -> Self {
        let schema = format!("c_{}", JobId::new().as_uuid().simple());
        Self::Postgres { url, schema, outlives: Outlives::PowerLoss }
    }

    /// An empty store of the same sort: a file in this folder, or a schema on the same server.
    #[must_use]
    pub fn another(&self, dir: &Path) -> Self {
        match self {
            Self::Sqlite { .. } => Self::sqlite(dir),
            Self::Postgres { url, .. } => Self::postgres_at(url.clone()),
        }
    }

    /// The same store, which outlives the death of processes and nothing more.
    #[must_use]
    pub fn weak(mut self) -> Self {
        let (Self::Sqlite { outlives, .. } | Self::Postgres { outlives, .. }) = &mut self;
        *outlives = Outlives::ProcessDeath;
        self
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn open(&self) -> Result<Arc<dyn Inspect>, Box<dyn Error + Send + Sync>> {
        Ok(self.open_with_ledger().await?.0)
    }

    /// Opens it, and the ledger beside its tables.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn open_with_ledger(&self) -> Result<(Arc<dyn Inspect>, Ledger), Box<dyn Error + Send + Sync>> {
        Ok(match self {
            Self::Sqlite { path, outlives } => {
                let durability = match outlives {
                    Outlives::PowerLoss => work_sqlite::Durability::PowerLoss,
                    Outlives::ProcessDeath => work_sqlite::Durability::ProcessDeath,
                };
                let store = SqliteStore::builder(path).durability(durability).open().await?;
                (Arc::new(store), Ledger::Sqlite(path.clone(), *outlives))
            }
            Self::Postgres { url, schema, outlives } => {
                let durability = match outlives {
                    Outlives::PowerLoss => work_postgres::Durability::PowerLoss,
                    Outlives::ProcessDeath => work_postgres::Durability::ProcessDeath,
                };
                let builder = PostgresStore::builder(url).schema(schema).pool_size(4).durability(durability);
                let store = builder.connect().await?;
                (Arc::new(store.clone()), Ledger::Postgres { store, url: url.clone(), schema: schema.clone() })
            }
        })
    }
}
