use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use work_core::limit::Gradient;

use crate::live::{Live, LiveRun};

/// How many items are in each state, and how fast they move: what this process saw, over all runs it works on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// In the order of the enum.
    pub states: Vec<StateStatus>,
}

/// One state of a [`Status`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StateStatus {
    /// The state.
    pub name: &'static str,
    /// True if items end here.
    pub terminal: bool,
    /// How many may run at once.
    pub concurrency: usize,
    /// Items that wait, or run in another process.
    pub waiting: u64,
    /// Items that run in this process.
    pub executing: u64,
    /// Of a terminal state: items that ended here. Of any other: steps that ended well here.
    pub completed: u64,
    /// Items that failed here for good.
    pub failed: u64,
    /// Items that were cancelled here.
    pub cancelled: u64,
    /// Attempts a second, over the last ten seconds.
    pub rate: f64,
    /// How long an attempt takes, on average.
    pub mean: Duration,
}

impl Status {
    pub(crate) fn of(live: &Live) -> Self {
        Self::of_runs(live, &live.runs())
    }

    pub(crate) fn of_runs(live: &Live, runs: &[Arc<LiveRun>]) -> Self {
        let tallies: Vec<_> = runs.iter().map(|run| run.tallies()).collect();
        let states = live.graph.defs.iter().enumerate().map(|(state, def)| {
            let sum = |count: fn(&crate::live::Tally) -> i64| {
                let sum: i64 = tallies.iter().map(|tallies| count(&tallies[state])).sum();
                u64::try_from(sum).unwrap_or(0)
            };
            StateStatus {
                name: def.name,
                terminal: def.terminal,
                concurrency: def.gradient.as_ref().map_or(def.concurrency, Gradient::slots),
                waiting: sum(|tally| tally.waiting),
                executing: sum(|tally| tally.executing),
                completed: sum(|tally| tally.completed),
                failed: sum(|tally| tally.failed),
                cancelled: sum(|tally| tally.cancelled),
                rate: live.pulses[state].rate(),
                mean: live.pulses[state].mean(),
            }
        });
        Self { states: states.collect() }
    }

    /// One state, if the workflow has it.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<&StateStatus> {
        self.states.iter().find(|state| state.name == name)
    }

    /// The state that holds the others up: the one whose waiting items need the longest, at the present time of an
    /// attempt. `None` if nothing waits.
    #[must_use]
    pub fn bottleneck(&self) -> Option<&StateStatus> {
        let needs = |state: &StateStatus| state.waiting as f64 * state.mean.as_secs_f64() / state.concurrency as f64;
        let waiting = self.states.iter().filter(|state| !state.terminal && state.waiting > 0);
        waiting.max_by(|a, b| needs(a).total_cmp(&needs(b)))
    }
}

/// A status at once, and another whenever an item has moved to another state, has ended, or has kicked others. One who
/// reads slowly gets the last of several. An item that comes back to its own state has not moved.
#[derive(Debug)]
pub struct Updates {
    live: LiveHandle,
    versions: watch::Receiver<u64>,
}

struct LiveHandle(Arc<Live>);

impl std::fmt::Debug for LiveHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live(..)")
    }
}

impl Updates {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        let mut versions = live.watch();
        versions.mark_changed();
        Self { live: LiveHandle(live), versions }
    }

    /// The next status.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Status {
        // It cannot be closed while we hold it.
        let _ = self.versions.changed().await;
        Status::of(&self.live.0)
    }

    /// The same as a stream; it never ends.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Status> + Send {
        futures_util::stream::unfold(self, |mut updates| async move { Some((updates.next().await, updates)) })
    }
}
