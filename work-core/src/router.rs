use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context as Poll_, Poll};

use futures_util::future::{Either, Ready, ready};
use pin_project_lite::pin_project;
use tower::util::{BoxCloneSyncService, Oneshot};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::PerformError;
use crate::handler::{Handler, HandlerService};
use crate::name::InvalidName;
use crate::outcome::UnknownKind;
use crate::{BoxError, Job, Kind, Outcome};

/// Finds the handler of each kind of job. The one place where a handler's type is erased.
///
/// `S` is the state that handlers still miss; [`with_state`](Self::with_state) gives it, and a router of `()` is a
/// [`Service`] of jobs that any worker takes.
///
/// ```
/// use tower_service::Service;
/// use work_core::{Args, Job, Router, State, Status};
///
/// async fn add(Args((a, b)): Args<(u32, u32)>, State(limit): State<u32>) -> Status {
///     if a + b > limit { Status::CONFLICT } else { Status::SUCCESS }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let mut router = Router::new().route("add", add).with_state(10);
/// assert_eq!(router.call(Job::new("add", (1, 2))).await?.status(), Status::SUCCESS);
/// assert_eq!(router.call(Job::new("sub", (1, 2))).await?.status(), Status::NOT_FOUND);
/// # Ok(())
/// # }
/// ```
pub struct Router<S = ()> {
    /// Shared by clones until one of them changes.
    routes: Arc<Map<Endpoint<S>>>,
    /// The same routes once nothing is missing.
    ready: Arc<OnceLock<Routes>>,
}

/// The routes of a router that misses nothing: cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    routes: Arc<Map<Route>>,
    /// Those that came when a worker was at work already: looked at only for a kind that is not among the others.
    later: Arc<RwLock<Map<Route>>>,
}

/// Kinds are no secrets and come from the program: a quick hash will do.
type Map<T> = HashMap<Kind, T, foldhash::fast::RandomState>;

/// What performing a job through a router is.
pub(crate) type RouterFuture = Either<Oneshot<Route, Job>, Ready<Result<Outcome, BoxError>>>;

/// A handler behind its layers, with no type left.
pub(crate) type Route = BoxCloneSyncService<Job, Outcome, BoxError>;

type Endpoint<S> = Arc<dyn Fn(S) -> Route + Send + Sync>;

/// Why a router does not take a route.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The kind is no name that a store would take.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There is a handler of that kind.
    #[error("kind {0:?} has a handler already")]
    Duplicate(Kind),
}

