//! What this process knows of the runs it works on: which there are, and how many items are where.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use work_core::{ArgsError, Queue};

use crate::graph::Graph;
use crate::names;

pub(crate) struct Live {
    pub(crate) graph: Arc<Graph>,
    runs: Mutex<Vec<Arc<LiveRun>>>,
    /// One for each state.
    pub(crate) pulses: Vec<Pulse>,
    /// Told when something may be leased that could not be before.
    pub(crate) wake: Notify,
    version: watch::Sender<u64>,
}

/// A run that this process works on.
pub(crate) struct LiveRun {
    name: String,
    overall: Bytes,
    decoded: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// The queue of each state.
    pub(crate) queues: Vec<Queue>,
    /// Queues of states that the code lacks.
    pub(crate) unknown: Mutex<Vec<String>>,
    pub(crate) paused: AtomicBool,
    /// What still runs leads to nothing more.
    pub(crate) cancelled: AtomicBool,
    /// States whose items are being moved away.
    pub(crate) held: Mutex<Vec<usize>>,
    tallies: Mutex<Vec<Tally>>,
}

/// How many items are where, as far as this process saw. Below zero for a moment, when a step is leased before the one
/// before it is counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) waiting: i64,
    pub(crate) executing: i64,
    pub(crate) completed: i64,
    pub(crate) failed: i64,
    pub(crate) cancelled: i64,
}

/// What a state did lately.
pub(crate) struct Pulse {
    /// Something may have arrived in it.
    pub(crate) arrived: AtomicBool,
    steps: AtomicU64,
    busy_nanos: AtomicU64,
    seconds: Mutex<VecDeque<(u64, u64)>>,
    since: Instant,
    /// Nothing starts before this.
    closed_until: Mutex<Option<Instant>>,
}

/// Seconds that a rate is over.
const RATE_OVER: u64 = 10;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(crate) fn new(graph: Arc<Graph>) -> Self {
        let pulses = graph.defs.iter().map(|_| Pulse::new()).collect();
        Self { graph, runs: Mutex::default(), pulses, wake: Notify::new(), version: watch::Sender::new(0) }
    }

    pub(crate) fn run(&self, name: &str) -> Option<Arc<LiveRun>> {
        lock(&self.runs).iter().find(|run| run.name == name).cloned()
    }

    pub(crate) fn runs(&self) -> Vec<Arc<LiveRun>> {
        lock(&self.runs).clone()
    }

    /// Adds a run, or answers the one that is there.
    pub(crate) fn add(&self, run: LiveRun) -> Arc<LiveRun> {
        let mut runs = lock(&self.runs);
        let run = match runs.iter().find(|known| known.name == run.name) {
            Some(known) => known.clone(),
            None => {
                let run = Arc::new(run);
                runs.push(run.clone());
                run
            }
        };
        drop(runs);
        self.stir();
        self.changed();
        run
    }

    pub(crate) fn remove(&self, name: &str) {
        lock(&self.runs).retain(|run| run.name != name);
        self.changed();
    }

    /// The runs whose items in this state may be leased, another one first each time.
    pub(crate) fn leasable(&self, state: usize, turn: usize) -> Vec<Queue> {
        let runs = lock(&self.runs);
        let open = |run: &&Arc<LiveRun>| !run.paused.load(Ordering::Relaxed) && !lock(&run.held).contains(&state);
        let mut queues: Vec<Queue> = runs.iter().filter(open).map(|run| run.queues[state].clone()).collect();
        if !queues.is_empty() {
            let at = turn % queues.len();
            queues.rotate_left(at);
        }
        queues
    }

    /// The queues of signals.
    pub(crate) fn signals(&self) -> Vec<Queue> {
        let runs = lock(&self.runs);
        let open = runs.iter().filter(|run| !run.paused.load(Ordering::Relaxed));
        open.map(|run| names::queue(&self.graph.name, &run.name, names::SIGNAL)).collect()
    }

    /// The run and the state that a queue belongs to.
    pub(crate) fn find(&self, queue: &Queue) -> Option<(Arc<LiveRun>, usize)> {
        let (run, state) = names::parts(&self.graph.name, queue.as_str())?;
        Some((self.run(run)?, self.graph.index(state)?))
    }

    /// So many items are expected in a queue.
    pub(crate) fn arrive(&self, run: &LiveRun, state: usize, items: i64) {
        run.tally(state, |tally| tally.waiting += items);
        self.arrived(state);
    }

    /// Something may be there that was not before.
    pub(crate) fn arrived(&self, state: usize) {
        self.pulses[state].arrived.store(true, Ordering::Release);
    }

    /// Everything may be leased again.
    pub(crate) fn stir(&self) {
        self.pulses.iter().for_each(|pulse| pulse.arrived.store(true, Ordering::Release));
        self.wake.notify_waiters();
    }

    /// Tells those who watch.
    pub(crate) fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

