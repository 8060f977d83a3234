#![doc = include_str!("../README.md")]

#[macro_use]
mod accessors;
#[macro_use]
mod admit;
mod ending;
mod guard;
#[macro_use]
mod in_span;
mod setting;
#[macro_use]
mod watched;

pub mod adaptive_limit;
pub mod trace;

#[cfg(feature = "metrics")]
pub mod metrics;

#[cfg(feature = "otel")]
pub mod otel;

#[cfg(feature = "prometheus")]
pub mod prometheus;

pub mod timeout;

pub mod catch_panic;

pub mod health;

pub mod hooks;

#[cfg(feature = "log")]
pub mod log;

pub mod stats;

pub mod rate_limit;

pub mod keyed_concurrency;

pub mod circuit_breaker;

pub mod retry;

#[doc(inline)]
pub use adaptive_limit::{AdaptiveLimit, AdaptiveLimitLayer};
#[doc(inline)]
pub use catch_panic::{CatchPanic, CatchPanicLayer};
#[doc(inline)]
pub use circuit_breaker::{BreakerState, CircuitBreak, CircuitBreaker, CircuitBreakerBuilder, CircuitBreakerLayer};
#[doc(inline)]
pub use health::{Health, HealthLayer};
#[doc(inline)]
pub use hooks::{Hooks, HooksLayer};
#[doc(inline)]
pub use keyed_concurrency::{KeyedConcurrency, KeyedConcurrencyLayer};
#[cfg(feature = "log")]
#[doc(inline)]
pub use log::{AggregateLog, LogLayer};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use metrics::{Metrics, MetricsLayer};
#[cfg(feature = "otel")]
#[doc(inline)]
pub use otel::{Otel, OtelLayer, OtelWorker};
#[cfg(feature = "prometheus")]
#[doc(inline)]
pub use prometheus::Prometheus;
#[doc(inline)]
pub use rate_limit::{RateLimit, RateLimitLayer};
#[doc(inline)]
pub use retry::{Retry, RetryLayer};
pub use setting::InvalidSetting;
#[doc(inline)]
pub use stats::{Stats, StatsLayer};
#[doc(inline)]
pub use timeout::{DEFAULT_TIMEOUT, Timeout, TimeoutLayer};
#[doc(inline)]
pub use trace::{Trace, TraceLayer};

/// The documents of the repository that need this crate, so that their examples are compiled and their links checked.
pub mod _documentation {
    #[doc = include_str!("../../docs/layers.md")]
    pub mod layers {}
    #[cfg(all(feature = "http", feature = "otel", feature = "prometheus"))]
    #[doc = include_str!("../../docs/observability.md")]
    pub mod observability {}
}
