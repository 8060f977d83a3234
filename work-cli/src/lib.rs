#![doc = include_str!("../README.md")]

mod bench;
mod cli;
mod confirm;
mod dashboard;
mod doctor;
mod error;
mod filter;
#[cfg(test)]
mod fuzz;
mod job_json;
mod jobs;
mod migrate;
mod output;
mod prune;
mod queues;
mod redact;
mod schedules;
mod session;
mod stats;
#[cfg_attr(not(all(feature = "sqlite", feature = "postgres")), allow(dead_code, reason = "what a kind of store needs"))]
mod store;
mod table;
mod text;
mod time;
mod top;
mod values;
mod workers;
mod workflows;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use tokio::runtime::Builder;

use cli::{Cli, Command};
use error::CliError;
use output::Out;
use session::Session;

/// Runs the command with these arguments, the first of which is its own name, and says how it went: 0 well, 1 not,
/// 2 wrongly called, 3 not found, 4 the store cannot be used, 130 interrupted.
///
/// ```
/// assert_eq!(work_cli::run(["work", "--version"]), std::process::ExitCode::SUCCESS);
/// ```
pub fn run<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(error),
    };
    let quiet = cli.global.quiet;
    // It stops by itself, gracefully.
    let serves = matches!(cli.command, Command::Dashboard(_));
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::from(error).report(quiet),
    };
    let result = runtime.block_on(async {
        // On a thread of its own, so that an interruption is heard while it waits for a slow reader.
        let mut task = tokio::spawn(dispatch(cli));
        tokio::select! {
            ended = &mut task => {
                ended.unwrap_or_else(|error| Err(CliError::failed(format!("a bug in this program: {error}"))))
            }
            _ = tokio::signal::ctrl_c(), if !serves => {
                task.abort();
                // So that a temporary store is thrown away, unless it hangs.
                let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
                Err(CliError::Interrupted)
            }
        }
    });
    runtime.shutdown_background();
    result.map_or_else(|error| error.report(quiet), |()| ExitCode::SUCCESS)
}

/// What clap says, with no more of what was given than a message needs, and nothing that a terminal obeys.
fn refusal(mut error: clap::Error) -> clap::Error {
    let given: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(given) => Some((kind, text::shortened(&text::one_line(&redact::redact(given)), 100))),
            _ => None,
        })
        .collect();
    for (kind, given) in given {
        let before = error.insert(kind, ContextValue::String(given.clone()));
        if before != Some(ContextValue::String(given)) {
            // It has what was given too.
            error.insert(ContextKind::Suggested, ContextValue::None);
        }
    }
    error
}

/// What clap says, without the password of a URL that stands in a wrong place.
fn refuse(error: clap::Error) -> ExitCode {
    let error = refusal(error);
    let text = error.render().to_string();
    if text.contains("://") && error.use_stderr() {
        error::say(&redact::redact(&text));
    } else {
        // A reader that is gone wants no more.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn dispatch(cli: Cli) -> Result<(), CliError> {
    let mut out = Out::new(&cli.global);
    let done = command(cli, &mut out).await;
    // Also what was printed before an error.
    let flushed = out.flush();
    done.and(flushed)
}

async fn command(cli: Cli, out: &mut Out) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "work", &mut script);
            out.bytes(&script)
        }
        Command::Doctor => doctor::run(&global, out).await,
        Command::Migrate(args) => migrate::run(&args, &global, out).await,
        Command::Bench(args) => bench::run(&args, &global, out).await,
        Command::Jobs { command } => jobs::run(command, &Session::open(&global).await?, out).await,
        Command::Queues { command } => queues::run(command, &Session::open(&global).await?, out).await,
        Command::Schedules { command } => schedules::run(command, &Session::open(&global).await?, out).await,
        Command::Workers { command } => workers::run(&command, &Session::open(&global).await?, out).await,
        Command::Workflows { command } => workflows::run(command, &Session::open(&global).await?, out).await,
        Command::Dashboard(args) => dashboard::run(&args, &Session::open(&global).await?, out).await,
        Command::Stats => stats::run(&Session::open(&global).await?, out).await,
        Command::Top(args) => top::run(&args, &Session::open(&global).await?, out).await,
        Command::Prune(args) => prune::run(&args, &Session::open(&global).await?, out).await,
    }
}

/// The guide of the repository to this command, so that its links are checked.
pub mod _documentation {
    #[doc = include_str!("../../docs/operations.md")]
    pub mod operations {}
}
