use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::Receipt;
use crate::worker::{check_interval, check_range, log_refused, ticks};
use crate::{Job, Kind, PerformError, Source, Worker};

/// Puts load on gradually: starts with one worker, and one more after each interval, up to a maximum.
///
/// Each of its workers performs one job after the other on a [`Worker`], and waits for the outcome before the next. What
/// they perform is the mode: a job [once](Self::once) each, a job [every](Self::every) so often each, or whatever they
/// [receive](Self::receive) from a shared source. It ends by itself when the mode does. A worker that died, by a panic of
/// the source or since its job was refused, is replaced with the next interval.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Args, ConcurrentJob, Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("probe", async || {}));
/// let load = ConcurrentJob::every(&worker, Job::new("probe", ()), Duration::from_secs(1))
///     .max_workers(20)
///     .start_interval(Duration::from_millis(100))
///     .start()?;
/// tokio::time::sleep(Duration::from_millis(450)).await;
/// assert_eq!(load.running_workers(), 5);
/// load.stop().await;
/// assert_eq!((load.running_workers(), load.performed()), (0, 5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrentJob {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stop: CancellationToken,
    ended: CancellationToken,
    running: AtomicUsize,
    performed: AtomicU64,
}

/// Settings of a [`ConcurrentJob`].
#[must_use = "nothing is performed until it is started"]
pub struct ConcurrentJobBuilder<W> {
    worker: W,
    mode: Mode,
    max_workers: usize,
    start_interval: Duration,
}

#[derive(Clone)]
enum Mode {
    Once(Job),
    Every(Job, Duration),
    Receive(Kind, Arc<Mutex<Items>>),
}

type Items = Pin<Box<dyn Receive>>;

/// A source as jobs.
trait Receive: Send {
    fn poll_job(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<(Job, Option<Receipt>)>>;
}

struct Received<T> {
    kind: Kind,
    source: Pin<Box<T>>,
}

impl<T: Source> Receive for Received<T> {
    fn poll_job(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<(Job, Option<Receipt>)>> {
        let delivery = self.source.as_mut().poll_receive(cx);
        delivery.map(|delivery| delivery.map(|delivery| delivery.into_job(self.kind.clone())))
    }
}

impl ConcurrentJob {
    /// Each worker performs the job once: `max_workers` runs in all, and then it ends.
    pub fn once<W: Worker>(worker: &W, job: Job) -> ConcurrentJobBuilder<W> {
        ConcurrentJobBuilder::new(worker, Mode::Once(job))
    }

    /// Each worker performs the job at once and then every `interval`; a run that is due while its own last one goes on
    /// does not take place. Ends when it is stopped.
    pub fn every<W: Worker>(worker: &W, job: Job, interval: Duration) -> ConcurrentJobBuilder<W> {
        ConcurrentJobBuilder::new(worker, Mode::Every(job, interval))
    }

    /// Each worker performs a job of this kind for one item after the other. Ends when the source has ended and the last
    /// of them is done.
    pub fn receive<W: Worker>(worker: &W, kind: impl Into<Kind>, source: impl Source) -> ConcurrentJobBuilder<W> {
        let kind = kind.into();
        let items: Items = Box::pin(Received { kind: kind.clone(), source: Box::pin(source) });
        ConcurrentJobBuilder::new(worker, Mode::Receive(kind, Arc::new(Mutex::new(items))))
    }

    /// Workers that are there now.
    #[must_use]
    pub fn running_workers(&self) -> usize {
        self.state.running.load(Ordering::SeqCst)
    }

    /// Jobs that have ended, whatever their outcome.
    #[must_use]
    pub fn performed(&self) -> u64 {
        self.state.performed.load(Ordering::SeqCst)
    }

    /// Starts nothing more, and waits for the jobs that run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it stopping.
    pub async fn stop(&self) {
        self.state.stop.cancel();
        self.ended().await;
    }

    /// Waits until it has ended, by itself or since it was stopped.
    ///
    /// # Cancel safety
    ///
    /// Waiting again is fine.
    pub async fn ended(&self) {
        self.state.ended.cancelled().await;
    }

    /// Waits until it has ended, or `shutdown` resolves and then what runs has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets it go on.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) {
        if self.state.ended.run_until_cancelled(shutdown).await.is_some() {
            self.stop().await;
        }
    }
}

impl<W: Worker> ConcurrentJobBuilder<W> {
    fn new(worker: &W, mode: Mode) -> Self {
        Self { worker: worker.clone(), mode, max_workers: 10, start_interval: Duration::from_secs(1) }
    }

    /// How many workers there are in the end, 1 to 1,000,000; by default 10.
    pub const fn max_workers(mut self, workers: usize) -> Self {
        self.max_workers = workers;
        self
    }

    /// How long after the one before the next worker starts, at least 1 ms; by default 1 s.
    pub const fn start_interval(mut self, interval: Duration) -> Self {
        self.start_interval = interval;
        self
    }

