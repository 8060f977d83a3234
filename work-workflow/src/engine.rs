use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use work_core::Clock;
use work_core::runner::Report;
use work_core::store::Inspect;

use crate::live::{Live, LiveRun};
use crate::shared::{Shared, discoveries};
use crate::{FlowError, Run, States, Status, Updates, Workflow};

/// A workflow at work on a store: makes runs, and moves their items. Cheap to clone.
///
/// Any number of processes may work on one store; each works on all runs of the workflow that are not paused or
/// cancelled. A program that only makes runs and looks at them never calls [`run_until`](Self::run_until).
///
/// ```
/// use work_core::store::MemoryStore;
/// use work_workflow::{Engine, Item, Next, Step, Workflow};
///
/// work_workflow::states! { enum Count: u32 { Up = "up", Done = "done" } }
///
/// async fn up(Item(n): Item<Count>) -> Next<Count> {
///     if n < 9 { Next::to(Count::Up, n + 1) } else { Next::to(Count::Done, n) }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let workflow = Workflow::builder("count")
///     .start(Count::Up)
///     .state(Count::Up, Step::new(up).to([Count::Up, Count::Done]))
///     .terminal(Count::Done)
///     .build(())?;
/// let engine = Engine::new(MemoryStore::new(), workflow);
/// let run = engine.create("first", &()).await?;
/// run.add_all(Count::Up, [0, 5]).await?;
///
/// engine.run_until(run.done()).await?;
/// assert_eq!(run.report().await?.state("done").completed, 2);
/// # Ok(())
/// # }
/// ```
pub struct Engine<S> {
    pub(crate) shared: Arc<Shared>,
    states: PhantomData<fn() -> S>,
}

/// Settings of an [`Engine`].
#[must_use = "an engine is made by `build`"]
pub struct EngineBuilder<S> {
    store: Arc<dyn Inspect>,
    workflow: Workflow<S>,
    clock: Clock,
    lease_for: Duration,
    grace: Duration,
    max_crashes: u32,
    discover_every: Duration,
}

impl<S: States> Engine<S> {
    /// The workflow on this store, with default settings.
    pub fn new(store: impl Inspect, workflow: Workflow<S>) -> Self {
        Self::builder(store, workflow).build()
    }

    /// The workflow on this store, with settings.
    pub fn builder(store: impl Inspect, workflow: Workflow<S>) -> EngineBuilder<S> {
        EngineBuilder {
            store: Arc::new(store),
            workflow,
            clock: Clock::system(),
            lease_for: Duration::from_secs(30),
            grace: Duration::from_secs(25),
            max_crashes: 3,
            discover_every: Duration::from_secs(10),
        }
    }

    /// A new run of this name: 1 to 24 of `A-Z a-z 0-9 _ -`, starting with a letter or a digit. `overall` is what all its
    /// items may read.
    ///
    /// # Errors
    ///
    /// [`FlowError::RunExists`] if there is or was one; [`FlowError`] for a bad name, an overall context without a JSON
    /// form, and a store that fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the run may exist all the same: [`open`](Self::open) tells.
    pub async fn create<O: Serialize + Sync>(&self, name: &str, overall: &O) -> Result<Run<S>, FlowError> {
        let _control = self.shared.control.lock().await;
        let run = self.shared.create(name, overall).await?;
        run.map(|run| self.handle(run))
            .ok_or_else(|| FlowError::RunExists { workflow: self.shared.live.graph.name.clone(), run: name.to_owned() })
    }

    /// The run of this name.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoRun`] if there is none or it was cancelled; [`FlowError::Store`] if the store fails.
    pub async fn open(&self, name: &str) -> Result<Run<S>, FlowError> {
        if self.shared.live.run(name).is_none() {
            self.shared.discover().await?;
        }
        let found = self.shared.live.run(name).map(|run| self.handle(run));
        found.ok_or_else(|| FlowError::NoRun { workflow: self.shared.live.graph.name.clone(), run: name.to_owned() })
    }

    /// The run of this name, made if it is not there: for programs that go on where the last one was killed.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), but for a run that exists; [`FlowError::NoRun`] if it was cancelled.
    pub async fn create_or_open<O: Serialize + Sync>(&self, name: &str, overall: &O) -> Result<Run<S>, FlowError> {
        match self.create(name, overall).await {
            Err(FlowError::RunExists { .. }) => self.open(name).await,
            made => made,
        }
    }

    /// Moves the items of all runs until `shutdown` resolves, and then stops gracefully: what runs may end within the
    /// grace, the rest is given back. May be called again.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store cannot be read at the start; one that fails later is waited for.
    /// [`FlowError::Invalid`] if a setting is out of its range.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops without any of that: leases end by themselves, and the steps run again.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<Report, FlowError> {
        let shared = &self.shared;
        let runners = shared.runners()?;
        shared.discover().await?;
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let mut work = JoinSet::new();
        for runner in runners {
            work.spawn(runner.run_until(stop.clone().cancelled_owned()));
        }
        tokio::spawn(discoveries(shared.clone(), stop.clone()));
        shutdown.await;
        stop.cancel();
        let mut all = Report::default();
        while let Some(Ok(report)) = work.join_next().await {
            let report = report?;
            all.performed += report.performed;
            all.stale += report.stale;
            all.released += report.released;
            all.interrupted.extend(report.interrupted);
            all.left.extend(report.left);
        }
        Ok(all)
    }

    /// How many items are where, over all runs, as far as this process saw: cheap. What other processes do in the
    /// meantime is in [`Run::report`].
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.shared.live)
    }

    /// A status now, and another whenever an item has moved. See [`Updates`].
    #[must_use]
    pub fn updates(&self) -> Updates {
        Updates::new(self.shared.live.clone())
    }

    fn handle(&self, run: Arc<LiveRun>) -> Run<S> {
        Run::new(self.shared.clone(), run)
    }
}

impl<S: States> EngineBuilder<S> {
    /// What says "now" when something is due later; by default this machine's clock. It should be the store's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long a lease lasts without being extended: how soon others take over when this process dies. At least 100 ms;
    /// by default 30 s.
    pub const fn lease_for(mut self, time: Duration) -> Self {
        self.lease_for = time;
        self
    }

    /// How long running steps may go on after the shutdown began; by default 25 s.
    pub const fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// How many attempts may end without a report before the step is a dead letter; by default 3.
    pub const fn max_crashes(mut self, attempts: u32) -> Self {
        self.max_crashes = attempts;
        self
    }

    /// How often to look for runs that other processes made, paused or cancelled; by default every 10 s. A look reads the
    /// store.
    pub const fn discover_every(mut self, time: Duration) -> Self {
        self.discover_every = time;
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine<S> {
        let Self { store, workflow, clock, lease_for, grace, max_crashes, discover_every } = self;
        let live = Arc::new(Live::new(workflow.graph));
        let control = tokio::sync::Mutex::default();
        let router = workflow.router;
        let shared = Shared { store, live, clock, router, lease_for, grace, max_crashes, discover_every, control };
        Engine { shared: Arc::new(shared), states: PhantomData }
    }
}

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), states: PhantomData }
    }
}

impl<S> fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("workflow", &self.shared.live.graph.name).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for EngineBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("workflow", &self.workflow).finish_non_exhaustive()
    }
}
