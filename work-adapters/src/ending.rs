//! What an end of an execution means, for the layers that look at it.

use std::borrow::Cow;

use work_core::{BoxError, Outcome, Status};

/// False for what ended well, was cancelled or put off.
pub(crate) fn is_failure(status: Status) -> bool {
    !status.is_complete() && !matches!(status, Status::CANCELLED | Status::TOO_MANY)
}

/// True for 408 and 5xx: it went wrong through no fault of the job.
pub(crate) fn is_server_error(status: Status) -> bool {
    status == Status::TIMEOUT || status.code() / 100 == 5
}

pub(crate) fn error_text(result: &Result<Outcome, BoxError>) -> Option<Cow<'_, str>> {
    match result {
        Ok(outcome) => outcome.error().map(|error| error.message.as_str().into()),
        Err(error) => Some(error.to_string().into()),
    }
}
