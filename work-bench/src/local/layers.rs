use std::task::{Context, Poll};

use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use work_core::handler::HandlerService;
use work_core::{BoxError as JobError, Job, Outcome, Router};

use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};

pub(crate) const LAYERS: Bench = Bench {
    name: "local_layers",
    what: "a no-op job through a router with 8 no-op layers, against bare tower with the same 8, boxed once",
    run: layers,
};

const JOBS: u64 = 1_000_000;

/// Does nothing.
#[derive(Clone)]
struct NoOp;

#[derive(Clone)]
struct Through<S>(S);

impl<S> Layer<S> for NoOp {
    type Service = Through<S>;

    fn layer(&self, inner: S) -> Through<S> {
        Through(inner)
    }
}

impl<S: Service<Job>> Service<Job> for Through<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, job: Job) -> S::Future {
        self.0.call(job)
    }
}

fn eight<S>() -> impl Layer<S, Service = Eight<S>> + Clone + Send + Sync + 'static {
    let builder = ServiceBuilder::new().layer(NoOp).layer(NoOp).layer(NoOp).layer(NoOp);
    builder.layer(NoOp).layer(NoOp).layer(NoOp).layer(NoOp).into_inner()
}

type Two<S> = Through<Through<S>>;
type Eight<S> = Two<Two<Two<Two<S>>>>;

fn layers(printer: &Printer) -> Result<(), BoxError> {
    // 1.5 times the cost is two thirds of the rate.
    printer.line("local_layers", Some(0.67), Unit::Rate, &Pairs::measure(ours, raw)?);
    printer.line("local_layers_handler", Some(0.67), Unit::Rate, &Pairs::measure(ours, handler)?);
    Ok(())
}

/// The same handler, with its context and its extractors, behind the same layers.
fn handler() -> Result<Timed, BoxError> {
    let nothing = HandlerService::<_, (), ()>::new(async || {}, ());
    calls(&BoxCloneSyncService::new(eight().layer(nothing)))
}

fn ours() -> Result<Timed, BoxError> {
    let router = Router::new().route("nothing", async || {}).layer(eight());
    calls(&router)
}

fn raw() -> Result<Timed, BoxError> {
    let nothing = tower::service_fn(|job: Job| {
        drop(job);
        std::future::ready(Ok::<_, JobError>(Outcome::done()))
    });
    calls(&BoxCloneSyncService::new(eight().layer(nothing)))
}

fn calls<S>(service: &S) -> Result<Timed, BoxError>
where
    S: Service<Job, Response = Outcome, Error = JobError> + Clone,
{
    let runtime = runtime()?;
    time(JOBS, || {
        runtime.block_on(async {
            for n in 0..JOBS {
                std::hint::black_box(service.clone().oneshot(Job::new("nothing", n)).await?);
            }
            Ok(())
        })
    })
}
