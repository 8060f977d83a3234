use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Check, InvalidHealth};

/// A sign of life: well as long as someone said so recently. For `/livez`, from the loop that must not stand still.
///
/// Cheap to clone; every clone is the same. It is well at first, as if it had just beaten.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::health::{Check, Heartbeat};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let heartbeat = Heartbeat::new(Duration::from_secs(30))?;
/// tokio::time::advance(Duration::from_secs(31)).await;
/// assert!(!heartbeat.is_ok());
/// heartbeat.beat();
/// assert!(heartbeat.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Heartbeat {
    max_age: Duration,
    last: Arc<Mutex<Instant>>,
}

impl Heartbeat {
    /// A heartbeat that counts for this long.
    ///
    /// # Errors
    ///
    /// [`InvalidHealth::Time`] if that is zero.
    pub fn new(max_age: Duration) -> Result<Self, InvalidHealth> {
        if max_age.is_zero() {
            return Err(InvalidHealth::Time(max_age));
        }
        Ok(Self { max_age, last: Arc::new(Mutex::new(Instant::now())) })
    }

    /// Says that all is well, now.
    pub fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Check for Heartbeat {
    fn is_ok(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() <= self.max_age
    }
}
