//! Whose turn it is: how many jobs of which queue to lease next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::queues::Queues;
use crate::Queue;

/// A plan is made in so many steps at most, however many jobs it is for.
const STEPS: usize = 1_024;

/// What each queue has had so far.
pub(super) struct Turns {
    queues: Queues,
    states: Vec<State>,
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Jobs leased, by weight: who has had least is next.
    had: f64,
    /// It had less than it was asked for last time.
    idle: bool,
    /// Jobs that are here, of a queue that has a limit.
    here: Arc<AtomicUsize>,
}

/// What to ask the store for: how many of which queue, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) turns: Vec<(usize, usize)>,
    pub(super) limit: usize,
    /// Any may be asked for.
    open: Vec<bool>,
    /// A queue may have more than it is asked for, since so many of it run here: look again when one has ended.
    pub(super) capped: Vec<bool>,
}

/// One of the jobs of a queue with a limit, until it is dropped.
pub(super) struct Ticket(Arc<AtomicUsize>, Arc<Notify>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.notify_one();
    }
}

impl Turns {
    pub(super) fn new(queues: &Queues) -> Self {
        let states = queues.names.iter().map(|_| State::default()).collect();
        Self { queues: queues.clone(), states, freed: Arc::default() }
    }

    /// What was leased ahead would start before what comes later to a queue that is before it.
    pub(super) fn leases_ahead(&self) -> bool {
        self.queues.by_weight || self.queues.names.len() == 1
    }

    /// Resolves when a job of a queue with a limit has ended since the last time.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// For `want` jobs, of which so many would start at once.
    pub(super) fn plan(&self, want: usize, free: usize) -> Plan {
        let caps: Vec<usize> = (0..self.states.len()).map(|at| self.cap(at, want, free)).collect();
        let (capped, open) = (caps.iter().map(|cap| *cap < want).collect(), caps.iter().map(|cap| *cap > 0).collect());
        let turns: Vec<(usize, usize)> = if self.queues.by_weight {
            self.shares(want, &caps)
        } else {
            caps.iter().copied().enumerate().filter(|(_, cap)| *cap > 0).collect()
        };
        let limit = turns.iter().map(|(_, most)| *most).sum::<usize>().min(want);
        Plan { turns, limit, open, capped }
    }

    fn cap(&self, at: usize, want: usize, free: usize) -> usize {
        let line = &self.queues.lines[at];
        let here = self.states[at].here.load(Ordering::SeqCst);
        let cap = line.here.map_or(want, |most| most.saturating_sub(here).min(want));
        // A job that waits here for its slot would count everywhere, and has its permit too early.
        if line.everywhere.is_some() || line.rate.is_some() { cap.min(free) } else { cap }
    }

