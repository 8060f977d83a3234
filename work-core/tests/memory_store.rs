//! The memory store passes the suite that every store passes.

use std::sync::Arc;

use work_core::Clock;
use work_core::store::{Inspect, MemoryStore};

async fn make(clock: Clock) -> Arc<dyn Inspect> {
    Arc::new(MemoryStore::with_clock(clock))
}

work_core::conformance!(make);

work_core::model!(make, work_core::testing::model::ModelTest::new().cases(500));