    /// Starts the first worker. Needs a tokio runtime around it.
    ///
    /// # Errors
    ///
    /// [`PerformError`] if the worker would refuse the job, or a setting is out of its range.
    pub fn start(self) -> Result<ConcurrentJob, PerformError> {
        check_range("max_workers", self.max_workers)?;
        check_interval("start_interval", self.start_interval)?;
        match &self.mode {
            Mode::Once(job) => self.worker.accepts(job)?,
            Mode::Every(job, interval) => {
                check_interval("interval", *interval)?;
                self.worker.accepts(job)?;
            }
            Mode::Receive(kind, _) => self.worker.accepts(&Job::new(kind.clone(), ()))?,
        }
        let state = Arc::<State>::default();
        tokio::spawn(
            Crew { settings: self, state: state.clone(), workers: JoinSet::new(), done: 0, closed: false }.run(),
        );
        Ok(ConcurrentJob { state })
    }
}

/// How the life of one worker ended.
enum End {
    /// It did what the mode asks for.
    Done,
    /// Nobody has more to do: the source has ended, or the worker was stopped.
    Closed,
    /// Its job was refused.
    Died,
}

/// All workers, and who comes next.
struct Crew<W> {
    settings: ConcurrentJobBuilder<W>,
    state: Arc<State>,
    workers: JoinSet<End>,
    /// Workers whose work is done.
    done: usize,
    closed: bool,
}

impl<W: Worker> Crew<W> {
    async fn run(mut self) {
        let _ended = self.state.ended.clone().drop_guard();
        let mut ticks = ticks(Instant::now(), self.settings.start_interval);
        let mut wanted = 1;
        self.hire(wanted);
        let stop = self.state.stop.clone();
        while !self.is_over() {
            let event = poll_fn(|cx| {
                if let Poll::Ready(Some(end)) = self.workers.poll_join_next(cx) {
                    return Poll::Ready(Some(end));
                }
                ticks.poll_tick(cx).map(|_| None)
            });
            match stop.run_until_cancelled(event).await {
                None => break,
                Some(Some(end)) => self.ended(end),
                Some(None) => {
                    wanted = self.settings.max_workers.min(wanted + 1);
                    self.hire(wanted);
                }
            }
        }
        while let Some(end) = self.workers.join_next().await {
            self.ended(end);
        }
    }

    fn is_over(&self) -> bool {
        let done = matches!(self.settings.mode, Mode::Once(_)) && self.done >= self.settings.max_workers;
        done || (self.closed && self.workers.is_empty())
    }

    fn ended(&mut self, end: Result<End, tokio::task::JoinError>) {
        match end {
            Ok(End::Done) => self.done += 1,
            Ok(End::Closed) => self.closed = true,
            Ok(End::Died) => {}
            Err(error) => tracing::error!(%error, "a worker died, and will be replaced"),
        }
    }

    /// Brings the crew to so many, those included whose work is done.
    fn hire(&mut self, wanted: usize) {
        while !self.closed && self.workers.len() + self.done < wanted {
            let (worker, mode, state) = (self.settings.worker.clone(), self.settings.mode.clone(), self.state.clone());
            // Counted from now on, also if it never gets to run.
            let counted = Counted::new(state.clone());
            self.workers.spawn(async move {
                let _counted = counted;
                work(&worker, mode, &state).await
            });
        }
    }
}

struct Counted(Arc<State>);

impl Counted {
    fn new(state: Arc<State>) -> Self {
        state.running.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The life of one worker.
async fn work<W: Worker>(worker: &W, mode: Mode, state: &State) -> End {
    match mode {
        Mode::Once(job) => match perform(worker, job.another(), None, state).await {
            Ok(()) => End::Done,
            Err(end) => end,
        },
        Mode::Every(job, interval) => {
            let mut ticks = ticks(Instant::now(), interval);
            loop {
                if let Err(end) = perform(worker, job.another(), None, state).await {
                    return end;
                }
                if state.stop.run_until_cancelled(ticks.tick()).await.is_none() {
                    return End::Closed;
                }
            }
        }
        Mode::Receive(_, items) => loop {
            let next = async { poll_next(&mut *items.lock().await).await };
            let Some(Some((job, receipt))) = state.stop.run_until_cancelled(next).await else { return End::Closed };
            if let Err(end) = perform(worker, job, receipt, state).await {
                return end;
            }
        },
    }
}

async fn poll_next(items: &mut Items) -> Option<(Job, Option<Receipt>)> {
    poll_fn(|cx| items.as_mut().poll_job(cx)).await
}

async fn perform<W: Worker>(worker: &W, job: Job, receipt: Option<Receipt>, state: &State) -> Result<(), End> {
    let kind = job.kind().clone();
    let handle = worker.perform(job).await.map_err(|error| {
        if matches!(error, PerformError::Stopped) {
            return End::Closed;
        }
        log_refused(&kind, &error);
        End::Died
    })?;
    let outcome = handle.outcome().await;
    state.performed.fetch_add(1, Ordering::SeqCst);
    if let (Some(receipt), Ok(outcome)) = (receipt, outcome) {
        receipt.tell(outcome.status());
    }
    Ok(())
}

impl fmt::Debug for ConcurrentJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrentJob")
            .field("running_workers", &self.running_workers())
            .field("performed", &self.performed())
            .finish()
    }
}

impl<W> fmt::Debug for ConcurrentJobBuilder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrentJobBuilder")
            .field("max_workers", &self.max_workers)
            .field("start_interval", &self.start_interval)
            .finish_non_exhaustive()
    }
}