impl<S: Clone + Send + Sync + 'static> Router<S> {
    /// A router without routes.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Arc::default(), ready: Arc::default() }
    }

    /// Adds the handler of a kind.
    ///
    /// # Panics
    ///
    /// If the kind is no valid name or has a handler already; [`try_route`](Self::try_route) answers that instead.
    #[must_use]
    #[track_caller]
    pub fn route<H: Handler<M, S>, M: 'static>(self, kind: impl Into<Kind>, handler: H) -> Self {
        match self.try_route(kind, handler) {
            Ok(router) => router,
            Err(error) => panic!("{error}"),
        }
    }

    /// Adds the handler of a kind.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if the kind is no valid name or has a handler already.
    pub fn try_route<H: Handler<M, S>, M: 'static>(
        self,
        kind: impl Into<Kind>,
        handler: H,
    ) -> Result<Self, RouteError> {
        let make = move |state: S| Route::new(HandlerService::<H, M, S>::new(handler.clone(), state));
        self.add(kind.into(), Arc::new(make))
    }

    /// Adds any service of jobs as the handler of a kind.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if the kind is no valid name or has a handler already.
    pub fn try_route_service<T>(self, kind: impl Into<Kind>, service: T) -> Result<Self, RouteError>
    where
        T: Service<Job, Response = Outcome> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send + 'static,
    {
        let route = erase(service);
        self.add(kind.into(), Arc::new(move |_| route.clone()))
    }

    fn add(mut self, kind: Kind, endpoint: Endpoint<S>) -> Result<Self, RouteError> {
        kind.validate()?;
        if self.routes.contains_key(&kind) {
            return Err(RouteError::Duplicate(kind));
        }
        Arc::make_mut(&mut self.routes).insert(kind, endpoint);
        Ok(Self { ready: Arc::default(), ..self })
    }

    /// Wraps every route that is there now; what is added later is not wrapped. Each route gets a service of its own.
    ///
    /// The last layer added is the outermost. Several at once: `tower::ServiceBuilder`, where the first is.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Job, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Job>>::Error: Into<BoxError>,
        <L::Service as Service<Job>>::Future: Send + 'static,
    {
        let wrap = |(kind, inner): (Kind, Endpoint<S>)| {
            let layer = layer.clone();
            (kind, Arc::new(move |state| erase(layer.layer(inner(state)))) as Endpoint<S>)
        };
        self.routes = Arc::new(Arc::unwrap_or_clone(self.routes).into_iter().map(wrap).collect());
        Self { ready: Arc::default(), ..self }
    }

    /// Adds the routes of another router.
    ///
    /// # Errors
    ///
    /// [`RouteError::Duplicate`] if both have a handler of one kind.
    pub fn merge(self, other: Self) -> Result<Self, RouteError> {
        Arc::unwrap_or_clone(other.routes)
            .into_iter()
            .try_fold(self, |router, (kind, endpoint)| router.add(kind, endpoint))
    }

    /// Gives the handlers their state. The router may then be merged with routers that miss another one.
    #[must_use]
    pub fn with_state<S2: Clone + Send + Sync + 'static>(self, state: S) -> Router<S2> {
        let built: Map<Route> =
            self.routes.iter().map(|(kind, endpoint)| (kind.clone(), endpoint(state.clone()))).collect();
        let fix = |(kind, route): (&Kind, &Route)| {
            let route = route.clone();
            (kind.clone(), Arc::new(move |_: S2| route.clone()) as Endpoint<S2>)
        };
        let routes = Arc::new(built.iter().map(fix).collect());
        Router { routes, ready: Arc::new(OnceLock::from(Routes { routes: Arc::new(built), later: Arc::default() })) }
    }

    /// The kinds that have a handler, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        sorted(self.routes.keys())
    }
}

/// The names, as many as a message has room for.
fn listed(kinds: &[Kind]) -> String {
    const ROOM: usize = 200;
    let mut text = String::new();
    for (at, kind) in kinds.iter().enumerate() {
        if text.len() + kind.as_str().len() > ROOM {
            return format!("{text} and {} more", kinds.len() - at);
        }
        text.push_str(if at == 0 { "" } else { ", " });
        text.push_str(kind.as_str());
    }
    if text.is_empty() { "no kind at all".to_owned() } else { text }
}

fn sorted<'k>(kinds: impl Iterator<Item = &'k Kind>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = kinds.cloned().collect();
    kinds.sort();
    kinds
}

impl Routes {
    /// Fails if no handler is of that kind.
    pub(crate) fn check_kind(&self, kind: &Kind) -> Result<(), PerformError> {
        if self.routes.contains_key::<str>(kind.borrow()) || self.later().contains_key::<str>(kind.borrow()) {
            return Ok(());
        }
        kind.validate().map_err(crate::InvalidJob::from)?;
        let later = self.later();
        let kinds = sorted(self.routes.keys().chain(later.keys()));
        Err(PerformError::UnknownKind { kind: kind.clone(), known: listed(&kinds) })
    }

    pub(crate) fn call(&self, job: Job) -> RouterFuture {
        match self.find(job.kind()) {
            Some(route) => Either::Left(Oneshot::new(route, job)),
            None => {
                let outcome = Outcome::from_error(UnknownKind(job.kind().clone()));
                job.context().set_status(outcome.status());
                Either::Right(ready(Ok(outcome)))
            }
        }
    }

