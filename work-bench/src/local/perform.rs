use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, Semaphore, mpsc};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use work_adapters::{CatchPanicLayer, MetricsLayer, TimeoutLayer, TraceLayer};
use work_core::handler::HandlerService;
use work_core::{Args, BoxError as JobError, Job, LocalWorker, Outcome, Router, State, Worker};

use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};

pub(crate) const PERFORM: Bench = Bench {
    name: "local_perform",
    what: "LocalWorker with four layers, against a channel, a semaphore and a task for each job",
    run: perform,
};

const JOBS: u64 = 1_000_000;

/// Jobs at once, in both.
const CONCURRENCY: usize = 1_000;

/// Jobs that wait for a slot, in both: memory that is still in the cache.
const WAITING: usize = 4096;

type Route = BoxCloneSyncService<Job, Outcome, JobError>;

/// Counts jobs, and tells when the last has run.
#[derive(Clone, Default)]
struct Done(Arc<(AtomicU64, Notify)>);

impl Done {
    async fn all(&self) {
        self.0.1.notified().await;
    }
}

async fn count(Args(n): Args<u64>, State(done): State<Done>) {
    std::hint::black_box(n);
    if done.0.0.fetch_add(1, Ordering::Relaxed) + 1 == JOBS {
        done.0.1.notify_one();
    }
}

fn layers<S>()
-> impl Layer<S, Service: Service<Job, Response = Outcome, Error = JobError, Future: Send> + Clone + Send + Sync + 'static>
+ Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Job, Response = Outcome, Error = JobError, Future: Send> + Clone + Send + Sync + 'static,
{
    ServiceBuilder::new()
        .layer(TraceLayer::new())
        .layer(MetricsLayer::new())
        .layer(TimeoutLayer::new())
        .layer(CatchPanicLayer::new())
        .into_inner()
}

/// The handler within the layers, without any worker.
fn route(done: &Done) -> Route {
    let handler = HandlerService::<_, (Args<u64>, State<Done>), _>::new(count, done.clone());
    BoxCloneSyncService::new(layers().layer(handler))
}

fn perform(printer: &Printer) -> Result<(), BoxError> {
    printer.line("local_perform", Some(0.8), Unit::Rate, &Pairs::measure(ours, raw)?);
    printer.line("local_perform_stack", Some(0.25), Unit::Rate, &Pairs::measure(ours, called)?);
    Ok(())
}

/// The same route, called for one job after the other.
fn called() -> Result<Timed, BoxError> {
    let done = Done::default();
    let runtime = runtime()?;
    let route = route(&done);
    time(JOBS, || {
        runtime.block_on(async {
            for n in 0..JOBS {
                drop(route.clone().oneshot(Job::new("count", n)).await);
            }
            done.all().await;
            Ok(())
        })
    })
}

fn ours() -> Result<Timed, BoxError> {
    let done = Done::default();
    let runtime = runtime()?;
    let router = Router::new().route("count", count).layer(layers()).with_state(done.clone());
    time(JOBS, || {
        runtime.block_on(async {
            let worker =
                LocalWorker::builder(router).concurrency(CONCURRENCY).capacity(WAITING + CONCURRENCY).build()?;
            let producer = worker.clone();
            tokio::spawn(async move {
                for n in 0..JOBS {
                    drop(producer.perform(Job::new("count", n)).await);
                }
            });
            done.all().await;
            Ok(())
        })
    })
}

fn raw() -> Result<Timed, BoxError> {
    let done = Done::default();
    let runtime = runtime()?;
    let route = route(&done);
    time(JOBS, || {
        runtime.block_on(async {
            let (sender, mut jobs) = mpsc::channel(WAITING);
            let slots = Arc::new(Semaphore::new(CONCURRENCY));
            tokio::spawn(async move {
                while let Some(job) = jobs.recv().await {
                    let Ok(slot) = slots.clone().acquire_owned().await else { break };
                    let route = route.clone();
                    tokio::spawn(async move {
                        drop(route.oneshot(job).await);
                        drop(slot);
                    });
                }
            });
            tokio::spawn(async move {
                for n in 0..JOBS {
                    drop(sender.send(Job::new("count", n)).await);
                }
            });
            done.all().await;
            Ok(())
        })
    })
}
