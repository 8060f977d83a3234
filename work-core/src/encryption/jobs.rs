//! Which parts of a job are encrypted: its arguments and output, what went wrong, and the arguments and outputs of other jobs
//! that it carries in headers.

use bytes::Bytes;

use super::envelope::{CannotOpen, Envelope, Owner, Shared, Subject};
use super::keys::{Errors, Keys};
use crate::compose::{CHAIN, FAILED, ON_ERROR, PREVIOUS, Packed};
use crate::store::{ErrorRecord, NewJob, SCHEDULE_HEADER, Seal, Settle, Settlement, StoredJob, StoredSchedule};
use crate::{Job, JobId, OnConflict, Parts, StoreError};

const ARGS: &str = "args";
const OUTPUT: &str = "output";
const ERROR: &str = "error";

/// Headers that are JSON of ours, and nobody but runners reads.
const WHOLE: [&str; 3] = [CHAIN, PREVIOUS, FAILED];

impl Seal for Keys {
    fn seal(&self, settle: Settle) -> Result<Settle, StoreError> {
        self.seal_settle(settle)
    }
}

impl Keys {
    pub(super) fn seal_job(&self, mut job: NewJob) -> Result<NewJob, StoreError> {
        job.parts.unique = job.parts.unique.as_ref().map(|unique| self.hashed(unique));
        if is_of_schedule(&job) {
            return Ok(job);
        }
        job.args = self.seal(&subject_of_new(&job.parts), &job.args)?.into();
        self.seal_headers(job)
    }

    fn seal_headers(&self, mut job: NewJob) -> Result<NewJob, StoreError> {
        let (id, kind) = (job.parts.id, job.parts.kind.clone());
        for name in WHOLE {
            if let Some(value) = job.parts.headers.get_mut(name) {
                *value = self.seal(&of_job(name, id, kind.as_str()), value.as_bytes())?;
            }
        }
        // The store itself may make this one: only what is in it is encrypted.
        if let Some(value) = job.parts.headers.get_mut(ON_ERROR)
            && let Ok(packed) = serde_json::from_str::<Packed>(value)
        {
            *value = packed_again(self.seal_job(packed.into_job())?)?;
        }
        Ok(job)
    }

    /// Everything or nothing of it is opened.
    pub(super) fn open_job(&self, job: &mut NewJob) -> Result<(), CannotOpen> {
        let args = match Envelope::parse(&job.args) {
            Some(sealed) => Some(self.open(&subject_of_stored(&job.parts, &sealed), &sealed)?),
            None => None,
        };
        let headers = self.open_headers(&job.parts)?;
        if let Some(args) = args {
            job.args = args.into();
        }
        job.parts.headers.extend(headers);
        Ok(())
    }

    /// Those that are not as they are kept.
    fn open_headers(&self, parts: &Parts) -> Result<Vec<(String, String)>, CannotOpen> {
        let mut headers = Vec::new();
        for (name, value) in &parts.headers {
            if let Some(opened) = self.open_header(parts, name, value)? {
                headers.push((name.clone(), opened));
            }
        }
        Ok(headers)
    }

    fn open_header(&self, parts: &Parts, name: &str, value: &str) -> Result<Option<String>, CannotOpen> {
        if name == ON_ERROR
            && let Ok(packed) = serde_json::from_str::<Packed>(value)
        {
            let mut job = packed.into_job();
            self.open_job(&mut job)?;
            return Ok(packed_again(job).ok());
        }
        let sealed = if WHOLE.contains(&name) { Envelope::parse(value.as_bytes()) } else { None };
        let Some(sealed) = sealed else { return Ok(None) };
        let opened = self.open(&of_job(name, parts.id, parts.kind.as_str()), &sealed)?;
        Ok(String::from_utf8(opened).ok())
    }

    pub(super) fn seal_settle(&self, mut settle: Settle) -> Result<Settle, StoreError> {
        let id = settle.key.id;
        if let Settlement::Complete { output: Some(output) } = &mut settle.settlement {
            *output = self.seal(&of_job(OUTPUT, id, ""), output)?.into();
        }
        if let (Some(error), Errors::Sealed) = (&mut settle.error, self.errors) {
            error.message = self.seal(&of_job(ERROR, id, ""), error.message.as_bytes())?;
            if let Some(backtrace) = &mut error.backtrace {
                *backtrace = self.seal(&of_job(ERROR, id, ""), backtrace.as_bytes())?;
            }
        }
        settle.then = settle.then.into_iter().map(|job| self.seal_job(job)).collect::<Result<_, _>>()?;
        Ok(settle)
    }

