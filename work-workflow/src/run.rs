use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use work_core::store::Inserted;
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, Unique};

use crate::envelope::{Paused, Signalled};
use crate::live::LiveRun;
use crate::names;
use crate::report::{ItemReport, RunReport};
use crate::scan;
use crate::service::Follow;
use crate::shared::Shared;
use crate::{FlowError, States, Status};

/// A run of a workflow: a name, an overall context, and items. Cheap to clone; dropping it changes nothing.
pub struct Run<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<LiveRun>,
    states: PhantomData<fn() -> S>,
}

/// Other processes may have ended the last item.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl<S: States> Run<S> {
    pub(crate) fn new(shared: Arc<Shared>, live: Arc<LiveRun>) -> Self {
        Self { shared, live, states: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.live.name()
    }

    /// Adds an item and answers its id.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoStart`] if items cannot start in this state; [`FlowError`] for a context that cannot be stored and
    /// a store that fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the item may be added all the same. [`seed`](Self::seed) may be repeated.
    pub async fn add(&self, state: S, context: S::Context) -> Result<JobId, FlowError> {
        let id = JobId::new();
        self.insert(state, [(id, context)]).await?;
        Ok(id)
    }

    /// Adds items and answers their ids. See [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add). Items are stored a thousand at a time: after an error some may be there.
    pub async fn add_all(
        &self,
        state: S,
        contexts: impl IntoIterator<Item = S::Context> + Send,
    ) -> Result<Vec<JobId>, FlowError> {
        self.insert(state, contexts.into_iter().map(|context| (JobId::new(), context))).await
    }

    /// Adds items whose ids follow from the run and their place in the list: a repetition adds nothing twice. For
    /// programs that start over after a crash with the same list.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub async fn seed(
        &self,
        state: S,
        contexts: impl IntoIterator<Item = S::Context> + Send,
    ) -> Result<Vec<JobId>, FlowError> {
        let record = self.shared.record_id(self.name());
        let with_id = (0..).zip(contexts).map(|(n, context)| (record.follow("seed", n), context));
        self.insert(state, with_id).await
    }

    async fn insert(
        &self,
        state: S,
        items: impl IntoIterator<Item = (JobId, S::Context)>,
    ) -> Result<Vec<JobId>, FlowError> {
        let graph = &self.shared.live.graph;
        let at = graph.index(state.name()).filter(|at| graph.starts.contains(at) || graph.defs[*at].terminal);
        let at = at.ok_or_else(|| FlowError::NoStart {
            given: state.name().to_owned(),
            starts: graph.list(graph.starts.iter().copied()),
        })?;
        let (mut jobs, mut ids) = (Vec::new(), Vec::new());
        for (id, context) in items {
            let type_name = std::any::type_name::<S::Context>();
            let encode = |source| work_core::ArgsError::Encode { type_name, source };
            let context = serde_json::value::to_raw_value(&context).map_err(encode)?;
            let step = Follow { context: &*context, item: id, parent: None, step: 1 };
            jobs.push(step.job(graph, &self.live, at, id).into_stored(DEFAULT_MAX_ARGS)?);
            ids.push(id);
        }
        self.insert_jobs(at, jobs).await?;
        Ok(ids)
    }

    /// Stores first steps in a state, and counts them.
    pub(crate) async fn insert_jobs(
        &self,
        state: usize,
        jobs: Vec<work_core::store::NewJob>,
    ) -> Result<Vec<Inserted>, FlowError> {
        let count = |jobs: usize| i64::try_from(jobs).unwrap_or(i64::MAX);
        // Before they are there, since they may be leased at once.
        let expected = count(jobs.len());
        self.live.tally(state, |tally| tally.waiting += expected);
        let inserted = match self.shared.insert(jobs).await {
            Ok(inserted) => inserted,
            Err(error) => {
                self.live.tally(state, |tally| tally.waiting -= expected);
                return Err(error.into());
            }
        };
        let there = inserted.iter().filter(|inserted| matches!(inserted, Inserted::Duplicate(_))).count();
        self.live.tally(state, |tally| tally.waiting -= count(there));
        self.shared.live.arrived(state);
        self.shared.live.wake.notify_waiters();
        self.shared.live.changed();
        Ok(inserted)
    }

    /// Resolves when nothing of the run waits or runs: all its items have ended, failed for good, or were cancelled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub fn done(&self) -> impl Future<Output = ()> + Send + 'static {
        let (shared, live) = (self.shared.clone(), self.live.clone());
        async move {
            let mut changes = shared.live.watch();
            let (mut look, mut pause) = (false, LOOK_AGAIN);
            loop {
                changes.mark_unchanged();
                if look || live.open() <= 0 {
                    let began = tokio::time::Instant::now();
                    match shared.is_over(&live).await {
                        Ok(true) => return,
                        Ok(false) => pause = LOOK_AGAIN.max(20 * began.elapsed()),
                        Err(error) => {
                            tracing::warn!(%error, run = live.name(), "the end of a run could not be looked for");
                        }
                    }
                }
                // A look while items are open costs the store something: now and then, for what others do.
                look = tokio::time::timeout(pause, changes.changed()).await.is_err();
            }
        }
    }

    /// Where its items are, read from the store: exact for all processes, and it takes as long as reading the run does.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store cannot be read.
    pub async fn report(&self) -> Result<RunReport, FlowError> {
        Ok(self.scan().await?.report())
    }

    /// Its items, in the order they were made.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store cannot be read.
    pub async fn items(&self) -> Result<Vec<ItemReport>, FlowError> {
        Ok(self.scan().await?.into_sorted().into_iter().map(|seen| seen.item).collect())
    }

    /// One item.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoItem`] if the run has none of this id; [`FlowError::Store`] if the store cannot be read.
    pub async fn item(&self, id: JobId) -> Result<ItemReport, FlowError> {
        let found = self.items().await?.into_iter().find(|item| item.id == id);
        found.ok_or(FlowError::NoItem(id))
    }

    pub(crate) async fn scan(&self) -> Result<scan::Items, FlowError> {
        scan::items(&*self.shared.store, &self.shared.live.graph, &self.live).await
    }

    /// Sends an item a signal: it goes on as its [`unless`](crate::Next::unless) says, or will when it comes to wait for
    /// it, within a week. Returns when the signal is stored; a second one of the same name changes nothing.
    ///
    /// # Errors
    ///
    /// [`FlowError`] for a payload that cannot be stored, and a store that fails. Sending it again is safe.
    pub async fn signal<T: Serialize + Sync>(&self, item: JobId, name: &str, payload: &T) -> Result<(), FlowError> {
        let json = |source| FlowError::Json { what: "the payload has no JSON form", source };
        let payload: Box<RawValue> = serde_json::value::to_raw_value(payload).map_err(json)?;
        let sent = self.shared.clock.now();
        let signal = Signalled { item, name: name.to_owned(), sent, payload: &payload };
        let workflow = &self.shared.live.graph.name;
        let job = Job::from_json(names::kind(workflow, names::SIGNAL), serde_json::to_vec(&signal).map_err(json)?)
            .with_id(item.follow(name, u64::MAX - 1))
            .queue(names::queue(workflow, self.name(), names::SIGNAL));
        self.shared.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        self.shared.live.wake.notify_waiters();
        Ok(())
    }

    /// Starts no more of its items until [`resume`](Self::resume): here at once, in other processes when they look for
    /// runs the next time. What runs goes on to its end. Survives restarts.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store fails.
    pub async fn pause(&self) -> Result<(), FlowError> {
        let _control = self.shared.control().await;
        self.live.paused.store(true, Ordering::Relaxed);
        let json = |source| FlowError::Json { what: "a pause", source };
        let paused = serde_json::to_vec(&Paused { run: self.name().to_owned() }).map_err(json)?;
        let key = format!("{}.{}.pause", self.shared.live.graph.name, self.name());
        let job = self.shared.record("pause", paused).unique(Unique::new(key));
        self.shared.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        Ok(())
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store fails.
    pub async fn resume(&self) -> Result<(), FlowError> {
        let _control = self.shared.control().await;
        let records = self.shared.records().await?;
        let ours = records.iter().filter(|job| {
            let paused = serde_json::from_slice::<Paused>(&job.job.args);
            job.job.parts.kind.as_str().ends_with(".pause") && paused.is_ok_and(|paused| paused.run == self.name())
        });
        let ids = ours.map(|job| job.job.parts.id).collect();
        self.shared.store.cancel(ids).await?;
        self.live.paused.store(false, Ordering::Relaxed);
        self.shared.live.stir();
        Ok(())
    }

    /// True if it is paused, as far as this process knows.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.live.paused.load(Ordering::Relaxed)
    }

    /// Ends the run: nothing more of it starts, what waits is cancelled, and what runs is told to stop and leads to nothing
    /// more. Answers how many items were cancelled or told to stop. Other processes hear of it when they look for runs the
    /// next time.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store fails; repeat it then.
    pub async fn cancel(&self) -> Result<u64, FlowError> {
        let _control = self.shared.control().await;
        self.live.paused.store(true, Ordering::Relaxed);
        self.live.cancelled.store(true, Ordering::Relaxed);
        // The record goes last: as long as it is there, the cancellation can be repeated.
        let told = self.shared.sweep(&self.live).await?;
        self.shared.store.cancel(vec![self.shared.record_id(self.name())]).await?;
        self.shared.store.release_queues(crate::names::queues(&self.shared.live.graph.name, self.name())).await?;
        self.shared.forget_rates(&self.live).await?;
        self.shared.live.changed();
        Ok(told)
    }

    /// Takes a run that is over off the list of runs, so that engines no longer attend to it; its items stay in the store
    /// as long as that keeps them. Answers false, and does nothing, if items are open.
    ///
    /// # Errors
    ///
    /// [`FlowError::Store`] if the store fails; repeat it then.
    pub async fn close(&self) -> Result<bool, FlowError> {
        let _control = self.shared.control().await;
        if !self.shared.is_over(&self.live).await? {
            return Ok(false);
        }
        self.shared.store.cancel(vec![self.shared.record_id(self.name())]).await?;
        self.shared.store.release_queues(crate::names::queues(&self.shared.live.graph.name, self.name())).await?;
        self.shared.forget_rates(&self.live).await?;
        self.shared.live.remove(self.name());
        Ok(true)
    }

    /// How many items of this run are where, as far as this process saw: cheap. Rates and times are those of all runs.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of_runs(&self.shared.live, std::slice::from_ref(&self.live))
    }
}

impl<S> Clone for Run<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), live: self.live.clone(), states: PhantomData }
    }
}

impl<S> fmt::Debug for Run<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("name", &self.live.name()).finish_non_exhaustive()
    }
}
