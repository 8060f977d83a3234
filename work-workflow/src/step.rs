use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use work_core::limit::{Adapts, Gradient, Limit, Rate};
use work_core::{Backoff, Handler, Kind, RetryPolicy, RouteError, Router};

use crate::States;

/// What happens in a state: its handler, where it may lead, and how much of it at once.
///
/// `A` is the application's context, the state of the router: handlers take it, or parts of it, as
/// [`State`](work_core::State).
///
/// ```
/// use std::time::Duration;
/// use work_core::limit::Gcra;
/// use work_workflow::{Item, Next, Step};
///
/// work_workflow::states! { enum Page: String { Fetch = "fetch", Done = "done", Dead = "dead" } }
///
/// async fn fetch(Item(url): Item<Page>) -> Result<Next<Page>, std::io::Error> {
///     Ok(Next::to(Page::Done, url))
/// }
///
/// let step: Step<Page, ()> = Step::new(fetch)
///     .to([Page::Done])
///     .dead(Page::Dead)
///     .concurrency(4)
///     .max_attempts(3)
///     .timeout(Duration::from_secs(10))
///     .limit(Gcra::new(100, Duration::from_secs(1))?);
/// # drop(step);
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[must_use = "a step does nothing until it is given to a workflow"]
pub struct Step<S, A = ()> {
    pub(crate) route: AddRoute<A>,
    pub(crate) to: Vec<S>,
    pub(crate) kicks: Vec<S>,
    pub(crate) dead: Option<S>,
    pub(crate) concurrency: usize,
    pub(crate) max_attempts: u32,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: Option<StateLimit>,
    pub(crate) gradient: Option<Gradient>,
    pub(crate) rate: Option<Rate>,
}

/// Adds the handler to a router, once its kind is known.
pub(crate) type AddRoute<A> = Box<dyn FnOnce(Router<A>, Kind) -> Result<Router<A>, RouteError> + Send>;

/// How often a state may start.
#[derive(Clone)]
pub(crate) enum StateLimit {
    Fixed(Arc<dyn Limit>),
    Adaptive(Arc<dyn Adapts>),
}

impl StateLimit {
    pub(crate) fn limit(&self) -> &dyn Limit {
        match self {
            Self::Fixed(limit) => &**limit,
            Self::Adaptive(limit) => &**limit,
        }
    }
}

impl<S: States, A: Clone + Send + Sync + 'static> Step<S, A> {
    /// A state with this handler. It answers a [`Next`](crate::Next), or a `Result` of one.
    pub fn new<H: Handler<M, A>, M: 'static>(handler: H) -> Self {
        Self {
            route: Box::new(move |router, kind| router.try_route(kind, handler)),
            to: Vec::new(),
            kicks: Vec::new(),
            dead: None,
            concurrency: 10,
            max_attempts: work_core::DEFAULT_MAX_ATTEMPTS,
            retry: RetryPolicy::default(),
            timeout: None,
            limit: None,
            gradient: None,
            rate: None,
        }
    }

    /// States that it may lead to. A handler that names another one makes its item a dead letter.
    pub fn to(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.to.extend(states);
        self
    }

    /// States that new items may be started in from here.
    pub fn kicks(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.kicks.extend(states);
        self
    }

    /// Where an item goes that has failed for good; by default it is a dead letter of this state. One whose process
    /// crashed too often is a dead letter all the same.
    pub fn dead(mut self, state: S) -> Self {
        self.dead = Some(state);
        self
    }

    /// How many items are in it at once in this process, over all runs: 1 to 1,000,000, by default 10.
    pub const fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = items;
        self
    }

    /// How many attempts an item has in it: 1 to 1000, by default 25. Each state counts anew.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long to wait before the next attempt; by default attempt⁴ seconds.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.retry = self.retry.backoff(backoff);
        self
    }

    /// How long an attempt may take, at most; then it is dropped at its next await and has failed with 408.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often it may start, in this process and over all runs. An item that finds no permit is not leased: it costs
    /// no attempt. A handler that ends with 429 or 503 and says when to come again stops the whole state until then.
    pub fn limit(mut self, limit: impl Limit + 'static) -> Self {
        self.limit = Some(StateLimit::Fixed(Arc::new(limit)));
        self
    }

    /// As [`limit`](Self::limit), with one that learns from how the attempts end: 429 and 503 are refusals, and what
    /// ends well was accepted.
    pub fn adaptive(mut self, limit: impl Adapts + 'static) -> Self {
        self.limit = Some(StateLimit::Adaptive(Arc::new(limit)));
        self
    }

    /// How often it may start over all processes and runs: the store keeps the rate, by its own clock, and a lease takes a permit
    /// for each item. An item that finds none is not leased: it costs no attempt. A rate with a [name](Rate::named) is shared
    /// with the queues and the states that give the same name. May be given beside a [limit](Self::limit) of this process.
    ///
    /// An engine whose rate is another than the store keeps says [`OtherRate`](crate::FlowError::OtherRate);
    /// `Inspect::rate_queue` changes it for all.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::limit::Rate;
    /// use work_workflow::{Item, Next, Step};
    ///
    /// work_workflow::states! { enum Page: String { Fetch = "fetch", Done = "done" } }
    ///
    /// async fn fetch(Item(url): Item<Page>) -> Next<Page> {
    ///     Next::to(Page::Done, url)
    /// }
    ///
    /// let rate = Rate::even(100, Duration::from_secs(1))?.named("crm-api");
    /// let step: Step<Page, ()> = Step::new(fetch).to([Page::Done]).rate_everywhere(rate);
    /// # drop(step);
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    pub fn rate_everywhere(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// As many items in it at once as the other side takes before attempts get slower, within the bounds of the rule, instead of
    /// as many as [`concurrency`](Self::concurrency) says; off by default. The present number is the concurrency in the engine's
    /// status, and the [slots](Gradient::slots) of a clone of the rule.
    ///
    /// ```
    /// use work_core::limit::Gradient;
    /// use work_workflow::{Item, Next, Step};
    ///
    /// work_workflow::states! { enum Page: String { Fetch = "fetch", Done = "done" } }
    ///
    /// async fn fetch(Item(url): Item<Page>) -> Next<Page> {
    ///     Next::to(Page::Done, url)
    /// }
    ///
    /// let slots = Gradient::new(2, 100)?;
    /// let step: Step<Page, ()> = Step::new(fetch).to([Page::Done]).concurrency_by_latency(slots.clone());
    /// assert_eq!(slots.slots(), 2);
    /// # drop(step);
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    pub fn concurrency_by_latency(mut self, rule: Gradient) -> Self {
        self.gradient = Some(rule);
        self
    }
}

impl<S: States, A> fmt::Debug for Step<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("to", &self.to).field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}
