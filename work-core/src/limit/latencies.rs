use std::time::Duration;

/// How long attempts took, in a bounded list: of very many, each second, fourth, eighth … one.
#[derive(Debug)]
pub(super) struct Latencies {
    seconds: Vec<f64>,
    count: usize,
    /// One of so many is kept.
    of: usize,
}

/// What they come to, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    /// The mean of all but the longest tenth.
    pub(super) mean: f64,
    /// How far that may be off by chance: its standard error.
    error: f64,
}

const KEPT: usize = 512;

impl Default for Latencies {
    fn default() -> Self {
        Self { seconds: Vec::new(), count: 0, of: 1 }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        self.count += 1;
        if !self.count.is_multiple_of(self.of) {
            return;
        }
        if self.seconds.len() == KEPT {
            let mut at = 0;
            self.seconds.retain(|_| {
                at += 1;
                at % 2 == 0
            });
            self.of *= 2;
        }
        self.seconds.push(took.as_secs_f64());
    }

    /// How many were added.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn sum_up(&mut self) -> Latency {
        self.seconds.sort_by(f64::total_cmp);
        let kept = &self.seconds[..(self.seconds.len() * 9).div_ceil(10)];
        let count = kept.len().max(1) as f64;
        // A time of zero is none to compare with.
        let mean = (kept.iter().sum::<f64>() / count).max(1e-9);
        let variance = kept.iter().map(|seconds| (seconds - mean).powi(2)).sum::<f64>() / count;
        Latency { mean, error: (variance / count).sqrt() }
    }
}

impl Latency {
    /// How long they took if chance made them longer.
    pub(super) fn at_least(&self) -> f64 {
        (self.mean - self.error).max(1e-9)
    }

    /// How long they took if chance made them shorter.
    pub(super) fn at_most(&self) -> f64 {
        self.mean + self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_million_only_some_are_kept_and_the_mean_is_that_of_all_but_the_longest_tenth() {
        let mut all = Latencies::default();
        (0..1_000_000).for_each(|n| all.add(Duration::from_millis(if n % 100 == 7 { 60_000 } else { 50 + n % 21 })));
        assert_eq!(all.count(), 1_000_000);
        assert!(all.seconds.len() <= KEPT, "{}", all.seconds.len());
        let latency = all.sum_up();
        assert!((0.057..0.062).contains(&latency.mean), "{latency:?}");
        assert!(latency.error < 0.001 && latency.at_least() < latency.mean, "{latency:?}");
    }
}
