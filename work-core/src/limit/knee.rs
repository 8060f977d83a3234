//! The model: a server whose attempts take their time as long as at most so many run at once, and with more, as many times
//! longer as there are too many. Nothing but the rule says how many run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// A server, and how much chance there is in how long it takes.
#[derive(Debug, Clone, Copy)]
struct Server {
    knee: f64,
    takes: f64,
    /// The standard deviation of the logarithm.
    noise: f64,
    /// The share of attempts that take 20 times as long.
    tail: f64,
}

const PLAIN: Server = Server { knee: 40.0, takes: 0.05, noise: 0.0, tail: 0.0 };

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// By the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

/// The slots after each attempt, in the order of their ends.
struct Seen(Vec<usize>);

impl Seen {
    fn last(&self, share: usize) -> &[usize] {
        &self.0[self.0.len() - self.0.len() / share..]
    }

    fn mean(&self, share: usize) -> f64 {
        let last = self.last(share);
        last.iter().sum::<usize>() as f64 / last.len() as f64
    }
}

struct Model {
    rule: Gradient,
    chance: Chance,
    now: Instant,
    /// When they end, and when they began.
    running: BinaryHeap<Reverse<(Instant, Instant)>>,
}

impl Model {
    fn new(rule: Gradient, seed: u64) -> Self {
        Self { rule, chance: Chance(seed), now: Instant::now(), running: BinaryHeap::new() }
    }

    /// Keeps all slots busy, or so many, for so many attempts.
    fn run(&mut self, server: Server, demand: usize, attempts: usize) -> Seen {
        let one = |model: &mut Self| {
            while model.running.len() < model.rule.slots().min(demand) {
                model.rule.lock().started();
                let over = ((model.running.len() + 1) as f64 / server.knee).max(1.0);
                let chance = (model.chance.normal() * server.noise - server.noise * server.noise / 2.0).exp();
                let tail = if model.chance.share() < server.tail { 20.0 } else { 1.0 };
                let ends = model.now + Duration::from_secs_f64(server.takes * over * chance * tail);
                model.running.push(Reverse((ends, model.now)));
            }
            let Some(Reverse((ends, began))) = model.running.pop() else { return 0 };
            model.now = ends;
            model.rule.ended(began, ends);
            model.rule.lock().running -= 1;
            assert!((model.rule.min()..=model.rule.max()).contains(&model.rule.slots()));
            model.rule.slots()
        };
        Seen((0..attempts).map(|_| one(self)).collect())
    }
}

/// So many attempts that there are about so many steps.
fn steps(server: Server, steps: usize) -> usize {
    steps * ENDS.max((2.5 * server.knee) as usize)
}

fn assert_near(name: &str, mean: f64, knee: f64, within: f64) {
    println!("{name}: {mean:.1} slots at a knee of {knee}, {:.2}", mean / knee);
    assert!((1.0 - within..=1.0 + within).contains(&(mean / knee)), "{name}: {mean} slots at a knee of {knee}");
}

#[test]
fn it_finds_the_knee_and_stays_within_a_quarter_of_it() {
    for knee in [5.0, 10.0, 30.0, 100.0, 300.0] {
        for noise in [0.0, 0.3, 0.6] {
            let server = Server { knee, noise, ..PLAIN };
            let mut model = Model::new(Gradient::new(1, 1_000).unwrap(), 7);
            let seen = model.run(server, usize::MAX, steps(server, 400));
            assert_near(&format!("noise {noise}"), seen.mean(2), knee, 0.25);
        }
    }
}

#[test]
fn it_follows_a_knee_that_falls_to_a_quarter_and_one_that_rises_eightfold() {
    for noise in [0.0, 0.3, 0.6] {
        let mut model = Model::new(Gradient::new(1, 500).unwrap(), 3);
        for (knee, within) in [(40.0, 150), (10.0, 150), (80.0, 150)] {
            let server = Server { knee, noise, ..PLAIN };
            let began = model.now;
            let seen = model.run(server, usize::MAX, steps(server, within));
            assert_near(&format!("noise {noise}, after {:?}", model.now - began), seen.mean(2), knee, 0.25);
        }
    }
}

