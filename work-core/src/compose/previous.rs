use serde::de::DeserializeOwned;

use super::PREVIOUS;
use crate::args::ArgsError;
use crate::{FromJob, Job};

/// What the job before this one in a [`Chain`](crate::Chain) returned; `None` if it returned nothing, or if this job is the
/// first of its chain or of none.
///
/// An output of another shape ends the job as 400: a dead letter that says which field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousOutput<T>(pub Option<T>);

impl<S, T: DeserializeOwned> FromJob<S> for PreviousOutput<T> {
    type Rejection = ArgsError;

    fn from_job(job: &mut Job, _: &S) -> Result<Self, ArgsError> {
        let output = job.parts().headers.get(PREVIOUS).map(|json| serde_json::from_str(json)).transpose();
        output.map(Self).map_err(|source| ArgsError::Decode { type_name: std::any::type_name::<T>(), source })
    }
}
