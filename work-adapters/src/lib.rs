#![doc = include_str!("../README.md")]

#[macro_use]
mod accessors;
mod guard;
#[macro_use]
mod watched;

pub mod trace;

#[cfg(feature = "metrics")]
pub mod metrics;

pub mod timeout;

pub mod catch_panic;

pub mod health;

pub mod hooks;

#[cfg(feature = "log")]
pub mod log;

pub mod stats;

#[doc(inline)]
pub use catch_panic::{CatchPanic, CatchPanicLayer};
#[doc(inline)]
pub use health::{Health, HealthLayer};
#[doc(inline)]
pub use hooks::{Hooks, HooksLayer};
#[cfg(feature = "log")]
#[doc(inline)]
pub use log::{AggregateLog, LogLayer};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use metrics::{Metrics, MetricsLayer};
#[doc(inline)]
pub use stats::{Stats, StatsLayer};
#[doc(inline)]
pub use timeout::{DEFAULT_TIMEOUT, Timeout, TimeoutLayer};
#[doc(inline)]
pub use trace::{Trace, TraceLayer};
