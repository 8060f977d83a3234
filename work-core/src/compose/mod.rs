//! Jobs that belong together: chains, groups, and what is performed when a job fails for good. What is still to come travels in
//! headers of the job, so that any store keeps it and any process goes on with it.

use std::collections::HashSet;

use crate::{InvalidJob, JobId};

mod chain;
mod failed;
mod follow;
mod group;
mod packed;
mod previous;

/// How many jobs one outcome may be followed by, see [`Outcome::then`](crate::Outcome::then).
pub const MAX_FOLLOW_UPS: usize = 10_000;

pub use chain::{Chain, ChainHandle, ChainOutcome, MAX_CHAIN};
pub use failed::FailedJob;
pub(crate) use follow::Following;
pub use follow::on_error_job;
pub(crate) use group::Plan;
pub use group::{GROUP_KIND, Group, GroupHandle, GroupStatus, MAX_GROUP};
pub(crate) use packed::Packed;
pub use previous::PreviousOutput;

/// That no job of a chain or a group is in it twice: the second one would be taken for a repetition of the first, and never run.
fn once_each(what: &'static str, ids: impl Iterator<Item = JobId>) -> Result<(), InvalidJob> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            let given = format!("with job {id} twice");
            return Err(InvalidJob::out_of_range(what, given, "jobs with ids of their own"));
        }
    }
    Ok(())
}

/// How names of headers begin that this library keeps for itself. Their values may be longer than those of others.
pub(crate) const RESERVED: &str = "work.";

/// The most bytes that the value of a header of ours may have: 16 MiB.
pub(crate) const MAX_RESERVED: usize = 16 * 1024 * 1024;

/// The jobs that follow, the next one first.
pub(crate) const CHAIN: &str = "work.chain";

/// What the job before returned.
pub(crate) const PREVIOUS: &str = "work.previous";

/// The job to make if this one becomes a dead letter.
pub(crate) const ON_ERROR: &str = "work.on-error";

/// Which job failed, and how.
pub(crate) const FAILED: &str = "work.failed";

/// The group that a job belongs to.
const GROUP: &str = "work.group";

/// How the group ended, in its callback.
const GROUP_END: &str = "work.group-end";
