use std::sync::Arc;

use chrono::{DateTime, Utc};
use work_core::Clock;
use work_core::store::Inspect;

use crate::cli::Global;
use crate::error::CliError;
use crate::store::StoreUrl;

/// A store that is open.
pub(crate) struct Session {
    pub(crate) store: Arc<dyn Inspect>,
    pub(crate) url: StoreUrl,
    clock: Clock,
}

impl Session {
    /// Opens the store that is meant. It must be there, and its tables of this version.
    pub(crate) async fn open(global: &Global) -> Result<Self, CliError> {
        let url = StoreUrl::of(global)?;
        let store = url.open().await?;
        Ok(Self { store, url, clock: Clock::system() })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}
