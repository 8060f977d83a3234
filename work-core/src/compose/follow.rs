use bytes::Bytes;

use super::{CHAIN, FAILED, FailedJob, ON_ERROR, PREVIOUS, Packed};
use crate::store::{ErrorRecord, NewJob};
use crate::{JobId, Kind, Parts, Status};

/// What follows from a job's end: taken from it before it runs, and nothing for most jobs.
pub(crate) struct Following {
    id: JobId,
    kind: Kind,
    chain: Option<String>,
    on_error: Option<String>,
}

/// The rest of a chain cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the chain cannot be read: {0}")]
pub(crate) struct BadChain(#[from] serde_json::Error);

/// An output that is no text cannot travel.
#[derive(Debug, thiserror::Error)]
#[error("the output is no JSON: {0}")]
pub(crate) struct BadOutput(#[from] std::str::Utf8Error);

impl Following {
    pub(crate) fn of(parts: &Parts) -> Option<Box<Self>> {
        if parts.headers.is_empty() {
            return None;
        }
        let header = |name: &str| parts.headers.get(name).cloned();
        let (chain, on_error) = (header(CHAIN), header(ON_ERROR));
        let any = chain.is_some() || on_error.is_some();
        any.then(|| Box::new(Self { id: parts.id, kind: parts.kind.clone(), chain, on_error }))
    }

    /// The next job of the chain, now that this one is completed.
    pub(crate) fn next(&self, output: Option<&Bytes>) -> Result<Option<NewJob>, crate::BoxError> {
        let Some(chain) = &self.chain else { return Ok(None) };
        let rest: Vec<Packed> = serde_json::from_str(chain).map_err(BadChain)?;
        let mut rest = rest.into_iter();
        let Some(next) = rest.next() else { return Ok(None) };
        let mut next = next.into_job();
        let headers = &mut next.parts.headers;
        let rest: Vec<Packed> = rest.collect();
        if !rest.is_empty() {
            headers.insert(CHAIN.to_owned(), serde_json::to_string(&rest).map_err(BadChain)?);
        }
        if let Some(output) = output {
            let text = std::str::from_utf8(output).map_err(BadOutput)?;
            headers.insert(PREVIOUS.to_owned(), text.to_owned());
        }
        Ok(Some(next))
    }

    /// The on-error job, now that this one is a dead letter.
    pub(crate) fn failed(&self, status: Status, attempt: u32, error: Option<&ErrorRecord>) -> Option<NewJob> {
        let packed = serde_json::from_str::<Packed>(self.on_error.as_ref()?);
        let packed = packed.inspect_err(|error| tracing::error!(job.id = %self.id, %error, "no on-error job"));
        let mut job = packed.ok()?.into_job();
        let error = error.map(|error| error.message.clone()).unwrap_or_default();
        let failed = FailedJob { id: self.id, kind: self.kind.clone(), status, attempt, error };
        job.parts.headers.insert(FAILED.to_owned(), failed.to_json());
        Some(job)
    }
}

/// The [on-error job](crate::Job::on_error) of a job that a store itself makes a dead letter: after its lease ended too often,
/// or since it cannot be started. To be inserted in the same transaction. For authors of stores.
#[must_use]
pub fn on_error_job(parts: &Parts, status: Status, attempt: u32, error: &ErrorRecord) -> Option<NewJob> {
    Following::of(parts)?.failed(status, attempt, Some(error))
}
