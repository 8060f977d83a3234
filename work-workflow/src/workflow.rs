use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;
use work_core::limit::{Gradient, Rate};
use work_core::{BoxError, Job, Outcome, Router};

use crate::graph::{Def, Graph};
use crate::names::{self, MAX_STATE, MAX_WORKFLOW, is_name};
use crate::{InvalidWorkflow, States, Step};

/// A workflow: states with their handlers, and the transitions between them. Checked when it is built; cheap to clone.
///
/// ```
/// use work_workflow::{InvalidWorkflow, Item, Next, Step, Workflow};
///
/// work_workflow::states! { enum Order: u32 { Pack = "pack", Ship = "ship", Done = "done" } }
///
/// async fn pack(Item(n): Item<Order>) -> Next<Order> { Next::to(Order::Ship, n) }
/// async fn ship(Item(n): Item<Order>) -> Next<Order> { Next::to(Order::Done, n) }
///
/// let orders = Workflow::builder("orders")
///     .start(Order::Pack)
///     .state(Order::Pack, Step::new(pack).to([Order::Ship]))
///     .state(Order::Ship, Step::new(ship).to([Order::Done]))
///     .terminal(Order::Done)
///     .build(())?;
/// assert!(orders.mermaid().contains("pack --> ship"));
///
/// let lost = Workflow::builder("orders")
///     .start(Order::Pack)
///     .state(Order::Pack, Step::new(pack).to([Order::Done]))
///     .state(Order::Ship, Step::new(ship).to([Order::Done]))
///     .terminal(Order::Done)
///     .build(());
/// assert!(matches!(lost, Err(InvalidWorkflow::Unreachable("ship"))));
/// # Ok::<(), InvalidWorkflow>(())
/// ```
pub struct Workflow<S> {
    pub(crate) graph: Arc<Graph>,
    /// The handlers behind their layers.
    pub(crate) router: Router,
    states: PhantomData<fn() -> S>,
}

/// Makes a [`Workflow`].
#[must_use = "a workflow is made by `build`"]
pub struct WorkflowBuilder<S, A = ()> {
    name: String,
    starts: Vec<S>,
    states: Vec<(S, Declared<S, A>)>,
    layers: Vec<AddLayer<A>>,
}

enum Declared<S, A> {
    Step(Box<Step<S, A>>),
    Terminal,
}

type AddLayer<A> = Box<dyn FnOnce(Router<A>) -> Router<A> + Send>;

/// A handler with no type left, as a layer finds it.
pub type StateService = BoxCloneSyncService<Job, Outcome, BoxError>;

impl<S: States> Workflow<S> {
    /// A workflow of this name: 1 to 16 of `A-Z a-z 0-9 _ -`, starting with a letter or a digit. It is part of the
    /// stored format.
    pub fn builder<A: Clone + Send + Sync + 'static>(name: impl Into<String>) -> WorkflowBuilder<S, A> {
        WorkflowBuilder { name: name.into(), starts: Vec::new(), states: Vec::new(), layers: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// The states and transitions as a Mermaid diagram.
    #[must_use]
    pub fn mermaid(&self) -> String {
        self.graph.mermaid()
    }

    /// The states and transitions as a graph for Graphviz. Dotted arrows are kicks.
    #[must_use]
    pub fn dot(&self) -> String {
        self.graph.dot()
    }
}

impl<S: States, A: Clone + Send + Sync + 'static> WorkflowBuilder<S, A> {
    /// A state that items may be added in. At least one.
    pub fn start(mut self, state: S) -> Self {
        self.starts.push(state);
        self
    }

    /// What happens in a state.
    pub fn state(mut self, state: S, step: Step<S, A>) -> Self {
        self.states.push((state, Declared::Step(Box::new(step))));
        self
    }

    /// A state in which items end.
    pub fn terminal(mut self, state: S) -> Self {
        self.states.push((state, Declared::Terminal));
        self
    }

