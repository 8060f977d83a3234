#![doc = include_str!("../README.md")]

mod catch_panic;
mod guard;
#[cfg(feature = "metrics")]
pub mod metrics;
mod timeout;
mod trace;

pub use catch_panic::{CatchPanic, CatchPanicLayer};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use metrics::{Metrics, MetricsLayer};
pub use timeout::{DEFAULT_TIMEOUT, Timeout, TimeoutLayer};
pub use trace::{Trace, TraceLayer};

/// The futures of the services here.
pub mod future {
    pub use crate::catch_panic::ResponseFuture as CatchPanicFuture;
    #[cfg(feature = "metrics")]
    pub use crate::metrics::ResponseFuture as MetricsFuture;
    pub use crate::timeout::ResponseFuture as TimeoutFuture;
    pub use crate::trace::ResponseFuture as TraceFuture;
}
