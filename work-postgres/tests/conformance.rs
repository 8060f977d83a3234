//! The Postgres store passes the suite that every store passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;

use work_core::Clock;
use work_core::store::Inspect;
use work_core::testing::model::ModelTest;

/// A schema of its own for each test.
async fn make(clock: Clock) -> Arc<dyn Inspect> {
    Arc::new(support::Place::new().builder().clock(clock).connect().await.expect("opened"))
}

work_core::conformance!(make);

work_core::model!(make, ModelTest::new().cases(8));
