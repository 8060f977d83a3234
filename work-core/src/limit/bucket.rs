use std::time::Duration;

use tokio::time::Instant;

/// A token bucket whose rate changes: what [`Aimd`](super::Aimd) and [`Adaptive`](super::Adaptive) take permits from.
///
/// It holds a tenth of a second at the present rate, and at least one permit.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
    /// Nothing before this.
    closed_until: Option<Instant>,
}

/// The share of a second that the bucket holds: so many permits at once after a pause.
const BURST: f64 = 0.1;

/// Sums of tokens are not exact.
const DUST: f64 = 1e-9;

impl Bucket {
    pub(super) const fn new() -> Self {
        Self { tokens: f64::INFINITY, filled: None, closed_until: None }
    }

    /// Takes up to `want` permits and answers how many there were, or how long there is none.
    pub(super) fn take(&mut self, now: Instant, rate: f64, want: u32) -> Result<u32, Duration> {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Err(until.duration_since(now));
        }
        self.fill(now, rate);
        let granted = (self.tokens + DUST).floor().min(f64::from(want));
        if granted < 1.0 {
            return Err(Duration::try_from_secs_f64((1.0 - self.tokens) / rate).unwrap_or(Duration::MAX));
        }
        self.tokens -= granted;
        Ok(granted as u32)
    }

    fn fill(&mut self, now: Instant, rate: f64) {
        let since = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.filled = Some(self.filled.map_or(now, |filled| filled.max(now)));
        self.tokens = (self.tokens + rate * since.as_secs_f64()).min((rate * BURST).max(1.0));
    }

    /// One that was taken was not used.
    pub(super) const fn give_back(&mut self) {
        self.tokens += 1.0;
    }

    /// Gives no permit for so long, and starts empty after that.
    pub(super) fn close(&mut self, now: Instant, until: Instant) {
        self.closed_until = Some(self.closed_until.map_or(until, |closed| closed.max(until)));
        self.tokens = self.tokens.min(0.0);
        self.filled = Some(now.max(until));
    }

    pub(super) fn is_full(&self, now: Instant, rate: f64) -> bool {
        let mut filled = self.clone();
        filled.fill(now, rate);
        filled.tokens + DUST >= (rate * BURST).max(1.0) && self.closed_until.is_none_or(|until| until <= now)
    }
}
