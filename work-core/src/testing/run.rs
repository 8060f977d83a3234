use crate::execution::Execution;
use crate::router::LastRoute;
use crate::{Context, Job, Outcome, Router};

/// Runs one job through a router as a worker would: layers, panics and all. Answers the outcome and the context that the
/// execution left behind.
///
/// ```
/// use work_core::{Args, Context, Job, Router, Status, testing};
///
/// async fn import(Args(rows): Args<u32>, context: Context) -> Status {
///     context.set("rows", rows);
///     if rows == 0 { panic!("nothing to import") } else { Status::SUCCESS }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let router = Router::new().route("import", import);
/// let (outcome, context) = testing::run(&router, Job::new("import", 7)).await;
/// assert_eq!(outcome.status(), Status::SUCCESS);
/// assert_eq!(context.get::<u32>("rows"), Some(7));
///
/// let (outcome, _) = testing::run(&router, Job::new("import", 0)).await;
/// assert_eq!(outcome.status(), Status::INTERNAL_ERROR);
/// # }
/// ```
pub async fn run(router: &Router, job: Job) -> (Outcome, Context) {
    let context = job.context().clone();
    let outcome = Execution::run(&router.clone().into_routes(), job, &mut LastRoute::default()).await;
    (outcome, context)
}
