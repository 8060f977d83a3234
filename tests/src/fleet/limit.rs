use std::time::Duration;

use serde::{Deserialize, Serialize};
use work_core::limit::Rate;
use work_core::runner::Queues;
use work_core::testing::history::What;

/// What holds for a queue over all processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Limit {
    /// So many of its jobs are leased at once.
    AtMost(String, u32),
    /// So many of its jobs start in a second, and so many at once after a pause.
    Rate(String, u32, u32),
}

impl Limit {
    /// Its queue.
    pub(super) fn queue(&self) -> &str {
        match self {
            Self::AtMost(queue, _) | Self::Rate(queue, _, _) => queue,
        }
    }

    /// These queues with it.
    pub(super) fn on(&self, queues: Queues) -> Queues {
        match self {
            Self::AtMost(queue, jobs) => queues.at_most_everywhere(queue.clone(), *jobs),
            Self::Rate(queue, count, burst) => {
                let rate = Rate::even(*count, Duration::from_secs(1)).and_then(|rate| rate.burst(*burst));
                queues.rate_everywhere(queue.clone(), rate.expect("a rate"))
            }
        }
    }

    /// For the checker.
    pub(super) fn line(&self) -> What {
        match self.clone() {
            Self::AtMost(queue, at_most) => What::Limited { queue, at_most },
            Self::Rate(queue, count, burst) => What::Rated { queue, most: count + burst, within: 1_000 },
        }
    }
}