    pub(super) fn seal_schedule(&self, mut schedule: StoredSchedule) -> Result<StoredSchedule, StoreError> {
        let job = &mut schedule.job;
        job.parts.unique = job.parts.unique.as_ref().map(|unique| self.hashed(unique));
        let subject = Subject { what: ARGS, of: Owner::Schedule(&schedule.name), kind: job.parts.kind.as_str() };
        job.args = self.seal(&subject, &job.args)?.into();
        schedule.job = self.seal_headers(schedule.job)?;
        Ok(schedule)
    }

    /// What does not open stays as it is, and so do the jobs that are made of it: they become dead letters that say why.
    pub(super) fn open_schedule(&self, mut schedule: StoredSchedule) -> StoredSchedule {
        let job = &mut schedule.job;
        let subject = Subject { what: ARGS, of: Owner::Schedule(&schedule.name), kind: job.parts.kind.as_str() };
        if let (Some(args), Ok(headers)) = (self.opened(subject, &job.args), self.open_headers(&job.parts)) {
            job.args = args.into();
            job.parts.headers.extend(headers);
        }
        schedule
    }

    pub(super) fn seal_edited(&self, parts: &Parts, args: &[u8]) -> Result<Bytes, StoreError> {
        Ok(self.seal(&of_job(ARGS, parts.id, parts.kind.as_str()), args)?.into())
    }

    /// For people and handles: what does not open stays as it is.
    pub(super) fn open_stored(&self, mut stored: StoredJob) -> StoredJob {
        let id = stored.job.parts.id;
        let _ = self.open_job(&mut stored.job);
        if let Some(output) = &mut stored.output
            && let Some(opened) = self.opened(of_job(OUTPUT, id, ""), output)
        {
            *output = opened.into();
        }
        for attempt in &mut stored.attempts {
            self.open_error(id, &mut attempt.error);
        }
        stored
    }

    fn open_error(&self, id: JobId, error: &mut ErrorRecord) {
        for text in [Some(&mut error.message), error.backtrace.as_mut()].into_iter().flatten() {
            let opened = self.opened(of_job(ERROR, id, ""), text.as_bytes());
            if let Some(opened) = opened.and_then(|opened| String::from_utf8(opened).ok()) {
                *text = opened;
            }
        }
    }

    fn opened(&self, subject: Subject<'_>, stored: &[u8]) -> Option<Vec<u8>> {
        self.open(&subject, &Envelope::parse(stored)?).ok()
    }
}

const fn of_job<'s>(what: &'s str, id: JobId, kind: &'s str) -> Subject<'s> {
    Subject { what, of: Owner::Job(id), kind }
}

fn subject_of_new(parts: &Parts) -> Subject<'_> {
    let replaces = parts.unique.as_ref().filter(|unique| unique.conflict() == OnConflict::ReplaceArgs);
    let of = replaces.map_or(Owner::Job(parts.id), |unique| Owner::Unique(unique.key()));
    Subject { what: ARGS, of, kind: parts.kind.as_str() }
}

fn subject_of_stored<'p>(parts: &'p Parts, sealed: &Envelope) -> Subject<'p> {
    let of = match sealed.shared() {
        None => Owner::Job(parts.id),
        Some(Shared::Unique) => Owner::Unique(parts.unique.as_ref().map(crate::Unique::key).unwrap_or_default()),
        Some(Shared::Schedule) => {
            Owner::Schedule(parts.headers.get(SCHEDULE_HEADER).map(String::as_str).unwrap_or_default())
        }
    };
    Subject { what: ARGS, of, kind: parts.kind.as_str() }
}

/// True for the job of a schedule that could not be opened.
fn is_of_schedule(job: &NewJob) -> bool {
    let sealed = || Envelope::parse(&job.args).and_then(|sealed| sealed.shared());
    job.parts.headers.contains_key(SCHEDULE_HEADER) && sealed() == Some(Shared::Schedule)
}

fn packed_again(job: NewJob) -> Result<String, StoreError> {
    let refused = |why: crate::BoxError| StoreError::rejected("an on-error job could not be encrypted", why);
    let packed = Packed::of(Job::from_stored(job)).map_err(|error| refused(error.into()))?;
    serde_json::to_string(&packed).map_err(|error| refused(error.into()))
}
