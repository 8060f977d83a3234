use crate::limit::Rate;
use crate::{InvalidName, Queue};

/// The queues that a runner drains: in a strict order or by weight, and how many jobs of each run at once.
///
/// | | starts a job of a lower queue | a lower queue can starve |
/// |---|---|---|
/// | [`strict`](Self::strict) | only if the ones above have none that is due | yes, as long as the ones above have backlog |
/// | [`weighted`](Self::weighted) | by its share | no: every queue with backlog gets its share |
///
/// A list of names, as in `runner.queues(["critical", "default"])`, is a strict order.
///
/// ```
/// use work_core::runner::{InvalidQueues, Queues};
///
/// let queues = Queues::weighted([("critical", 6), ("default", 3), ("reports", 1)])
///     .at_most("reports", 2) // of the jobs that this runner runs at once
///     .at_most_everywhere("critical", 20); // over all runners of the store
/// assert!(queues.validate().is_ok());
///
/// let none = Queues::weighted([("critical", 6), ("reports", 0)]).validate();
/// assert!(matches!(none, Err(InvalidQueues::Weight { .. })));
/// ```
#[derive(Debug, Clone)]
#[must_use = "queues do nothing until a runner drains them"]
pub struct Queues {
    pub(super) names: Vec<Queue>,
    /// One for each name.
    pub(super) lines: Vec<Line>,
    pub(super) by_weight: bool,
    /// Limits that were given for queues that are not among them.
    others: Vec<Queue>,
}

/// How a queue is drained.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) weight: u32,
    /// Jobs that this runner runs at once.
    pub(super) here: Option<usize>,
    /// Jobs that are leased at once, by anyone.
    pub(super) everywhere: Option<u32>,
    /// Jobs that start in a time, by anyone.
    pub(super) rate: Option<Rate>,
}

