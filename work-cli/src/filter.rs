use chrono::{DateTime, Utc};
use clap::Args;
use work_core::store::JobFilter;
use work_core::{JobId, JobState, Kind, Queue};

use crate::error::CliError;
use crate::time::{self, When};
use crate::values::{self, Field};

/// Which jobs, the same for every command about jobs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filter")]
pub(crate) struct FilterArgs {
    /// In this state; repeat it for more
    #[arg(long, value_parser = values::state(), value_delimiter = ',')]
    pub(crate) state: Vec<JobState>,
    /// In this queue; repeat it for more
    #[arg(long, value_parser = values::queue, value_delimiter = ',')]
    pub(crate) queue: Vec<Queue>,
    /// Of this kind; repeat it for more
    #[arg(long, value_parser = values::kind, value_delimiter = ',')]
    pub(crate) kind: Vec<Kind>,
    /// With this tag; repeat it for jobs that have all of them
    #[arg(long, value_parser = values::tag)]
    pub(crate) tag: Vec<String>,
    /// With this id; repeat it for more
    #[arg(long = "id", value_parser = values::id, value_delimiter = ',', value_name = "ID")]
    pub(crate) with_id: Vec<JobId>,
    /// Accepted since: 2h ago, or 2026-11-21T09:30:00Z
    #[arg(long, value_parser = time::when, value_name = "WHEN")]
    pub(crate) since: Option<When>,
    /// Accepted before: 2h ago, or 2026-11-21T09:30:00Z
    #[arg(long, value_parser = time::when, value_name = "WHEN")]
    pub(crate) until: Option<When>,
    /// With this text in the last error, in either case
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// With this value in a field of the arguments: user.id=7, user.name=Ann, 'zip="01234"'
    #[arg(long, value_parser = values::field, value_name = "PATH=VALUE")]
    pub(crate) arg: Vec<Field>,
}

impl FilterArgs {
    /// The filter, seen from an instant.
    pub(crate) fn filter(&self, now: DateTime<Utc>) -> Result<JobFilter, CliError> {
        let mut filter = JobFilter::all();
        filter.states.clone_from(&self.state);
        filter.queues.clone_from(&self.queue);
        filter.kinds.clone_from(&self.kind);
        filter.tags.clone_from(&self.tag);
        filter.ids.clone_from(&self.with_id);
        filter.error_contains.clone_from(&self.error);
        for field in &self.arg {
            filter = filter.args(&field.path, field.value.clone());
        }
        let (since, until) = (self.since.map(|at| at.seen_from(now)), self.until.map(|at| at.seen_from(now)));
        match (since, until) {
            (Some(since), Some(until)) if since >= until => {
                let (since, until) = (time::rfc3339(since), time::rfc3339(until));
                let order = format!("--since {since} is not before --until {until}; exchange them");
                return Err(CliError::usage(order));
            }
            (Some(since), Some(until)) => filter = filter.created(since..until),
            (Some(since), None) => filter = filter.created(since..),
            (None, Some(until)) => filter = filter.created(..until),
            (None, None) => {}
        }
        Ok(filter)
    }
}
