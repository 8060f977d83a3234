use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use work_core::testing::history::{Recorder, What, follow_up};
use work_core::{
    Args, BoxError, Context, FailedJob, GroupStatus, Job, JobId, Outcome, QueueWorker, Router, State, Status, Worker,
};

use super::ledger::Ledger;

/// What the handlers of a worker process share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) recorder: Recorder,
    /// The worker itself, once it is made.
    pub(super) worker: Arc<OnceLock<QueueWorker>>,
    pub(super) ledger: Ledger,
}

/// What a job is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Task {
    /// How long it takes, in milliseconds.
    pub millis: u64,
    /// How many attempts fail before one goes well.
    pub fails: u32,
    /// The job that it performs.
    pub performs: Option<JobId>,
}

/// A job of a kind that takes so many milliseconds.
#[must_use]
pub fn task(kind: &'static str, millis: u64) -> Job {
    Job::new(kind, Task { millis, ..Task::default() })
}

/// All kinds.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("plain", plain)
        .route("flaky", flaky)
        .route("doomed", doomed)
        .route("on-error", on_error)
        .route("makes", makes)
        .route("performs", performs)
        .route("pays", pays)
        .route("callback", callback)
        .route("blocks", blocks)
        .route("aborts", aborts)
        .route("overflows", overflows)
        .route("ignores", ignores)
        .route("waits", waits)
        .with_state(shared)
}

/// A handler at work; when it is dropped, the handler has returned.
struct AtWork<'s> {
    shared: &'s Shared,
    job: JobId,
    fence: u64,
}

impl<'s> AtWork<'s> {
    fn begin(shared: &'s Shared, context: &Context) -> Self {
        let (job, fence) = (context.job_id().expect("a job"), context.fence().expect("a lease").0);
        let this = Self { shared, job, fence };
        this.note(What::Started { job, fence, attempt: context.attempt() });
        this
    }

    fn note(&self, what: What) {
        self.shared.recorder.note(what).expect("a history");
    }

    async fn effect(self, after: u64) {
        sleep(Duration::from_millis(after)).await;
        self.note(What::Effect { job: self.job, fence: self.fence });
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.note(What::Returned { job: self.job, fence: self.fence });
    }
}

async fn plain(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    AtWork::begin(&shared, &context).effect(task.millis).await;
}

async fn flaky(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) -> Status {
    AtWork::begin(&shared, &context).effect(task.millis).await;
    if context.attempt() <= task.fails { Status::UNAVAILABLE } else { Status::SUCCESS }
}

async fn doomed(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) -> Outcome {
    AtWork::begin(&shared, &context).effect(task.millis).await;
    Outcome::discard("doomed")
}

async fn on_error(State(shared): State<Shared>, context: Context, _failed: FailedJob, Args(task): Args<Task>) {
    AtWork::begin(&shared, &context).effect(task.millis).await;
}

async fn callback(State(shared): State<Shared>, context: Context, _group: GroupStatus, Args(task): Args<Task>) {
    AtWork::begin(&shared, &context).effect(task.millis).await;
}

/// Two jobs follow, new ones in each attempt.
async fn makes(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) -> Outcome {
    let at_work = AtWork::begin(&shared, &context);
    let follows = |name| follow_up(self::task("plain", task.millis), at_work.job, name);
    let outcome = Outcome::done().then(follows("left")).then(follows("right"));
    at_work.effect(task.millis).await;
    outcome
}

/// Performs a job that is the same in each attempt.
async fn performs(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) -> Outcome {
    let at_work = AtWork::begin(&shared, &context);
    let worker = shared.worker.get().expect("the worker");
    let job = self::task("plain", task.millis).with_id(task.performs.expect("an id"));
    let performed = worker.perform(job).await;
    at_work.effect(task.millis).await;
    performed.map_or_else(Outcome::from_error, |_| Outcome::done())
}

/// Completes its job in a transaction of its own.
async fn pays(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) -> Result<(), BoxError> {
    AtWork::begin(&shared, &context).effect(task.millis).await;
    shared.ledger.pay(&context).await
}

/// Blocks its thread; a second lease does not.
async fn blocks(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    let at_work = AtWork::begin(&shared, &context);
    if at_work.fence == 1 {
        std::thread::sleep(Duration::from_millis(task.millis));
    }
    at_work.effect(0).await;
}

/// Takes its process down.
async fn aborts(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    AtWork::begin(&shared, &context).effect(task.millis).await;
    std::process::abort();
}

/// Takes its process down.
async fn overflows(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    fn deeper(depth: u64) -> u64 {
        if depth == u64::MAX {
            return 0;
        }
        let here = std::hint::black_box([depth; 64]);
        deeper(depth + 1) + here[0]
    }
    AtWork::begin(&shared, &context).effect(task.millis).await;
    std::hint::black_box(deeper(0));
}

/// Does not hear that it is to stop: a thread of the pool for blocking work goes on. A second lease is short.
async fn ignores(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    let at_work = AtWork::begin(&shared, &context);
    if at_work.fence == 1 {
        let long = move || std::thread::sleep(Duration::from_millis(task.millis));
        tokio::task::spawn_blocking(long).await.expect("it ends");
    }
    at_work.effect(0).await;
}

/// Waits, and hears that it is to stop. A second lease is short.
async fn waits(State(shared): State<Shared>, context: Context, Args(task): Args<Task>) {
    let at_work = AtWork::begin(&shared, &context);
    let millis = if at_work.fence == 1 { task.millis } else { 0 };
    at_work.effect(millis).await;
}
