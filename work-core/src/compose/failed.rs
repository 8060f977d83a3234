use serde::{Deserialize, Serialize};

use super::FAILED;
use crate::{Classified, Classify, FromJob, Job, JobId, Kind, Status};

/// The job that failed for good, as an extractor of its [on-error job](Job::on_error).
///
/// In the handler of any other job it cannot be had: that job ends as 400, a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedJob {
    /// Which job.
    pub id: JobId,
    /// What it was to do.
    pub kind: Kind,
    /// How its last attempt went.
    pub status: Status,
    /// Which attempt that was; 0 if it never started.
    pub attempt: u32,
    /// What went wrong.
    pub error: String,
}

/// As it travels in a header.
#[derive(Serialize, Deserialize)]
struct Written<'j> {
    id: JobId,
    kind: std::borrow::Cow<'j, str>,
    status: u16,
    attempt: u32,
    error: std::borrow::Cow<'j, str>,
}

impl FailedJob {
    pub(super) fn to_json(&self) -> String {
        let (kind, error) = (self.kind.as_str().into(), self.error.as_str().into());
        let written = Written { id: self.id, kind, status: self.status.code(), attempt: self.attempt, error };
        serde_json::to_string(&written).unwrap_or_default()
    }

    fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let written: Written<'_> = serde_json::from_str(json)?;
        Ok(Self {
            id: written.id,
            kind: Kind::from(written.kind.into_owned()),
            status: Status::new(written.status).unwrap_or(Status::INTERNAL_ERROR),
            attempt: written.attempt,
            error: written.error.into_owned(),
        })
    }
}

impl<S> FromJob<S> for FailedJob {
    type Rejection = Classified;

    fn from_job(job: &mut Job, _: &S) -> Result<Self, Classified> {
        let json = job.parts().headers.get(FAILED);
        let json = json.ok_or("`FailedJob` is only there in a job that was made by `on_error`").discard()?;
        Self::from_json(json).discard()
    }
}
