//! What a job was like when somebody looked, so that nobody changes one that has changed meanwhile.

use std::sync::OnceLock;

use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use work_core::store::StoredJob;

use crate::access::secret;
use crate::call::Call;
use crate::failure::Failure;

/// Equal as long as the job is in the same state, at the same attempt, with the same args.
pub(crate) fn version_of(job: &StoredJob) -> String {
    let ended = job.finished_at.map(|at| at.timestamp_millis());
    let facts = format!("{} {} {} {ended:?} ", job.state, job.attempt, job.attempts.len());
    // Else who may not see the args could guess at them.
    static SALT: OnceLock<String> = OnceLock::new();
    let salted = Sha256::new().chain_update(SALT.get_or_init(secret));
    let hash = salted.chain_update(facts).chain_update(&job.job.args).finalize();
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses what was asked for a job that was another one then: by the header `If-Match`. Answers whether it has to be this one.
pub(crate) fn check_header(call: &Call, job: &StoredJob) -> Result<bool, Failure> {
    let Some(wanted) = call.header("if-match") else { return Ok(false) };
    let now = version_of(job);
    let mut versions = wanted.split(',').map(str::trim);
    if versions.clone().any(|one| one == "*") {
        return Ok(false);
    }
    if versions.any(|one| one.trim_matches('"') == now) { Ok(true) } else { Err(changed(job)) }
}

/// The same by the version that a form was made for, if it says so.
pub(crate) fn check_form(seen: Option<&str>, job: &StoredJob) -> Result<bool, Failure> {
    match seen {
        Some(seen) if seen != version_of(job) => Err(changed(job)),
        _ => Ok(seen.is_some()),
    }
}

pub(crate) fn changed(job: &StoredJob) -> Failure {
    let detail = format!(
        "The job has changed since you looked: it is {} now, after {} attempts. Nothing was done; load it again.",
        job.state, job.attempt
    );
    Failure::new(StatusCode::PRECONDITION_FAILED, "changed", detail)
}
