use comfy_table::Cell;
use serde_json::{Value, json};
use work_core::store::StoredSchedule;

use crate::cli::SchedulesCommand;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::table::{Rows, cell, notable};
use crate::text;
use crate::time::{relative, rfc3339};

const HEADINGS: &[&str] = &["NAME", "TIMES", "KIND", "QUEUE", "NEXT", "LAST", "PAUSED"];

/// What is done with schedules.
pub(crate) async fn run(command: SchedulesCommand, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let store = &session.store;
    match command {
        SchedulesCommand::List => list(session, out).await,
        SchedulesCommand::Run(args) => match store.run_schedule_now(args.name.clone()).await? {
            Some(id) => out.answer(&json!({ "schedule": args.name, "outcome": "run", "job": id }), &id.to_string()),
            None => Err(no_such(&args.name, session).await?),
        },
        SchedulesCommand::Pause(args) => {
            known(&args.name, session).await?;
            let changed = store.pause_schedule(args.name.clone()).await?;
            answer(&args.name, "paused", changed, out)
        }
        SchedulesCommand::Resume(args) => {
            known(&args.name, session).await?;
            let changed = store.resume_schedule(args.name.clone()).await?;
            answer(&args.name, "resumed", changed, out)
        }
        SchedulesCommand::Remove(args) => {
            if store.remove_schedule(args.name.clone()).await? {
                return answer(&args.name, "removed", true, out);
            }
            Err(no_such(&args.name, session).await?)
        }
    }
}

async fn list(session: &Session, out: &mut Out) -> Result<(), CliError> {
    let schedules = session.store.schedules().await?;
    if out.is_json() {
        return schedules.iter().try_for_each(|schedule| out.value(&to_json(schedule, session)));
    }
    if schedules.is_empty() {
        out.note("There is no schedule: a program makes them with `QueueWorker::schedule`.");
    }
    let now = session.now();
    let row = |schedule: &StoredSchedule| {
        let next = schedule.next_slots(now, 1).first().map(|at| relative(*at, now));
        let next = if schedule.paused_at.is_some() { None } else { next };
        let parts = &schedule.job.parts;
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            cell(&schedule.name),
            cell(&schedule.schedule),
            cell(parts.kind.as_str()),
            cell(parts.queue.as_str()),
            Cell::new(or_none(next)),
            Cell::new(or_none(schedule.last_slot.map(|at| relative(at, now)))),
            schedule.paused_at.map_or_else(|| cell("-"), |at| notable(relative(at, now))),
        ]
    };
    Rows::new(HEADINGS).print(schedules.iter().map(row).collect(), out)
}

fn to_json(schedule: &StoredSchedule, session: &Session) -> Value {
    let next: Vec<String> = schedule.next_slots(session.now(), 5).into_iter().map(rfc3339).collect();
    json!({
        "name": schedule.name,
        "schedule": schedule.schedule,
        "kind": schedule.job.parts.kind.as_str(),
        "queue": schedule.job.parts.queue.as_str(),
        "overlap": schedule.overlap.name(),
        "catch_up": schedule.catch_up.to_string(),
        "next": next,
        "last_slot": schedule.last_slot.map(rfc3339),
        "last_job": schedule.last_job,
        "created_at": rfc3339(schedule.created_at),
        "paused_at": schedule.paused_at.map(rfc3339),
    })
}

async fn known(name: &str, session: &Session) -> Result<(), CliError> {
    let schedules = session.store.schedules().await?;
    if schedules.iter().any(|schedule| schedule.name == name) { Ok(()) } else { Err(no_such(name, session).await?) }
}

async fn no_such(name: &str, session: &Session) -> Result<CliError, CliError> {
    let schedules = session.store.schedules().await?;
    let meant = text::did_you_mean(name, schedules.iter().map(|schedule| schedule.name.as_str()));
    let name = text::one_line(name);
    Ok(CliError::not_found(format!("there is no schedule `{name}`{meant}; `work schedules list` shows them")))
}

fn answer(name: &str, done: &str, changed: bool, out: &mut Out) -> Result<(), CliError> {
    let before = if changed { "" } else { " already" };
    let answer = json!({ "schedule": name, "outcome": done, "changed": changed });
    out.answer(&answer, &format!("schedule {} {done}{before}", text::one_line(name)))
}
