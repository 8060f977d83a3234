//! Runs of workflows as a store has them: looked at, paused, cancelled, exported and imported without the code that made them.
//!
//! ```
//! use work_core::store::MemoryStore;
//! use work_dashboard::workflows;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let runs = workflows::runs(&store).await?;
//! assert!(runs.is_empty());
//! # Ok(())
//! # }
//! ```

mod act;
mod export;
mod import;
mod names;
mod read;
mod stored;

pub use act::{cancel, pause, resume, retry_failed};
pub use export::{Export, ItemView, export};
pub use import::{Imported, InvalidImport, check, import};
pub(crate) use names::of_queue;
pub use names::{InvalidRun, RunName};
pub use read::{Ended, RunPhase, RunView, StateView, run, runs};
pub(crate) use read::{run_with, runs_with};
pub use stored::Shape;
