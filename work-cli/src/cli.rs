//! What can be asked for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ColorChoice, Parser, Subcommand};
use clap_complete::Shell;
use work_core::{JobId, Kind, Queue};
use work_dashboard::workflows::RunName;

use crate::filter::FilterArgs;
use crate::values::AtMost;
use crate::{time, values};

/// Look into a store of jobs, and act on it.
#[derive(Debug, Parser)]
#[command(name = "work", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  export WORK_STORE=sqlite:jobs.db
  work doctor                                        is all well?
  work jobs list --state discarded --since 2h        what failed lately?
  work jobs show 019ab1c2-…                          why?
  work jobs retry --kind mail --state discarded      try those again, after a question

Exit codes: 0 done, 1 failed, 2 wrongly called, 3 not found, 4 the store cannot be used, 130 interrupted.";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store: sqlite:jobs.db or postgres://user@host/database [default: WORK_STORE, or DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The schema of a PostgreSQL database that the tables are in
    #[arg(long, global = true, value_name = "NAME", default_value = "work")]
    pub(crate) schema: String,
    /// Print JSON: a line for each item of a list
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing beside the answer and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are heard too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at jobs, and change them
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Look at queues, pause, resume and limit them
    Queues {
        #[command(subcommand)]
        command: QueuesCommand,
    },
    /// Look at schedules, run, pause, resume and remove them
    Schedules {
        #[command(subcommand)]
        command: SchedulesCommand,
    },
    /// Look at the workers that are up
    Workers {
        #[command(subcommand)]
        command: WorkersCommand,
    },
    /// Look at runs of workflows, pause, cancel, export and import them
    Workflows {
        #[command(subcommand)]
        command: WorkflowsCommand,
    },
    /// Count the jobs of each state and queue
    Stats,
    /// Watch counts, queues and workers live; once if this is no terminal
    Top(TopArgs),
    /// Show the same in a browser, until Ctrl-C
    Dashboard(DashboardArgs),
    /// Make the tables, or bring them up to date
    Migrate(MigrateArgs),
    /// Find out whether all is well, and what to do if not
    Doctor,
    /// Forget jobs that ended long ago
    Prune(PruneArgs),
    /// Measure a temporary store of the same kind
    Bench(BenchArgs),
    /// Print a script that completes commands in a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, the newest first
    List(ListArgs),
    /// Show all that is known of one job
    Show {
        /// Which job
        #[arg(value_parser = values::id)]
        id: JobId,
    },
    /// Make dead letters and cancelled jobs available again
    Retry(ChangeArgs),
    /// Cancel jobs that wait, and ask those that run to stop
    Cancel(ChangeArgs),
    /// Forget jobs that do not run
    Delete(ChangeArgs),
    /// Make jobs that wait for a later time due now
    RunNow(ChangeArgs),
    /// Give a job that does not run other arguments
    Edit(EditArgs),
    /// Add a job
    Enqueue(EnqueueArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// At most so many [default: 100, or all with --json]
    #[arg(long, value_name = "N", conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// All of them, however many
    #[arg(long)]
    pub(crate) all: bool,
    /// The oldest first
    #[arg(long)]
    pub(crate) oldest: bool,
}

/// Which jobs to change, by id or by a filter.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// These jobs; no question is asked
    #[arg(value_parser = values::id, value_name = "ID")]
    pub(crate) ids: Vec<JobId>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All jobs, if there is no filter
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