/// Queues that no runner can drain so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQueues {
    /// There are none.
    #[error("there are no queues; use at least one queue")]
    Empty,
    /// One of them is named twice.
    #[error("queue `{0}` is named twice; name each queue once")]
    Duplicate(Queue),
    /// A weight out of its range.
    #[error("weight {given} of queue `{queue}` is out of range; use 1 to {}", Queues::MAX_WEIGHT)]
    Weight {
        /// Of which queue.
        queue: Queue,
        /// What was given.
        given: u32,
    },
    /// A limit of 0.
    #[error("queue `{0}` may run at most 0 jobs; use at least 1, or pause the queue")]
    NoRoom(Queue),
    /// A limit for a queue that is not drained here.
    #[error("a limit is given for queue `{0}`, which is none of the queues that are drained here")]
    NotDrained(Queue),
    /// Over all runners, the queue has another limit already.
    #[error(
        "queue `{queue}` may run at most {given} jobs everywhere, but its store says {kept}; give the same, give none, \
         or change it with `Inspect::limit_queue`"
    )]
    OtherLimit {
        /// Which queue.
        queue: Queue,
        /// What was given here.
        given: u32,
        /// What the store keeps.
        kept: u32,
    },
    /// Over all runners, the queue has another rate already.
    #[error(
        "jobs of queue `{queue}` may start at {given}, but its store says {kept}; give the same, give none, or change it \
         with `Inspect::rate_queue`"
    )]
    OtherRate {
        /// Which queue.
        queue: Queue,
        /// What was given here.
        given: Box<Rate>,
        /// What the store keeps.
        kept: Box<Rate>,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl Queues {
    /// The largest weight.
    pub const MAX_WEIGHT: u32 = 1_000_000;

    /// A job of a queue starts only if the queues before it have none that is due. With several queues nothing is leased
    /// ahead, so that this is exact at the moment of each start. A queue can starve as long as those before it have
    /// backlog.
    pub fn strict(queues: impl IntoIterator<Item = impl Into<Queue>>) -> Self {
        Self::new(queues.into_iter().map(|queue| (queue.into(), 1)).collect(), false)
    }

    /// While all of them have backlog, jobs start in proportion to these weights, 1 to 1,000,000. A queue that has nothing
    /// due leaves its share to the others at once, in proportion to theirs, and saves nothing up.
    pub fn weighted(queues: impl IntoIterator<Item = (impl Into<Queue>, u32)>) -> Self {
        Self::new(queues.into_iter().map(|(queue, weight)| (queue.into(), weight)).collect(), true)
    }

    fn new(queues: Vec<(Queue, u32)>, by_weight: bool) -> Self {
        let line = |weight| Line { weight, here: None, everywhere: None, rate: None };
        let (names, lines) = queues.into_iter().map(|(name, weight)| (name, line(weight))).unzip();
        Self { names, lines, by_weight, others: Vec::new() }
    }

    /// At most so many jobs of this queue run in this runner at once. It leases no more of them than that.
    pub fn at_most(self, queue: impl Into<Queue>, jobs: usize) -> Self {
        self.change(queue.into(), |line| line.here = Some(jobs))
    }

    /// At most so many jobs of this queue are leased at once by all runners of the store, which keeps this number and holds
    /// every runner to it: see [`Store::declare_limit`](crate::Store::declare_limit). A runner that says another number is
    /// refused when it starts, one that says nothing is held to it.
    ///
    /// The jobs of a runner that crashed count until their leases have ended and were taken back.
    ///
    /// Of the queues of [each key](Queue::each_key) it is the limit of each of them:
    ///
    /// ```
    /// use work_core::{Job, Queue, runner::Queues};
    ///
    /// let job = Job::new("mail", "hello").queue(Queue::of_key("mail", "tenant-7"));
    /// let one_of_a_tenant = Queues::strict(["mail:*"]).at_most_everywhere("mail:*", 1);
    /// assert!(job.validate().is_ok() && one_of_a_tenant.validate().is_ok());
    /// ```
    pub fn at_most_everywhere(self, queue: impl Into<Queue>, jobs: u32) -> Self {
        self.change(queue.into(), |line| line.everywhere = Some(jobs))
    }

    /// Jobs of this queue start at no more than this rate, by all runners of the store, which keeps it and holds every runner
    /// to it: see [`Store::declare_rate`](crate::Store::declare_rate). A job that has to wait costs no lease and no attempt.
    /// A runner that says another rate is refused when it starts; one that says nothing is held to it, but may lease jobs a
    /// moment before they start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::{limit::Rate, runner::Queues};
    ///
    /// let rate = Rate::even(100, Duration::from_secs(1))?;
    /// assert!(Queues::strict(["mail"]).rate_everywhere("mail", rate).validate().is_ok());
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    pub fn rate_everywhere(self, queue: impl Into<Queue>, rate: Rate) -> Self {
        self.change(queue.into(), |line| line.rate = Some(rate))
    }

    fn change(mut self, queue: Queue, change: impl FnOnce(&mut Line)) -> Self {
        match self.names.iter().position(|name| *name == queue) {
            Some(at) => change(&mut self.lines[at]),
            None => self.others.push(queue),
        }
        self
    }

    /// Checks the names, the weights and the limits.
    ///
    /// # Errors
    ///
    /// [`InvalidQueues`] says which is wrong, and what is accepted.
    pub fn validate(&self) -> Result<(), InvalidQueues> {
        if self.names.is_empty() {
            return Err(InvalidQueues::Empty);
        }
        for (at, (queue, line)) in self.names.iter().zip(&self.lines).enumerate() {
            queue.validate_drained()?;
            if self.names[..at].contains(queue) {
                return Err(InvalidQueues::Duplicate(queue.clone()));
            }
            if line.weight == 0 || line.weight > Self::MAX_WEIGHT {
                return Err(InvalidQueues::Weight { queue: queue.clone(), given: line.weight });
            }
            if line.here == Some(0) || line.everywhere == Some(0) {
                return Err(InvalidQueues::NoRoom(queue.clone()));
            }
            line.rate.as_ref().map_or(Ok(()), Rate::validate)?;
        }
        self.others.first().map_or(Ok(()), |queue| Err(InvalidQueues::NotDrained(queue.clone())))
    }

    /// The limits that hold everywhere.
    pub(super) fn declared(&self) -> impl Iterator<Item = (&Queue, u32)> {
        self.names.iter().zip(&self.lines).filter_map(|(queue, line)| Some((queue, line.everywhere?)))
    }

    /// The rates that hold everywhere.
    pub(super) fn rates(&self) -> impl Iterator<Item = (&Queue, &Rate)> {
        self.names.iter().zip(&self.lines).filter_map(|(queue, line)| Some((queue, line.rate.as_ref()?)))
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::strict([Queue::DEFAULT])
    }
}

impl<Q: Into<Queue>, const N: usize> From<[Q; N]> for Queues {
    fn from(queues: [Q; N]) -> Self {
        Self::strict(queues)
    }
}

impl<Q: Into<Queue>> From<Vec<Q>> for Queues {
    fn from(queues: Vec<Q>) -> Self {
        Self::strict(queues)
    }
}

impl<Q: Into<Queue> + Clone> From<&[Q]> for Queues {
    fn from(queues: &[Q]) -> Self {
        Self::strict(queues.iter().cloned())
    }
}
