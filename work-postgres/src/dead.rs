use tokio_postgres::{Error, Row};
use work_core::store::{ErrorRecord, Inserted, NewJob, on_error_job};
use work_core::{Kind, Parts, Queue, Status};

use crate::call::Session;
use crate::insert;
use crate::row::id;

/// What is made of jobs that the store itself makes dead letters, in the same transaction.
#[derive(Debug, Default)]
pub(crate) struct Dead {
    jobs: Vec<NewJob>,
    answers: Vec<Inserted>,
}

impl Dead {
    /// Takes note of a dead letter: its id, kind, headers and attempt, from this column on.
    pub(crate) fn note(&mut self, row: &Row, from: usize, status: Status, error: &ErrorRecord) -> Result<(), Error> {
        // Most jobs want nothing to be made.
        let Some(headers) = row.try_get::<_, Option<&str>>(from + 2)? else { return Ok(()) };
        let kind = row.try_get::<_, Option<String>>(from + 1)?.unwrap_or_default();
        let mut parts = Parts::new(id(row, from)?, Kind::from(kind), Queue::DEFAULT);
        parts.headers = serde_json::from_str(headers).unwrap_or_default();
        let attempt = row.try_get::<_, Option<i32>>(from + 3)?.unwrap_or_default();
        self.jobs.extend(on_error_job(&parts, status, u32::try_from(attempt).unwrap_or_default(), error));
        Ok(())
    }

    /// Inserts what is to be made. A header that was written by hand may hold what cannot be inserted.
    pub(crate) async fn insert(&mut self, session: &Session) -> Result<(), Error> {
        self.jobs.retain(|job| {
            let checked = insert::check(job, session.shared.max_args);
            checked.inspect_err(|error| tracing::error!(%error, "no on-error job")).is_ok()
        });
        if !self.jobs.is_empty() {
            self.answers = insert::rows(session, &self.jobs.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Tells who waits, after the commit.
    pub(crate) fn tell(&self, session: &Session) {
        session.shared.inserted(&self.jobs, &self.answers, None);
    }
}