#[test]
fn a_server_that_gets_three_times_slower_or_faster_as_a_whole_keeps_its_slots() {
    for noise in [0.0, 0.3] {
        let mut model = Model::new(Gradient::new(1, 500).unwrap(), 5);
        for takes in [0.05, 0.15, 0.02] {
            let server = Server { takes, noise, ..PLAIN };
            let seen = model.run(server, usize::MAX, steps(server, 200));
            assert_near(&format!("{takes} s, noise {noise}"), seen.mean(2), server.knee, 0.25);
        }
        let baseline = model.rule.baseline().unwrap();
        assert!((0.014..0.026).contains(&baseline.as_secs_f64()), "{baseline:?}");
    }
}

#[test]
fn a_start_far_above_the_knee_comes_down_although_the_first_times_were_long() {
    for noise in [0.0, 0.3] {
        let server = Server { noise, ..PLAIN };
        let mut model = Model::new(Gradient::new(1, 500).unwrap().start(200), 5);
        let seen = model.run(server, usize::MAX, 60_000);
        assert_near("from 200", seen.mean(3), server.knee, 0.25);
    }
}

#[test]
fn very_different_times_and_a_long_tail_make_no_collapse() {
    for (noise, tail) in [(1.0, 0.0), (0.3, 0.03), (0.0, 0.08)] {
        for knee in [30.0, 100.0] {
            let server = Server { knee, noise, tail, ..PLAIN };
            let mut model = Model::new(Gradient::new(1, 1_000).unwrap(), 11);
            let seen = model.run(server, usize::MAX, steps(server, 600));
            assert_near(&format!("noise {noise}, tail {tail}"), seen.mean(2), knee, 0.5);
            let few = seen.last(2).iter().filter(|slots| **slots as f64 * 3.0 < knee).count();
            assert!(few * 20 <= seen.last(2).len(), "{few} of {} times few slots", seen.last(2).len());
        }
    }
}

#[test]
fn slots_that_nobody_uses_are_not_raised() {
    let mut model = Model::new(Gradient::new(1, 500).unwrap(), 5);
    let seen = model.run(PLAIN, 8, 20_000);
    assert!(*seen.0.iter().max().unwrap() <= 20, "{:?}", seen.0.iter().max());
}

#[test]
fn a_server_without_a_knee_gets_the_most_slots_and_one_that_takes_one_at_a_time_the_least() {
    let none = Server { knee: 1e9, ..PLAIN };
    let seen = Model::new(Gradient::new(2, 64).unwrap(), 5).run(none, usize::MAX, 30_000);
    assert!(seen.mean(2) > 62.0, "{}", seen.mean(2));
    let one = Server { knee: 1.0, ..PLAIN };
    let seen = Model::new(Gradient::new(2, 64).unwrap().start(64), 5).run(one, usize::MAX, 30_000);
    assert!(seen.mean(2) < 5.0, "{}", seen.mean(2));
}

#[test]
fn bounds_that_are_none_are_refused() {
    for (min, max, why) in [
        (0, 10, "min 0 is out of range; use 1 to max, at most 1000000"),
        (11, 10, "min 11 is out of range; use 1 to max, at most 1000000"),
        (0, 0, "max 0 is out of range; use 1 to 1000000"),
        (1, 1_000_001, "max 1000001 is out of range; use 1 to 1000000"),
    ] {
        assert_eq!(Gradient::new(min, max).unwrap_err().to_string(), why);
    }
    for tolerance in [f64::NAN, 1.0, 0.5, 11.0] {
        assert!(Gradient::new(1, 2).unwrap().tolerance(tolerance).is_err(), "{tolerance}");
    }
    assert_eq!(Gradient::new(5, 9).unwrap().start(1).slots(), 5);
    assert_eq!(Gradient::new(5, 9).unwrap().start(100).slots(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Also that it is always between its bounds: the model looks after each attempt.
    #[test]
    fn whatever_the_server_is_like_the_knee_is_found(
        knee in 4_u32..150, millis in 1_u32..2_000, noise in 0.0_f64..0.5, start in 1_usize..300, seed: u64,
    ) {
        let server = Server { knee: knee.into(), takes: f64::from(millis) / 1e3, noise, tail: 0.0 };
        let rule = Gradient::new(1, 400).unwrap().start(start);
        let seen = Model::new(rule, seed).run(server, usize::MAX, steps(server, 1_500));
        let ratio = seen.mean(3) / server.knee;
        prop_assert!((0.7..=1.4).contains(&ratio), "{} slots at a knee of {knee}", seen.mean(3));
    }
}
