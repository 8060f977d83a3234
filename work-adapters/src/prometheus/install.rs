use std::sync::{Mutex, PoisonError};

use super::Prometheus;

/// Another recorder is that of the process already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process has a recorder for metrics already; give its layers a `Prometheus` of their own, or install this first"
)]
#[non_exhaustive]
pub struct InstallError {}

/// What `install` made. A std mutex: it is held for the installation only.
static INSTALLED: Mutex<Option<Prometheus>> = Mutex::new(None);

/// Makes a [`Prometheus`] the recorder of the process, or answers the one that this made before.
///
/// # Errors
///
/// [`InstallError`] if the process has a recorder of someone else.
pub fn install() -> Result<Prometheus, InstallError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(prometheus) = &*installed {
        return Ok(prometheus.clone());
    }
    let prometheus = Prometheus::new();
    ::metrics::set_global_recorder(prometheus.clone()).map_err(|_| InstallError {})?;
    Ok(installed.insert(prometheus).clone())
}
