//! What users of a job queue count on, each with its figure, on every store. `docs/capabilities.md` lists which test shows
//! what.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod composition;
mod delayed;
mod order;
mod results;
mod retries;
mod stores;

use std::sync::{Arc, Mutex};

use work_core::{Args, Router};

/// What ran, in the order of its start.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u32>>>);

impl Log {
    pub(crate) fn push(&self, n: u32) {
        self.0.lock().unwrap().push(n);
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }

    /// A router with a kind `note` that notes its number.
    pub(crate) fn router(&self) -> Router {
        let log = self.clone();
        Router::new().route("note", move |Args(n): Args<u32>| {
            log.push(n);
            std::future::ready(())
        })
    }
}
