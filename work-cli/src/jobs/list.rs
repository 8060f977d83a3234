use comfy_table::Cell;
use work_core::JobState;
use work_core::store::{Order, StoredJob};

use crate::cli::ListArgs;
use crate::error::CliError;
use crate::job_json::JobJson;
use crate::output::Out;
use crate::session::Session;
use crate::table::{self, Rows, cell};
use crate::text;
use crate::time::relative;

const HEADINGS: &[&str] = &["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "WHEN", "ERROR"];

/// Jobs that are read and printed at once: what memory the longest list needs.
const PAGE: usize = 500;

/// Prints jobs, a page at a time.
pub(super) async fn run(args: &ListArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let filter = args.filter.filter(session.now())?;
    let order = if args.oldest { Order::OldestFirst } else { Order::NewestFirst };
    let all = args.all || (out.is_json() && args.limit.is_none());
    let limit = args.limit.map_or(100, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut left = if all { usize::MAX } else { limit };
    let mut rows = Rows::new(HEADINGS);
    let (mut after, mut found) = (None, false);
    while left > 0 {
        let page = session.store.list(filter.clone(), order, after, left.min(PAGE)).await?;
        found |= !page.jobs.is_empty();
        left = left.saturating_sub(page.jobs.len());
        if out.is_json() {
            page.jobs.iter().try_for_each(|job| out.value(&JobJson::new(job)))?;
        } else {
            rows.print(page.jobs.iter().map(|job| row(job, session)).collect(), out)?;
        }
        // Whoever reads sees what was found already, and is seen to be gone.
        out.flush()?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if after.is_some() && args.limit.is_none() {
        out.note("There are more: --all prints them, --limit N some of them, a filter those that you mean.");
    }
    if !found && !out.is_json() {
        out.note("No job matches.");
    }
    Ok(())
}

fn row(stored: &StoredJob, session: &Session) -> Vec<Cell> {
    let parts = &stored.job.parts;
    let now = session.now();
    let when = match stored.state {
        JobState::Available => match parts.scheduled_at.filter(|due| *due > now) {
            Some(due) => format!("due {}", relative(due, now)),
            None => format!("ready {}", relative(parts.scheduled_at.unwrap_or(stored.created_at), now)),
        },
        JobState::Running => match stored.progress {
            Some(done) => format!("{:.0} %", done * 100.0),
            None => format!("made {}", relative(stored.created_at, now)),
        },
        _ => format!("ended {}", relative(stored.finished_at.unwrap_or(stored.created_at), now)),
    };
    let most = parts.max_attempts.map_or_else(String::new, |most| format!("/{most}"));
    let error = stored.last_error().map_or("", |error| error.message.lines().next().unwrap_or_default());
    vec![
        Cell::new(parts.id),
        cell(parts.kind.as_str()),
        cell(parts.queue.as_str()),
        table::state(stored.state),
        Cell::new(format!("{}{most}", stored.attempt)),
        Cell::new(when),
        cell(text::shortened(error, 80)),
    ]
}
