#![doc = include_str!("../README.md")]

#[macro_use]
mod accessors;
mod guard;

pub mod trace;

#[cfg(feature = "metrics")]
pub mod metrics;

pub mod timeout;

pub mod catch_panic;

#[doc(inline)]
pub use catch_panic::{CatchPanic, CatchPanicLayer};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use metrics::{Metrics, MetricsLayer};
#[doc(inline)]
pub use timeout::{DEFAULT_TIMEOUT, Timeout, TimeoutLayer};
#[doc(inline)]
pub use trace::{Trace, TraceLayer};
