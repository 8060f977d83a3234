#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod args;
mod classify;
mod clock;
mod compose;
mod concurrent;
mod context;
mod derived_id;
#[cfg(feature = "encryption")]
pub mod encryption;
mod error;
mod execution;
mod extract;
mod finite;
mod handle;
pub mod handler;
mod id;
mod into_outcome;
mod job;
pub mod limit;
mod name;
mod outcome;
mod pool;
mod queue_full;
mod retry;
mod router;
pub mod runner;
mod schedule;
mod shown;
pub mod source;
mod state;
mod status;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod timings;
mod unique;
mod worker;

pub use args::{ArgsError, DEFAULT_MAX_ARGS, DEFAULT_MAX_OUTPUT, JobArgs};
pub use classify::{Classified, Classify, Failure};
pub use clock::Clock;
pub use compose::{
    Chain, ChainHandle, ChainOutcome, FailedJob, Group, GroupHandle, GroupStatus, MAX_CHAIN, MAX_FOLLOW_UPS, MAX_GROUP,
    PreviousOutput,
};
pub use concurrent::{ConcurrentJob, ConcurrentJobBuilder};
pub use context::Context;
pub use error::{
    BoxError, InvalidJob, MAX_HEADER, MAX_HEADERS, OutputError, PerformError, StoreError, StoreFault, WaitError,
};
pub use extract::{Args, Attempt, Extension, FromJob, FromRef, MissingExtension, State};
pub use handle::{Accepted, JobHandle};
#[doc(inline)]
pub use handler::Handler;
pub use into_outcome::{IntoOutcome, Json};
pub use job::{InvalidJobId, Job, JobId, MAX_ATTEMPTS, MAX_PRIORITY, MAX_TAGS, Parts};
pub use name::{InvalidName, Kind, MAX_NAME, Queue};
pub use outcome::{Directive, Outcome, UnknownKind, panic_text, status_of, status_of_result};
pub use queue_full::QueueFull;
pub use retry::{Backoff, DEFAULT_MAX_ATTEMPTS, MAX_BACKOFF, RetryPolicy};
pub use router::{RouteError, Router};
pub use schedule::{CatchUp, FieldFault, InvalidSchedule, MAX_CRON_TEXT, Overlap, Schedule, UnknownPolicy};
pub use shown::{brief, cut, shown};
#[doc(inline)]
pub use source::Source;
pub use state::{JobState, UnknownState};
pub use status::{InvalidStatus, Status};
#[doc(inline)]
pub use store::Store;
pub use timings::JobTimings;
pub use unique::{MAX_UNIQUE_KEY, OnConflict, Unique, UniqueScope};
pub use worker::{
    LocalCounts, LocalWorker, LocalWorkerBuilder, MAX_BATCH, OverflowCounts, OverflowWorker, OverflowWorkerBuilder,
    QueueWorker, QueueWorkerBuilder, Recurring, Rescued, Stopped, Worker,
};

/// Makes a function a job, see `work_macros`.
#[cfg(feature = "macros")]
pub use work_macros::{JobArgs, debug_handler, job};

/// The documents of the repository, so that their examples are compiled and their links checked.
pub mod _documentation {
    #[doc = include_str!("../../docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("../../docs/bad_input.md")]
    pub mod bad_input {}
    #[doc = include_str!("../../docs/composition.md")]
    pub mod composition {}
    #[doc = include_str!("../../docs/design.md")]
    pub mod design {}
    #[doc = include_str!("../../docs/lifecycle.md")]
    pub mod lifecycle {}
    #[doc = include_str!("../../docs/stores.md")]
    pub mod stores {}
    #[doc = include_str!("../../docs/production.md")]
    pub mod production {}
    #[doc = include_str!("../../docs/promises.md")]
    pub mod promises {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../../docs/testing.md")]
    pub mod testing {}
    #[cfg(feature = "cron")]
    #[doc = include_str!("../../docs/scheduling.md")]
    pub mod scheduling {}
}
