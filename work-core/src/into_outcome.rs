use serde::Serialize;

use crate::{BoxError, Outcome, Status};

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome of a job",
    note = "return `()`, `Status`, `(Status, T)`, `Json<T>`, `Outcome`, or a `Result` of one of these whose error converts into a boxed error"
)]
pub trait IntoOutcome {
    /// The outcome that this value stands for.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::done()
    }
}

impl IntoOutcome for Status {
    fn into_outcome(self) -> Outcome {
        Outcome::new(self)
    }
}

impl<T: IntoOutcome> IntoOutcome for (Status, T) {
    fn into_outcome(self) -> Outcome {
        self.1.into_outcome().with_status(self.0)
    }
}

impl<T: IntoOutcome, E: Into<BoxError>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Outcome::from_error(error),
        }
    }
}

/// A value to keep as the output of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoOutcome for Json<T> {
    fn into_outcome(self) -> Outcome {
        match crate::args::encode(&self.0) {
            Ok(json) => Outcome::done().with_output(json),
            Err(error) => Outcome::from_error(error),
        }
    }
}
