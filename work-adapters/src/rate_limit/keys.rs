use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use work_core::Job;
use work_core::limit::Limiter;

/// What tells one job from another.
pub(crate) type KeyOf = Box<dyn Fn(&Job) -> Option<String> + Send + Sync>;

/// Keys with a limit of their own. Of more at a time, the further ones share one.
pub const MAX_KEYS: usize = 100_000;

/// One limit for each key that is in use.
pub(super) struct Keys {
    key_of: KeyOf,
    model: Limiter,
    /// A std mutex: it is held for a look-up, and now and then for a sweep.
    limits: Mutex<Limits>,
}

struct Limits {
    by_key: HashMap<String, Arc<Limiter>>,
    /// For keys that found no room.
    shared: Arc<Limiter>,
    /// So many keys make it look for idle ones: twice those that were left the last time.
    sweep_at: usize,
    swept: Instant,
}

/// Fewer keys than this are not worth a sweep.
const FEW: usize = 64;

/// A map that stays full is not swept more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Keys {
    pub(super) fn new(model: Limiter, key_of: KeyOf) -> Self {
        let shared = Arc::new(model.fresh());
        let limits = Limits { by_key: HashMap::new(), shared, sweep_at: FEW, swept: Instant::now() };
        Self { key_of, model, limits: Mutex::new(limits) }
    }

    /// The limit of the job's key; none if it has no key.
    pub(super) fn limit(&self, job: &Job) -> Option<Arc<Limiter>> {
        // Before the lock: it is the user's code.
        let key = (self.key_of)(job)?;
        let mut limits = self.lock();
        if let Some(limit) = limits.by_key.get(&key) {
            return Some(limit.clone());
        }
        limits.make_room();
        if limits.by_key.len() >= MAX_KEYS {
            return Some(limits.shared.clone());
        }
        let limit = Arc::new(self.model.fresh());
        limits.by_key.insert(key, limit.clone());
        Some(limit)
    }

    pub(super) fn len(&self) -> usize {
        let mut limits = self.lock();
        limits.sweep();
        limits.by_key.len()
    }

    fn lock(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    fn make_room(&mut self) {
        let full = self.by_key.len() >= MAX_KEYS && self.swept.elapsed() >= SWEEP_EVERY;
        if full || (self.by_key.len() >= self.sweep_at && self.by_key.len() < MAX_KEYS) {
            self.sweep();
        }
    }

    /// Forgets keys that nobody holds and whose limit would answer as a fresh one does. Holders take their clone under
    /// the lock, so nobody can be about to use what is dropped here.
    fn sweep(&mut self) {
        self.by_key.retain(|_, limit| Arc::strong_count(limit) > 1 || !limit.is_idle());
        self.sweep_at = (self.by_key.len() * 2).max(FEW);
        self.swept = Instant::now();
        self.by_key.shrink_to(self.sweep_at);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("len", &self.lock().by_key.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use work_core::limit::FixedWindow;

    use super::*;

    fn keys() -> Keys {
        let limit = FixedWindow::new(1, Duration::from_secs(1)).unwrap();
        Keys::new(Limiter::new(limit), Box::new(|job| Some(job.kind().to_string())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_keys_is_forgotten_as_they_become_idle() {
        let keys = keys();
        for n in 0..50_000 {
            keys.limit(&Job::new(format!("k{n}"), ())).unwrap().try_acquire().unwrap();
            if n % 100 == 0 {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            // A thousand count at a time.
            assert!(keys.lock().by_key.len() <= 2_300, "{}", keys.lock().by_key.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_beyond_the_last_share_a_limit_until_there_is_room() {
        let keys = keys();
        for n in 0..MAX_KEYS {
            keys.limit(&Job::new(format!("k{n}"), ())).unwrap().try_acquire().unwrap();
        }
        let limit = |kind| keys.limit(&Job::new(kind, ())).unwrap();
        assert!(limit("one more").try_acquire().is_ok());
        assert!(limit("another").try_acquire().is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limit("another").try_acquire().is_ok() && limit("a third").try_acquire().is_ok());
        assert_eq!(keys.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_someone_holds_is_not_forgotten() {
        let keys = keys();
        let held = keys.limit(&Job::new("k", ())).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(Arc::ptr_eq(&held, &keys.limit(&Job::new("k", ())).unwrap()));
        drop(held);
        assert_eq!(keys.len(), 0);
    }
}
