use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use work_core::StoreError;

use crate::redact::redact;
use crate::text;

/// Why the command did not do what it was asked to. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// It was called wrongly; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The store cannot be reached, or is none that this program can use.
    #[error("{0}")]
    Unusable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("interrupted; what was done until now stays done")]
    Interrupted,
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        Self::Unusable(message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The code that the process ends with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Io(error) if error.kind() == ErrorKind::BrokenPipe => 0,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Unusable(_) => 4,
            Self::Store(error) if error.is_unavailable() || error.is_closed() => 4,
            Self::Interrupted => 130,
            Self::Failed(_) | Self::Store(_) | Self::Io(_) => 1,
        }
    }

    /// Says what is wrong on standard error, except that a reader is gone, who wants to hear no more.
    pub(crate) fn report(&self, quiet: bool) -> ExitCode {
        let code = self.code();
        let interrupted = matches!(self, Self::Interrupted);
        if code != 0 && !(interrupted && quiet) {
            say(&format!("error: {}\n", text::lines(&redact(&self.to_string()))));
        }
        ExitCode::from(code)
    }
}

/// Writes to standard error, where nobody may listen.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
