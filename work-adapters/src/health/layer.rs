use tower_layer::Layer;
use work_core::{BoxError, Job, Outcome, Status};

use super::Health;
use crate::guard::Observe;

/// Notes in a [`Health`] how every execution ends.
///
/// ```
/// use work_adapters::{Health, HealthLayer};
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let health = Health::default();
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(HealthLayer::new(health.clone())));
/// worker.perform(Job::new("greet", ())).await?.outcome().await?;
/// assert!(health.is_up());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HealthLayer {
    health: Health,
}

impl HealthLayer {
    /// A layer that notes there. Several may note in the same place, if a job passes only one of them.
    #[must_use]
    pub const fn new(health: Health) -> Self {
        Self { health }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> HealthService<S> {
        HealthService { inner, health: self.health.clone() }
    }
}

/// The service of a [`HealthLayer`].
#[derive(Clone)]
pub struct HealthService<S> {
    inner: S,
    health: Health,
}

impl<S> HealthService<S> {
    fn seen(&self, _: &Job) -> Seen {
        Seen(self.health.clone())
    }
}

struct Seen(Health);

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Result<Outcome, BoxError>>) {
        self.0.record(status);
    }
}

watched_service!(HealthService, "HealthLayer", Seen);
