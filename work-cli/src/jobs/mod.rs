mod change;
mod edit;
mod enqueue;
mod list;
mod show;

use std::io::{self, Read};

use bytes::Bytes;
use work_core::DEFAULT_MAX_ARGS;

use crate::cli::JobsCommand;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use change::Verb;

/// What is done with jobs.
pub(crate) async fn run(command: JobsCommand, session: &Session, out: &mut Out) -> Result<(), CliError> {
    match command {
        JobsCommand::List(args) => list::run(&args, session, out).await,
        JobsCommand::Show { id } => show::run(id, session, out).await,
        JobsCommand::Retry(args) => change::run(Verb::Retry, args, session, out).await,
        JobsCommand::Cancel(args) => change::run(Verb::Cancel, args, session, out).await,
        JobsCommand::Delete(args) => change::run(Verb::Delete, args, session, out).await,
        JobsCommand::RunNow(args) => change::run(Verb::RunNow, args, session, out).await,
        JobsCommand::Edit(args) => edit::run(args, session, out).await,
        JobsCommand::Enqueue(args) => enqueue::run(args, session, out).await,
    }
}

/// Arguments as JSON, from the call or from standard input.
fn json_args(given: String) -> Result<Bytes, CliError> {
    let text = if given == "-" {
        let mut text = String::new();
        // One byte more than is accepted, so that the refusal is the store's.
        io::stdin().take(DEFAULT_MAX_ARGS as u64 + 1).read_to_string(&mut text)?;
        text
    } else {
        given
    };
    let text = text.trim();
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let hint = "a text needs quotes of its own, as in --args '\"Ann\"'";
        return Err(CliError::usage(format!("--args is no JSON: {error}; {hint}")));
    }
    Ok(Bytes::from(text.to_owned()))
}

/// No job has this id.
fn no_such_job(id: work_core::JobId) -> CliError {
    CliError::not_found(format!(
        "no job has the id {id}; it may have been forgotten after its time, see `work jobs list --help` to look for it"
    ))
}
