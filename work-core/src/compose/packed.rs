use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::store::{NewJob, options_from_json, options_to_json};
use crate::{DEFAULT_MAX_ARGS, InvalidJob, Job, JobId, Kind, Parts, Queue};

/// A job inside a header of another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Packed {
    id: JobId,
    kind: String,
    queue: String,
    /// JSON text, byte for byte.
    args: String,
    options: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
}

impl Packed {
    pub(crate) fn of(job: Job) -> Result<Self, InvalidJob> {
        let NewJob { parts, args } = job.into_stored(DEFAULT_MAX_ARGS)?;
        let args = String::from_utf8(args.into());
        let args = args.map_err(|error| InvalidJob::out_of_range("args", error, "JSON, which is UTF-8"))?;
        Ok(Self {
            id: parts.id,
            options: options_to_json(&parts),
            kind: parts.kind.as_str().to_owned(),
            queue: parts.queue.as_str().to_owned(),
            args,
            scheduled_at: parts.scheduled_at,
            expires_at: parts.expires_at,
        })
    }

    pub(crate) fn into_job(self) -> NewJob {
        let mut parts = Parts::new(self.id, Kind::from(self.kind), Queue::from(self.queue));
        options_from_json(&mut parts, &self.options);
        (parts.scheduled_at, parts.expires_at) = (self.scheduled_at, self.expires_at);
        NewJob { parts, args: self.args.into() }
    }
}
