//! What a random sequence is made of.

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

use super::Part;
use crate::store::Change;
use crate::{JobState, Overlap};

/// Which of the things that were made so far: 0 is the latest. One that is far out of range is none that there ever was.
pub(super) type Which = u16;

/// From here on, no job and no lease is meant.
pub(super) const UNKNOWN: Which = 190;

/// One call. Times are whole seconds from now.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Insert(Vec<Spec>),
    /// Inserts a job once more.
    Repeat(Which),
    Lease {
        queues: Vec<u8>,
        limit: usize,
        lease_for: u64,
    },
    Extend {
        leases: Vec<Which>,
        lease_for: u64,
    },
    Settle(Vec<Ending>),
    /// In percent.
    Progress(Vec<(Which, u8)>),
    Rescue {
        limit: usize,
        max_crashes: u32,
    },
    Cancel(Vec<Which>),
    Retry(Which),
    RunNow(Which),
    Edit(Which),
    Delete(Vec<Which>),
    ChangeAll {
        change: Change,
        of: Filter,
        limit: usize,
    },
    Get(Which),
    List {
        of: Filter,
        newest_first: bool,
        limit: usize,
    },
    Pause(u8),
    Resume(u8),
    Bound(u8, Option<u32>),
    Prune {
        after: u64,
        limit: usize,
    },
    PutSchedule {
        name: u8,
        every: u64,
        overlap: Overlap,
        job: Spec,
    },
    /// Made after another slot than the last one, if it is stale.
    Fire {
        name: u8,
        stale: bool,
        jobs: Vec<Spec>,
    },
    PauseSchedule(u8),
    ResumeSchedule(u8),
    RemoveSchedule(u8),
    Wait(u64),
}

/// A job.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) queue: u8,
    pub(super) priority: u8,
    pub(super) due: Option<i64>,
    /// After it is due.
    pub(super) expires: Option<i64>,
    pub(super) max_attempts: Option<u32>,
    pub(super) unique: Option<Key>,
    pub(super) tag: bool,
    pub(super) group: bool,
    pub(super) on_error: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: u8,
    pub(super) scope: Scope,
    pub(super) replaces: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Scope {
    Active,
    Kept,
    Within(u64),
}

/// One settlement.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) lease: Which,
    pub(super) how: How,
    pub(super) error: bool,
    pub(super) then: Vec<Spec>,
}

#[derive(Debug, Clone)]
pub(super) enum How {
    Complete,
    Retry(i64),
    Snooze(i64),
    Discard,
    Cancel,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) queue: Option<u8>,
    pub(super) state: Option<JobState>,
    pub(super) tag: bool,
    pub(super) error: bool,
    /// Accepted in the last seconds.
    pub(super) created: Option<u64>,
    /// Ended in the last seconds.
    pub(super) finished: Option<u64>,
}

/// A sequence of calls.
pub(super) fn ops(without: &[Part], most: usize) -> impl Strategy<Value = Vec<Op>> + use<> {
    vec(op(without), 1..=most)
}

fn op(without: &[Part]) -> BoxedStrategy<Op> {
    let spec = spec(without);
    let queues = proptest::sample::select(vec![vec![0], vec![0, 1], vec![1, 0], vec![1], vec![0, 1, 2]]);
    let name = 0..2_u8;
    let limit = prop_oneof![Just(100_usize), Just(1), Just(2), Just(3)];
    let calls = prop_oneof![
        20 => vec(spec.clone(), 1..4).prop_map(Op::Insert),
        2 => which().prop_map(Op::Repeat),
        20 => (queues, prop_oneof![5 => 1..5_usize, 1 => Just(0)], length())
            .prop_map(|(queues, limit, lease_for)| Op::Lease { queues, limit, lease_for }),
        4 => (vec(which(), 1..4), length()).prop_map(|(leases, lease_for)| Op::Extend { leases, lease_for }),
        20 => vec(ending(&spec), 1..4).prop_map(Op::Settle),
        2 => vec((which(), 0..=100_u8), 1..3).prop_map(Op::Progress),
        6 => (limit.clone(), 1..4_u32).prop_map(|(limit, max_crashes)| Op::Rescue { limit, max_crashes }),
        5 => vec(which(), 1..3).prop_map(Op::Cancel),
        5 => which().prop_map(Op::Retry),
        2 => which().prop_map(Op::RunNow),
        2 => which().prop_map(Op::Edit),
        3 => vec(which(), 1..3).prop_map(Op::Delete),
        2 => (select_change(), filter(), limit.clone()).prop_map(|(change, of, limit)| Op::ChangeAll { change, of, limit }),
        1 => which().prop_map(Op::Get),
        2 => (filter(), any::<bool>(), limit.clone())
            .prop_map(|(of, newest_first, limit)| Op::List { of, newest_first, limit }),
        1 => (0..3_u8).prop_map(Op::Pause),
        2 => (0..3_u8).prop_map(Op::Resume),
        2 => (0..2_u8, prop_oneof![2 => Just(None), 1 => (1..4_u32).prop_map(Some)])
            .prop_map(|(queue, jobs)| Op::Bound(queue, jobs)),
        2 => (prop_oneof![Just(0_u64), Just(5), Just(60)], limit).prop_map(|(after, limit)| Op::Prune { after, limit }),
    ];
    let schedules = prop_oneof![
        2 => (name.clone(), prop_oneof![Just(5_u64), Just(60)], overlap(), spec.clone())
            .prop_map(|(name, every, overlap, job)| Op::PutSchedule { name, every, overlap, job }),
        3 => (name.clone(), proptest::bool::weighted(0.2), vec(spec, 0..3))
            .prop_map(|(name, stale, jobs)| Op::Fire { name, stale, jobs }),
        1 => name.clone().prop_map(Op::PauseSchedule),
        1 => name.clone().prop_map(Op::ResumeSchedule),
        1 => name.prop_map(Op::RemoveSchedule),
    ];
    let wait = prop_oneof![Just(1_u64), Just(5), Just(6), Just(60)].prop_map(Op::Wait);
    prop_oneof![100 => calls, 8 => schedules, 12 => wait].boxed()
}

