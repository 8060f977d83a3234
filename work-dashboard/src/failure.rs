//! What is answered when a request cannot be done.

use axum::http::StatusCode;
use work_core::StoreError;
pub(crate) use work_core::shown;

/// Why a request was refused or failed: a status, a stable code, and a sentence for people.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// The methods that the address has, for 405.
    pub(crate) allow: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), allow: None }
    }

    /// 400: the request says something that is not understood.
    pub(crate) fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", what)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.fault().is_none() && !error.is_unknown() && !error.is_closed() {
            // It was asked for something that no store does.
            return Self::bad("rejected", error.to_string());
        }
        tracing::error!(error = %error, "the store failed");
        let detail = if error.is_busy() {
            "The store is busy. Try again in a moment."
        } else if error.is_full() {
            "The store has no room left. Free some, or prune jobs that ended."
        } else if error.is_unknown() {
            "The answer of the store was lost: the change may have been made. Look before you repeat it."
        } else {
            "The store cannot be read or written. The log of the program says why."
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", detail)
    }
}