/// Whether something is to be done that cannot be taken back.
#[derive(Debug, Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Which job
    #[arg(value_parser = values::id)]
    pub(crate) id: JobId,
    /// The new arguments as JSON; - reads them from standard input
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) args: String,
    /// Try it again then, if it is a dead letter or was cancelled
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnqueueArgs {
    /// What it does: the name of a handler
    #[arg(value_parser = values::kind)]
    pub(crate) kind: Kind,
    /// Its arguments as JSON; - reads them from standard input
    #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    pub(crate) args: String,
    /// Where it waits
    #[arg(long, value_parser = values::queue, default_value = "default")]
    pub(crate) queue: Queue,
    /// 0 to 9, lower numbers first
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<u8>,
    /// How many attempts it may have, 1 to 1000
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// How long one attempt may take
    #[arg(long, value_parser = time::duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    /// When it is due, from now: 90s, 2h
    #[arg(long = "in", value_parser = time::duration, value_name = "TIME", conflicts_with = "at")]
    pub(crate) after: Option<Duration>,
    /// When it is due: 2026-11-21T09:30:00Z
    #[arg(long, value_parser = time::instant, value_name = "INSTANT")]
    pub(crate) at: Option<DateTime<Utc>>,
    /// When it is no longer worth starting
    #[arg(long, value_parser = time::instant, value_name = "INSTANT")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// While a job holds this key, no second one is accepted
    #[arg(long, value_name = "KEY")]
    pub(crate) unique: Option<String>,
    /// A name that people find it by
    #[arg(long, value_parser = values::tag)]
    pub(crate) tag: Vec<String>,
    /// Text that travels with it
    #[arg(long, value_parser = values::header, value_name = "NAME=VALUE")]
    pub(crate) header: Vec<(String, String)>,
    /// Its id, so that repeating the command makes no second job
    #[arg(long, value_parser = values::id)]
    pub(crate) id: Option<JobId>,
    /// Only check it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// List the queues
    List,
    /// Lease nothing more from a queue; what runs goes on
    Pause(QueueArgs),
    /// Lease from a queue again
    Resume(QueueArgs),
    /// Let at most so many jobs of a queue run at once, by all workers together
    Limit(LimitArgs),
    /// Let at most so many jobs wait or run in a queue: what does not fit is refused when it is inserted
    Bound(BoundArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BoundArgs {
    #[command(flatten)]
    pub(crate) queue: QueueArgs,
    /// 1 to 10000000, or none for any number
    #[arg(value_name = "N|none", value_parser = values::capacity)]
    pub(crate) capacity: AtMost,
}

#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    #[command(flatten)]
    pub(crate) queue: QueueArgs,
    /// 1 to 4294967295, or none for any number
    #[arg(value_name = "N|none", value_parser = values::limit)]
    pub(crate) at_most: AtMost,
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// Which queue
    #[arg(value_parser = values::queue)]
    pub(crate) queue: Queue,
    /// Also if nobody knows it yet
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List the schedules
    List,
    /// Make a job of a schedule now, whatever its times
    Run(ScheduleArgs),
    /// Make no more jobs of a schedule
    Pause(ScheduleArgs),
    /// Make jobs of a schedule again, from its next time on
    Resume(ScheduleArgs),
    /// Forget a schedule; a program that keeps it makes it again when it starts
    Remove(ScheduleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// Which schedule
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// List the workers that were heard of in the last minute
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List the runs of all workflows, the newest first
    List,
    /// Show where the items of a run are
    Show(RunArgs),
    /// Start no more items of a run; what runs goes on
    Pause(RunArgs),
    /// Let a paused run go on
    Resume(RunArgs),
    /// Try the items of a run again that failed for good
    Retry(RetryRunArgs),
    /// End a run: what waits is cancelled, what runs is told to stop
    Cancel(CancelRunArgs),
    /// Print all of a run as JSON: to keep, to edit, and to import elsewhere
    Export(RunArgs),
    /// Make the items of an export anew, each in the state that the export says
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which run: workflow.run, as `work workflows list` shows it
    #[arg(value_name = "RUN")]
    pub(crate) run: RunName,
}

#[derive(Debug, Args)]
pub(crate) struct RetryRunArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Only those that failed in this state
    #[arg(long)]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct CancelRunArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file of the export; - reads standard input
    pub(crate) file: PathBuf,
    /// The name of the run, if not that of the export
    #[arg(long, value_name = "NAME")]
    pub(crate) run: Option<String>,
    /// Only check it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// The port; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// The address; another than that of this machine needs a token
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// A file with the token for looking and acting [default: WORK_DASHBOARD_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// A file with a token for looking only [default: WORK_DASHBOARD_READ_ONLY_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(crate) read_only_token: Option<PathBuf>,
    /// Without tokens: everybody may look, nobody may act
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Show args and outputs, which may be about persons
    #[arg(long)]
    pub(crate) show_args: bool,
    /// Also answer requests for this name of a host
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// The path that a proxy in front strips
    #[arg(long, value_name = "PATH")]
    pub(crate) base_path: Option<String>,
    /// Browsers send the cookie by HTTPS only: behind a proxy that speaks it
    #[arg(long)]
    pub(crate) https: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// How often to look
    #[arg(long, value_parser = time::duration, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Duration,
    /// Print once
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// How long jobs are kept that ended well
    #[arg(long, value_parser = time::duration, value_name = "TIME", default_value = "1d")]
    pub(crate) completed: Duration,
    /// How long dead letters are kept
    #[arg(long, value_parser = time::duration, value_name = "TIME", default_value = "7d")]
    pub(crate) discarded: Duration,
    /// How long cancelled jobs are kept
    #[arg(long, value_parser = time::duration, value_name = "TIME", default_value = "1d")]
    pub(crate) cancelled: Duration,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How many jobs, 1 to 10,000,000
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) jobs: u64,
    /// The folder for the temporary file of an SQLite store [default: that of the store]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_made() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn the_guide_shows_every_command() {
        let guide = include_str!("../../docs/operations.md");
        for group in super::Cli::command().get_subcommands() {
            let whole = format!("work {}", group.get_name());
            let inner = group.get_subcommands().map(|one| format!("{whole} {}", one.get_name()));
            let names: Vec<String> = if group.has_subcommands() { inner.collect() } else { vec![whole.clone()] };
            for name in names {
                assert!(guide.contains(&name), "{name} is not in docs/operations.md");
            }
        }
    }
}