fn which() -> impl Strategy<Value = Which> + Clone {
    prop_oneof![6 => 0..4_u16, 3 => 0..UNKNOWN, 1 => Just(UNKNOWN)]
}

/// How long a lease lasts.
fn length() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![Just(30_u64), Just(5), Just(0)]
}

fn from_now() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![Just(0_i64), Just(-10), Just(5), Just(60)]
}

fn overlap() -> impl Strategy<Value = Overlap> + Clone {
    prop_oneof![Just(Overlap::Skip), Just(Overlap::Allow), Just(Overlap::Cancel)]
}

fn select_change() -> impl Strategy<Value = Change> + Clone {
    prop_oneof![Just(Change::Retry), Just(Change::Cancel), Just(Change::Delete)]
}

fn spec(without: &[Part]) -> BoxedStrategy<Spec> {
    let has = |part| !without.contains(&part);
    let chance = |part, chance| proptest::bool::weighted(if has(part) { chance } else { 0.0 });
    let scope = if has(Part::Windows) {
        prop_oneof![3 => Just(Scope::Active), 2 => Just(Scope::Kept), 2 => prop_oneof![Just(5_u64), Just(60)].prop_map(Scope::Within)].boxed()
    } else {
        prop_oneof![Just(Scope::Active), Just(Scope::Kept)].boxed()
    };
    let key = (0..3_u8, scope, chance(Part::ReplaceArgs, 0.3)).prop_map(|(name, scope, replaces)| Key {
        name,
        scope,
        replaces,
    });
    let expires = weighted(0.1, prop_oneof![Just(5_i64), Just(60), Just(1)]);
    let priority = prop_oneof![3 => Just(5_u8), 1 => Just(0), 1 => Just(9)];
    let parts = (0..3_u8, priority, of(from_now()), expires, weighted(0.4, 1..3_u32), weighted(0.3, key));
    (parts, proptest::bool::weighted(0.2), chance(Part::Groups, 0.05), chance(Part::OnError, 0.15))
        .prop_map(|((queue, priority, due, expires, max_attempts, unique), tag, group, on_error)| Spec {
            queue: queue % 2,
            priority,
            due,
            expires,
            max_attempts,
            unique,
            tag,
            group,
            on_error,
        })
        .boxed()
}

fn ending(spec: &BoxedStrategy<Spec>) -> BoxedStrategy<Ending> {
    let how = prop_oneof![
        4 => Just(How::Complete),
        2 => from_now().prop_map(How::Retry),
        2 => from_now().prop_map(How::Snooze),
        2 => Just(How::Discard),
        1 => Just(How::Cancel),
    ];
    let then = prop_oneof![4 => Just(Vec::new()), 1 => vec(spec.clone(), 1..3)];
    (which(), how, any::<bool>(), then).prop_map(|(lease, how, error, then)| Ending { lease, how, error, then }).boxed()
}

fn filter() -> impl Strategy<Value = Filter> + Clone {
    let state = proptest::sample::select(JobState::ALL.to_vec());
    let seconds = || prop_oneof![Just(5_u64), Just(30)];
    let flag = || proptest::bool::weighted(0.15);
    (weighted(0.3, 0..3_u8), weighted(0.4, state), flag(), flag(), weighted(0.1, seconds()), weighted(0.1, seconds()))
        .prop_map(|(queue, state, tag, error, created, finished)| Filter {
            queue,
            state,
            tag,
            error,
            created,
            finished,
        })
}
