use std::time::{Duration, SystemTime};

/// A small generator, so that a seed is all there is to repeat a run.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 up to 1.
    pub const fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u32 << 31) as f64
    }

    /// From 0 up to `end`, without it.
    pub const fn below(&mut self, end: u64) -> u64 {
        (self.share() * end as f64) as u64
    }

    /// From one time up to another.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.share())
    }
}

/// The seed that `WORK_SEED` names, else a fresh one; printed, so that the run can be repeated.
#[must_use]
pub fn seed() -> u64 {
    let seed = std::env::var("WORK_SEED").ok().and_then(|seed| seed.parse().ok());
    // The low bits differ most.
    let seed = seed.unwrap_or_else(|| now().cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15));
    println!("seed {seed} (repeat with WORK_SEED={seed})");
    seed
}

/// Milliseconds since 1970, as in a store.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "it is compared with what another process wrote")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