    /// In their order, or who has had least first.
    fn by_had(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.states.len()).collect();
        if self.queues.by_weight {
            order.sort_by(|a, b| self.states[*a].had.total_cmp(&self.states[*b].had));
        }
        order
    }

    /// The wanted jobs among the queues that had enough last time, and before that, for each of those that had not, the
    /// share that it gets if it has something now.
    fn shares(&self, want: usize, caps: &[usize]) -> Vec<(usize, usize)> {
        let open: Vec<usize> = self.by_had().into_iter().filter(|at| caps[*at] > 0).collect();
        let (idle, busy): (Vec<usize>, Vec<usize>) = open.into_iter().partition(|at| self.states[*at].idle);
        let weight = |at: usize| f64::from(self.queues.lines[at].weight);
        let total: f64 = (0..self.states.len()).map(weight).sum();
        let share = |at: usize| ((want as f64 * weight(at) / total).ceil() as usize).clamp(1, caps[at]);
        let mut turns: Vec<(usize, usize)> = idle.into_iter().map(|at| (at, share(at))).collect();
        let mut had: Vec<f64> = self.states.iter().map(|state| state.had).collect();
        let mut given = vec![0; had.len()];
        let (step, mut left) = (want.div_ceil(STEPS).max(1), want);
        while left > 0 {
            let open = busy.iter().copied().filter(|at| given[*at] < caps[*at]);
            let Some(at) = open.min_by(|a, b| had[*a].total_cmp(&had[*b])) else { break };
            let now = step.min(left).min(caps[at] - given[at]);
            given[at] += now;
            left -= now;
            had[at] += now as f64 / weight(at);
        }
        turns.extend(busy.into_iter().filter(|at| given[*at] > 0).map(|at| (at, given[at])));
        turns
    }

    /// Notes what came of a plan: how many jobs of each queue. Answers whether a queue may have more than it was asked for, so
    /// that the share of one that had less can be its.
    pub(super) fn took(&mut self, plan: &Plan, taken: &[usize]) -> bool {
        if !self.queues.by_weight {
            return false;
        }
        let mut left = plan.limit;
        for &(at, share) in &plan.turns {
            let asked = share.min(left);
            if asked > 0 {
                self.states[at].idle = taken[at] < asked;
            }
            left -= taken[at].min(left);
        }
        // Each time this is so, somebody had a job or is known to be idle since: that ends.
        let more = self.states.iter().zip(&plan.open).any(|(state, open)| *open && !state.idle);
        for ((state, line), taken) in self.states.iter_mut().zip(&self.queues.lines).zip(taken) {
            state.had += *taken as f64 / f64::from(line.weight);
        }
        self.forgive(&plan.capped);
        more
    }

    /// Who had nothing to run, or was not allowed to, saves nothing up.
    fn forgive(&mut self, capped: &[bool]) {
        let counts = |(state, capped): (&State, &bool)| (!state.idle && !capped).then_some(state.had);
        let least = self.states.iter().zip(capped).filter_map(counts).min_by(f64::total_cmp);
        let Some(least) = least else {
            self.states.iter_mut().for_each(|state| state.had = 0.0);
            return;
        };
        for state in &mut self.states {
            state.had = (state.had - least).max(0.0);
        }
    }

    pub(super) fn find(&self, queue: &Queue) -> Option<usize> {
        let find = |queue: &Queue| self.queues.names.iter().position(|name| name == queue);
        find(queue).or_else(|| find(&queue.among()?))
    }

    pub(super) fn name(&self, at: usize) -> &Queue {
        &self.queues.names[at]
    }

    /// When a job is to start: the number-th of a queue among those that were leased together.
    pub(super) fn place(&self, at: usize, number: usize) -> f64 {
        if self.queues.by_weight { number as f64 / f64::from(self.queues.lines[at].weight) } else { 0.0 }
    }

    /// For a job that is here now.
    pub(super) fn ticket(&self, at: usize) -> Option<Ticket> {
        self.queues.lines[at].here?;
        let here = self.states[at].here.clone();
        here.fetch_add(1, Ordering::SeqCst);
        Some(Ticket(here, self.freed.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leases `rounds` times, from queues that have so many jobs. Answers how many were taken of each.
    fn lease(turns: &mut Turns, backlog: &mut [usize], want: usize, rounds: usize) -> Vec<usize> {
        let mut all = vec![0; backlog.len()];
        for _ in 0..rounds {
            let (mut left, mut taken) = (want, vec![0; backlog.len()]);
            while lease_once(turns, backlog, &mut left, &mut taken) {}
            all.iter_mut().zip(taken).for_each(|(all, taken)| *all += taken);
        }
        all
    }

    fn lease_once(turns: &mut Turns, backlog: &mut [usize], left: &mut usize, all: &mut [usize]) -> bool {
        let plan = turns.plan(*left, *left);
        let mut taken = vec![0; backlog.len()];
        let mut room = plan.limit;
        for (at, most) in &plan.turns {
            let now = (*most).min(room).min(backlog[*at]);
            backlog[*at] -= now;
            room -= now;
            taken[*at] += now;
        }
        let more = turns.took(&plan, &taken);
        *left -= taken.iter().sum::<usize>();
        all.iter_mut().zip(taken).for_each(|(all, taken)| *all += taken);
        more && *left > 0
    }

    const MANY: usize = usize::MAX / 2;

    fn three() -> Turns {
        Turns::new(&Queues::weighted([("a", 6), ("b", 3), ("c", 1)]))
    }

    #[test]
    fn shares_follow_the_weights_however_few_are_leased_at_a_time() {
        for want in [1, 2, 3, 7, 10, 64, 1_000, 5_000] {
            let all = lease(&mut three(), &mut [MANY; 3], want, 1_000);
            for (taken, share) in all.iter().zip([0.6, 0.3, 0.1]) {
                let off = *taken as f64 / (want * 1_000) as f64 - share;
                assert!(off.abs() < 0.01, "{want}: {all:?}");
            }
        }
    }

    #[test]
    fn the_share_of_an_idle_queue_goes_to_the_others_by_their_weights_and_is_not_saved_up() {
        for want in [1, 4, 10, 100] {
            let mut turns = three();
            let all = lease(&mut turns, &mut [0, MANY, MANY], want, 400);
            assert_eq!(all.iter().sum::<usize>(), 400 * want, "nobody waits for the idle one");
            assert!((all[1] as f64 / all[2] as f64 - 3.0).abs() < 0.2, "{want}: {all:?}");
            // From the first round on it has its share, and no more.
            let all = lease(&mut turns, &mut [MANY; 3], want, 40);
            assert!((all[0] as f64 / (40 * want) as f64 - 0.6).abs() < 0.08, "{want}: {all:?}");
        }
    }

    #[test]
    fn a_queue_of_which_enough_run_here_is_not_asked_for_and_saves_nothing_up() {
        let queues = Queues::weighted([("a", 6), ("b", 3)]).at_most("a", 2);
        let mut turns = Turns::new(&queues);
        let held: Vec<_> = (0..2).filter_map(|_| turns.ticket(0)).collect();
        let plan = turns.plan(10, 10);
        assert_eq!((&plan.turns, plan.limit, &plan.capped), (&vec![(1, 10)], 10, &vec![true, false]));
        assert_eq!(lease(&mut turns, &mut [MANY; 2], 10, 100), [0, 1_000]);
        drop(held);
        assert_eq!(lease(&mut turns, &mut [MANY; 2], 10, 1), [2, 8]);
    }

    #[test]
    fn a_queue_with_a_limit_everywhere_is_leased_only_into_free_slots() {
        let turns = Turns::new(&Queues::strict(["a", "b"]).at_most_everywhere("a", 5));
        assert_eq!(turns.plan(10, 2).turns, [(0, 2), (1, 10)]);
        assert_eq!(turns.plan(10, 0).turns, [(1, 10)]);
        assert!(!turns.leases_ahead());
    }

    #[test]
    fn a_strict_order_asks_for_everything_of_the_first_one_first() {
        let mut turns = Turns::new(&Queues::strict(["a", "b", "c"]));
        assert_eq!(lease(&mut turns, &mut [25, MANY, MANY], 10, 4), [25, 15, 0]);
    }
}