impl LiveRun {
    pub(crate) fn new(graph: &Graph, name: String, overall: Bytes) -> Self {
        let queues = graph.defs.iter().map(|def| names::queue(&graph.name, &name, def.name)).collect();
        let tallies = Mutex::new(vec![Tally::default(); graph.defs.len()]);
        Self {
            name,
            overall,
            decoded: Mutex::default(),
            queues,
            unknown: Mutex::default(),
            paused: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            held: Mutex::default(),
            tallies,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn overall(&self) -> &Bytes {
        &self.overall
    }

    /// The overall context, decoded once for each type in a row.
    pub(crate) fn decoded<O: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<O>, ArgsError> {
        let mut decoded = lock(&self.decoded);
        if let Some(Ok(value)) = decoded.clone().map(Arc::downcast::<O>) {
            return Ok(value);
        }
        let type_name = std::any::type_name::<O>();
        let value = serde_json::from_slice::<O>(&self.overall);
        let value = Arc::new(value.map_err(|source| ArgsError::Decode { type_name, source })?);
        *decoded = Some(value.clone());
        Ok(value)
    }

    pub(crate) fn tally(&self, state: usize, change: impl FnOnce(&mut Tally)) {
        if let Some(tally) = lock(&self.tallies).get_mut(state) {
            change(tally);
        }
    }

    pub(crate) fn tallies(&self) -> Vec<Tally> {
        lock(&self.tallies).clone()
    }

    /// Items that wait or run, as far as this process knows.
    pub(crate) fn open(&self) -> i64 {
        lock(&self.tallies).iter().map(|tally| tally.waiting + tally.executing).sum()
    }
}

impl fmt::Debug for LiveRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pulse {
    fn new() -> Self {
        Self {
            arrived: AtomicBool::new(true),
            steps: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            seconds: Mutex::default(),
            since: Instant::now(),
            closed_until: Mutex::default(),
        }
    }

    /// One attempt was under way for so long.
    pub(crate) fn beat(&self, took: Duration) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
        let second = self.since.elapsed().as_secs();
        let mut seconds = lock(&self.seconds);
        match seconds.back_mut().filter(|(at, _)| *at == second) {
            Some((_, count)) => *count += 1,
            None => seconds.push_back((second, 1)),
        }
        while seconds.front().is_some_and(|(at, _)| at + RATE_OVER < second) {
            seconds.pop_front();
        }
    }

    /// Nothing may start before this.
    pub(crate) fn close(&self, until: Instant) {
        let mut closed = lock(&self.closed_until);
        *closed = Some(closed.map_or(until, |before| before.max(until)));
    }

    /// How long nothing may start.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        lock(&self.closed_until).filter(|until| *until > now).map(|until| until.duration_since(now))
    }

    /// Attempts a second, over the last ten.
    pub(crate) fn rate(&self) -> f64 {
        let elapsed = self.since.elapsed().as_secs_f64();
        let oldest = (elapsed - RATE_OVER as f64).max(0.0);
        let seconds = lock(&self.seconds);
        let count: u64 = seconds.iter().filter(|(at, _)| *at as f64 >= oldest).map(|(_, count)| count).sum();
        if elapsed > 0.0 { count as f64 / elapsed.min(RATE_OVER as f64).max(0.001) } else { 0.0 }
    }

    /// The time that an attempt takes on average.
    pub(crate) fn mean(&self) -> Duration {
        let steps = self.steps.load(Ordering::Relaxed);
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed).checked_div(steps).unwrap_or(0))
    }
}
