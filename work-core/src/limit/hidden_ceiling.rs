//! The model: one answer a second, refused if the rate is above a ceiling that the limit does not see.

use super::*;
use crate::limit::Aimd;

/// What a simulation came to.
struct Seen {
    /// The rate of each second.
    rates: Vec<f64>,
    /// The rate after the last.
    last: f64,
    /// What was accepted, a second.
    served: f64,
    refused: f64,
    first_over: usize,
}

impl Seen {
    fn mean(&self, last: usize) -> f64 {
        self.rates[self.rates.len() - last..].iter().sum::<f64>() / last as f64
    }
}

/// `take` takes the permits of a second: a limit that looks at its use needs that.
fn simulate(limit: &dyn Adapts, take: impl Fn(Instant), steps: usize, ceiling: impl Fn(usize) -> f64) -> Seen {
    let start = Instant::now();
    let mut seen = Seen { rates: Vec::new(), last: 0.0, served: 0.0, refused: 0.0, first_over: usize::MAX };
    for step in 0..steps {
        let second = start + Duration::from_secs(step as u64);
        (0..10).for_each(|tenth| take(second + Duration::from_millis(tenth * 100)));
        let rate = limit.rate();
        let over = rate > ceiling(step);
        let answer = if over { Answer::REFUSED } else { Answer::Accepted };
        limit.observe(second + Duration::from_secs(1), answer);
        seen.refused += f64::from(u8::from(over)) / steps as f64;
        if over {
            seen.first_over = seen.first_over.min(step + 1);
        }
        seen.served += if over { 0.0 } else { rate / steps as f64 };
        seen.rates.push(rate);
        seen.last = limit.rate();
    }
    seen
}

fn adaptive(start: f64, steps: usize, ceiling: impl Fn(usize) -> f64) -> Seen {
    let limit = Adaptive::new(start, 1.0, 50_000.0).unwrap();
    simulate(&limit, |now| assert!(limit.acquire_many(now, u32::MAX) < u32::MAX), steps, ceiling)
}

fn plain(start: f64, steps: usize, ceiling: f64) -> Seen {
    let limit = Aimd::new(start, 1.0, 50_000.0).unwrap();
    simulate(&limit, |_| {}, steps, |_| ceiling)
}

#[test]
fn the_plain_rule_gives_the_known_figures_with_1_up_and_a_half_down() {
    let high = plain(50.0, 30_000, 10_000.0);
    assert_eq!((format!("{:.2}", high.last), format!("{:.2}", high.mean(2_000))), ("5044.03".into(), "8934.54".into()));
    let low = plain(8_000.0, 25_000, 10.0);
    assert_eq!((format!("{:.1}", low.last), format!("{:.2}", low.mean(2_000))), ("8.5".into(), "7.53".into()));
    assert!((0.165..0.167).contains(&low.refused), "{}", low.refused);
}

#[test]
fn a_hidden_ceiling_is_used_to_90_percent_with_2_percent_refused_from_bad_starts() {
    for (start, steps, ceiling, last) in [
        (50.0, 30_000, 10_000.0, 2_000),
        (8_000.0, 25_000, 10.0, 2_000),
        (20.0, 5_000, 100.0, 500),
        (200.0, 5_000, 10.0, 500),
    ] {
        let seen = adaptive(start, steps, |_| ceiling);
        let (whole, late) = (seen.served / ceiling, seen.mean(last) / ceiling);
        println!(
            "{ceiling} from {start}: mean {whole:.3}, late {late:.3}, refused {:.4}, first {}",
            seen.refused, seen.first_over
        );
        assert!(whole.min(late) >= 0.9 && whole.max(late) <= 1.0, "{ceiling} from {start}: {whole} {late}");
        assert!(seen.refused <= 0.02, "{ceiling} from {start}: {}", seen.refused);
    }
}

#[test]
fn a_ceiling_that_doubles_is_found_within_a_minute_whenever_it_does() {
    for moved in 300..360 {
        let seen = adaptive(5_000.0, 600, |step| if step < moved { 5_000.0 } else { 10_000.0 });
        let found = seen.rates[moved..].iter().position(|rate| *rate >= 9_000.0).unwrap();
        assert!(found <= 60, "after {found} s when it moves at {moved}");
        assert!(seen.mean(100) >= 9_000.0, "{}", seen.mean(100));
    }
}

#[test]
fn a_ceiling_that_falls_to_a_tenth_is_obeyed_within_ten_refusals() {
    let seen = adaptive(5_000.0, 600, |step| if step < 300 { 5_000.0 } else { 500.0 });
    let found = seen.rates[300..].iter().position(|rate| *rate <= 500.0).unwrap();
    assert!(found <= 10, "after {found} s");
    assert!(seen.mean(100) >= 450.0, "{}", seen.mean(100));
}

#[test]
fn a_rate_that_nobody_uses_does_not_grow() {
    let limit = Adaptive::new(10.0, 1.0, 1_000.0).unwrap();
    let start = Instant::now();
    for second in 0..100 {
        let now = start + Duration::from_secs(second);
        assert!(limit.try_acquire(now).is_ok());
        limit.observe(now, Answer::Accepted);
    }
    assert_eq!(limit.rate(), 10.0);
}

#[test]
fn after_a_refusal_that_says_two_seconds_there_is_no_permit_for_two_seconds() {
    let limit = Adaptive::new(100.0, 1.0, 1_000.0).unwrap();
    let start = Instant::now();
    limit.observe(start, Answer::Refused { retry_after: Some(Duration::from_secs(2)) });
    assert!((0..2_000).all(|ms| limit.try_acquire(start + Duration::from_millis(ms)).is_err()));
    assert!(limit.try_acquire(start + Duration::from_millis(2_100)).is_ok());
}
