//! The rates of states that the store keeps: each run has a queue of its own for a state, and all of them share one rate.

use work_core::Queue;
use work_core::limit::Rate;

use crate::FlowError;
use crate::graph::Def;
use crate::live::LiveRun;
use crate::shared::Shared;

impl Shared {
    /// Says to the store which rates the states of a run have.
    pub(crate) async fn declare_rates(&self, queues: &[Queue]) -> Result<(), FlowError> {
        let graph = &self.live.graph;
        for (def, queue) in graph.defs.iter().zip(queues) {
            let Some(given) = def.shared_rate(&graph.name) else { continue };
            let kept = self.store.declare_rate(queue.clone(), given.clone()).await?;
            if kept != given {
                let (given, kept) = (Box::new(given), Box::new(kept));
                return Err(FlowError::OtherRate { state: def.name, given, kept });
            }
        }
        Ok(())
    }

    /// A run that is over needs none.
    pub(crate) async fn forget_rates(&self, run: &LiveRun) -> Result<(), FlowError> {
        for (def, queue) in self.live.graph.defs.iter().zip(&run.queues) {
            if def.rate.is_some() {
                self.store.rate_queue(queue.clone(), None).await?;
            }
        }
        Ok(())
    }
}

impl Def {
    /// The rate of all runs in this state: by its own name, or that of the state.
    fn shared_rate(&self, workflow: &str) -> Option<Rate> {
        let rate = self.rate.clone()?;
        Some(if rate.name().is_some() { rate } else { rate.named(format!("{workflow}.{}", self.name)) })
    }
}