    /// The handler of a job, for a loop that performs one job after the other: a route is cloned only when the kind changes.
    pub(crate) fn routed(&self, job: Job, last: &mut LastRoute) -> Result<Routed, Outcome> {
        let route = match last.0.take() {
            Some((kind, route)) if kind == *job.kind() => Some(route),
            _ => self.find(job.kind()),
        };
        match route {
            Some(route) => Ok(Routed { kind: job.kind().clone(), route: Some(route), job: Some(job), future: None }),
            None => Err(Outcome::from_error(UnknownKind(job.kind().clone()))),
        }
    }

    fn find(&self, kind: &Kind) -> Option<Route> {
        let found = self.routes.get::<str>(kind.borrow()).cloned();
        found.or_else(|| self.later().get::<str>(kind.borrow()).cloned())
    }

    /// The same routes for another worker: what it registers is its own.
    pub(crate) fn fork(&self) -> Self {
        Self { routes: self.routes.clone(), later: Arc::default() }
    }

    /// Adds the routes of a router, all or none.
    pub(crate) fn register(&self, router: Router) -> Result<(), RouteError> {
        let added = router.into_routes();
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        let taken = |kind: &&Kind| self.routes.contains_key(*kind) || later.contains_key(*kind);
        if let Some(kind) = added.routes.keys().find(taken) {
            return Err(RouteError::Duplicate(kind.clone()));
        }
        later.extend(added.routes.iter().map(|(kind, route)| (kind.clone(), route.clone())));
        Ok(())
    }

    fn later(&self) -> RwLockReadGuard<'_, Map<Route>> {
        self.later.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The route that a loop used last.
#[derive(Default)]
pub(crate) struct LastRoute(Option<(Kind, Route)>);

/// A route that performs one job, and can be kept for the next one of its kind.
pub(crate) struct Routed {
    kind: Kind,
    route: Option<Route>,
    job: Option<Job>,
    future: Option<<Route as Service<Job>>::Future>,
}

impl Routed {
    /// Keeps the route, once the job has ended.
    pub(crate) fn keep(mut self: Pin<&mut Self>, last: &mut LastRoute) {
        let kind = self.kind.clone();
        last.0 = self.route.take().map(|route| (kind, route));
    }
}

impl Future for Routed {
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(future) = &mut this.future {
                return future.as_mut().poll(cx);
            }
            let Some(route) = &mut this.route else { return Poll::Pending };
            if let Err(error) = std::task::ready!(route.poll_ready(cx)) {
                return Poll::Ready(Err(error));
            }
            let Some(job) = this.job.take() else { return Poll::Pending };
            this.future = Some(route.call(job));
        }
    }
}

fn erase<T>(service: T) -> Route
where
    T: Service<Job, Response = Outcome> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
{
    Route::new(tower::util::MapErr::new(service, Into::into))
}

impl Router<()> {
    /// The routes as a worker takes them.
    pub(crate) fn into_routes(self) -> Routes {
        self.routes().fork()
    }

    /// Builds what is not built yet; clones share it.
    fn routes(&self) -> &Routes {
        self.ready.get_or_init(|| {
            let built = self.routes.iter().map(|(kind, endpoint)| (kind.clone(), endpoint(())));
            Routes { routes: Arc::new(built.collect()), later: Arc::default() }
        })
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self { routes: self.routes.clone(), ready: self.ready.clone() }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("kinds", &self.routes.keys()).finish()
    }
}

impl Service<Job> for Router<()> {
    type Response = Outcome;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        // Each call waits for the readiness of its own route.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> ResponseFuture {
        ResponseFuture { future: self.routes().call(job) }
    }
}

pin_project! {
    /// The future of a [`Router`].
    pub struct ResponseFuture {
        #[pin]
        future: RouterFuture,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
