use serde_json::json;
use work_core::JobState;

use super::{json_args, no_such_job};
use crate::cli::EditArgs;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;

/// Gives a job other arguments, and tries it again if that is wanted.
pub(super) async fn run(args: EditArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let (id, json) = (args.id, json_args(args.args)?);
    if !session.store.edit(id, json).await? {
        return Err(match session.store.get(id).await? {
            None => no_such_job(id),
            Some(job) if job.state == JobState::Running => {
                CliError::failed(format!("{id} runs; wait for its end, or cancel it first"))
            }
            Some(_) => CliError::failed(format!("{id} changed meanwhile; look at it and try again")),
        });
    }
    let retried = args.retry && session.store.retry(id).await?;
    let then = if retried { ", and is available again" } else { "" };
    out.answer(&json!({ "id": id, "outcome": "edited", "retried": retried }), &format!("{id} edited{then}"))?;
    let ended = session.store.get(id).await?.is_some_and(|job| job.state.is_terminal());
    if args.retry && !retried && ended {
        return Err(CliError::failed(format!(
            "{id} has the new arguments, but was not retried: it ended well, or its key is taken"
        )));
    }
    if ended {
        out.note("It has ended: `work jobs retry` tries it again.");
    }
    Ok(())
}