    /// Wraps the handler of every state, also of those that are declared later. The last layer added is the outermost.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<StateService> + Clone + Send + Sync + 'static,
        L::Service: Service<Job, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Job>>::Error: Into<BoxError>,
        <L::Service as Service<Job>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(move |router| router.layer(layer)));
        self
    }

    /// Checks everything, and gives the handlers the application's context.
    ///
    /// # Errors
    ///
    /// [`InvalidWorkflow`] names the state and what is wrong with it.
    pub fn build(self, application: A) -> Result<Workflow<S>, InvalidWorkflow> {
        let Self { name, starts, states, layers } = self;
        if !is_name(&name, MAX_WORKFLOW) {
            return Err(InvalidWorkflow::Name { what: "workflow", given: work_core::cut(&name), most: MAX_WORKFLOW });
        }
        check_names::<S>()?;
        let mut graph = Graph::new(name, S::ALL.iter().map(|state| state.name()));
        let mut router = Router::new();
        for start in starts {
            graph.starts.push(index(start, || "`start`".to_owned())?);
        }
        for (state, declared) in states {
            let at = index(state, || "the workflow".to_owned())?;
            if graph.defs[at].declared {
                return Err(InvalidWorkflow::Twice(state.name()));
            }
            let def = &mut graph.defs[at];
            def.declared = true;
            if let Declared::Step(step) = declared {
                router = add(def, state, *step, router)?;
            }
        }
        graph.check()?;
        let router = layers.into_iter().fold(router, |router, layer| layer(router));
        Ok(Workflow { graph: Arc::new(graph), router: router.with_state(application), states: PhantomData })
    }
}

fn add<S: States, A>(
    def: &mut Def,
    state: S,
    step: Step<S, A>,
    router: Router<A>,
) -> Result<Router<A>, InvalidWorkflow> {
    let of = |states: Vec<S>| -> Result<Vec<usize>, InvalidWorkflow> {
        states.into_iter().map(|to| index(to, || format!("state {:?}", state.name()))).collect()
    };
    def.terminal = false;
    def.to = of(step.to)?;
    def.kicks = of(step.kicks)?;
    def.dead = of(step.dead.into_iter().collect())?.first().copied();
    def.concurrency = step.gradient.as_ref().map_or(step.concurrency, Gradient::max);
    def.gradient = step.gradient;
    if let Some(Err(source)) = step.rate.as_ref().map(Rate::validate) {
        return Err(InvalidWorkflow::Rate { state: state.name(), source });
    }
    def.rate = step.rate;
    def.max_attempts = step.max_attempts;
    def.timeout = step.timeout;
    def.retry = step.retry;
    def.limit = step.limit;
    Ok((step.route)(router, def.kind.clone())?)
}

fn index<S: States>(state: S, by: impl Fn() -> String) -> Result<usize, InvalidWorkflow> {
    let found = S::ALL.iter().position(|known| *known == state);
    found.ok_or_else(|| InvalidWorkflow::Unknown { given: state.name(), by: by() })
}

fn check_names<S: States>() -> Result<(), InvalidWorkflow> {
    for (n, state) in S::ALL.iter().enumerate() {
        let name = state.name();
        if !is_name(name, MAX_STATE) || name == names::SIGNAL {
            return Err(InvalidWorkflow::Name { what: "state", given: work_core::cut(name), most: MAX_STATE });
        }
        if S::ALL[..n].iter().any(|other| other.name() == name) {
            return Err(InvalidWorkflow::DoubleName(name));
        }
    }
    Ok(())
}

impl<S> Clone for Workflow<S> {
    fn clone(&self) -> Self {
        Self { graph: self.graph.clone(), router: self.router.clone(), states: PhantomData }
    }
}

impl<S> fmt::Debug for Workflow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").field("name", &self.graph.name).finish_non_exhaustive()
    }
}

impl<S, A> fmt::Debug for WorkflowBuilder<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
