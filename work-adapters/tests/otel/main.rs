//! What a collector of OpenTelemetry gets, over the network.

#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod collector;
mod many;
mod propagation;
mod spans;
