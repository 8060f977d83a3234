use std::io::Read;

use comfy_table::Cell;
use serde_json::{Value, json};
use work_dashboard::workflows::{self, Export, InvalidImport, RunName, RunPhase, RunView};

use crate::cli::{CancelRunArgs, ImportArgs, RetryRunArgs, RunArgs, WorkflowsCommand};
use crate::confirm::{Go, confirm};
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::table::{Rows, alarming, cell, notable};
use crate::text;
use crate::time::{relative, rfc3339};

/// What is done with runs of workflows.
pub(crate) async fn run(command: WorkflowsCommand, session: &Session, out: &mut Out) -> Result<(), CliError> {
    match command {
        WorkflowsCommand::List => list(session, out).await,
        WorkflowsCommand::Show(args) => show(&args, session, out).await,
        WorkflowsCommand::Pause(args) => {
            let run = at_work(&args.run, session).await?;
            let changed = workflows::pause(&*session.store, &args.run).await?;
            answer(&run.name(), "paused", changed, out)
        }
        WorkflowsCommand::Resume(args) => {
            let run = at_work(&args.run, session).await?;
            let changed = workflows::resume(&*session.store, &args.run).await?;
            answer(&run.name(), "resumed", changed, out)
        }
        WorkflowsCommand::Retry(args) => retry(&args, session, out).await,
        WorkflowsCommand::Cancel(args) => cancel(&args, session, out).await,
        WorkflowsCommand::Export(args) => {
            let export = workflows::export(&*session.store, &args.run, session.now()).await?;
            let export = match export {
                Some(export) => export,
                None => return Err(no_such(&args.run, session).await?),
            };
            out.value(&export)
        }
        WorkflowsCommand::Import(args) => import(&args, session, out).await,
    }
}

async fn list(session: &Session, out: &mut Out) -> Result<(), CliError> {
    let runs = workflows::runs(&*session.store).await?;
    if out.is_json() {
        return runs.iter().try_for_each(|run| out.value(&to_json(run)));
    }
    if runs.is_empty() {
        out.note("There is no run of a workflow: a program makes them with `Engine::create`.");
    }
    let now = session.now();
    let row = |run: &RunView| {
        vec![
            cell(run.name()),
            phase(run.phase),
            Cell::new(run.sum(|state| state.waiting)),
            Cell::new(run.sum(|state| state.executing)),
            alarming(run.sum(|state| state.failed)),
            Cell::new(run.sum(|state| state.cancelled)),
            Cell::new(relative(run.created_at, now)),
        ]
    };
    let headings = &["RUN", "IS", "WAITING", "RUNNING", "FAILED", "CANCELLED", "MADE"];
    Rows::new(headings).print(runs.iter().map(row).collect(), out)
}

async fn show(args: &RunArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let run = found(&args.run, session).await?;
    if out.is_json() {
        return out.value(&to_json(&run));
    }
    let ended = run.ended.clone().unwrap_or_default();
    let more = if ended.complete { "" } else { "+" };
    let rows = run.states.iter().map(|state| {
        let name = state.shape.state.as_str();
        let all = ended.by_state.get(name).copied().unwrap_or_default();
        let mut to: Vec<String> = state.shape.to.clone();
        to.extend(state.shape.kicks.iter().map(|to| format!("{to} (kick)")));
        to.extend(state.shape.dead.iter().map(|to| format!("{to} (failed)")));
        vec![
            cell(name),
            Cell::new(state.waiting),
            Cell::new(state.executing),
            alarming(state.failed),
            Cell::new(state.cancelled),
            Cell::new(if all == 0 { "0".to_owned() } else { format!("{all}{more}") }),
            cell(&if state.shape.terminal { "end".to_owned() } else { to.join(", ") }),
        ]
    });
    let rows = rows.collect();
    out.line(&format!("{} is {}, made {}", run.name(), run.phase.name(), relative(run.created_at, session.now())))?;
    out.line("")?;
    Rows::new(&["STATE", "WAITING", "RUNNING", "FAILED", "CANCELLED", "DONE", "LEADS TO"]).print(rows, out)?;
    if let Some(state) = run.states.iter().find(|state| state.failed > 0) {
        let queue = format!("{}.{}", run.name(), state.shape.state);
        out.note(&format!(
            "why: `work jobs list --state discarded --queue {queue}`; again: `work workflows retry {}`",
            run.name()
        ));
    }
    Ok(())
}

async fn retry(args: &RetryRunArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let run = at_work(&args.run.run, session).await?;
    if let Some(state) = &args.state
        && run.states.iter().all(|known| known.shape.state != *state)
    {
        let known: Vec<&str> = run.states.iter().map(|known| known.shape.state.as_str()).collect();
        let meant = text::did_you_mean(state, known.iter().copied());
        let state = text::one_line(state);
        return Err(CliError::not_found(format!(
            "{} has no state `{state}`{meant}; it has: {}",
            run.name(),
            known.join(", ")
        )));
    }
    let meant = run.states.iter().filter(|known| args.state.as_ref().is_none_or(|state| known.shape.state == *state));
    let matched: u64 = meant.map(|state| state.failed).sum();
    let what = format!("retry {} of {}", items(matched), run.name());
    change(
        "retry",
        matched,
        &what,
        &args.consent,
        out,
        workflows::retry_failed(&*session.store, &run, args.state.as_deref()),
    )
    .await
}

async fn cancel(args: &CancelRunArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let run = at_work(&args.run.run, session).await?;
    let matched = run.sum(|state| state.waiting + state.executing);
    let what = format!("end {}, and cancel {} of it", run.name(), items(matched));
    change("cancel", matched, &what, &args.consent, out, workflows::cancel(&*session.store, &run)).await
}

async fn change(
    action: &str,
    matched: u64,
    what: &str,
    consent: &crate::cli::Consent,
    out: &mut Out,
    act: impl Future<Output = Result<u64, work_core::StoreError>>,
) -> Result<(), CliError> {
    let (changed, text) = match confirm(consent, what, out)? {
        Go::OnlySay => (0, format!("would {what}")),
        Go::Do => {
            let changed = act.await?;
            (changed, format!("{action}: {}", items(changed)))
        }
    };
    out.answer(&json!({ "action": action, "matched": matched, "changed": changed, "dry_run": consent.dry_run }), &text)
}

async fn import(args: &ImportArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let mut json = String::new();
    let read = if args.file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut json)
    } else {
        std::fs::File::open(&args.file).and_then(|mut file| file.read_to_string(&mut json))
    };
    read.map_err(|error| CliError::usage(format!("{}: {error}", args.file.display())))?;
    let mut export: Export = serde_json::from_str(&json)
        .map_err(|error| CliError::usage(format!("{} is no export of a run: {error}", args.file.display())))?;
    drop(json);
    if let Some(run) = &args.run {
        export.run.clone_from(run);
    }
    let name = RunName::new(&export.workflow, &export.run).map_err(|error| CliError::usage(error.to_string()))?;
    let (done, text) = if args.dry_run {
        workflows::check(&*session.store, &export).await.map_err(invalid)?;
        let all = export.items.len() as u64;
        (json!({ "items": all, "there": null }), format!("would import {} into {name}", items(all)))
    } else {
        let done = workflows::import(&*session.store, &export).await.map_err(invalid)?;
        let text = match done.there {
            0 => format!("{} imported into {name}", items(done.items)),
            there => format!("{} imported into {name}; {there} were there already", items(done.items)),
        };
        (json!({ "items": done.items, "there": done.there }), text)
    };
    let Value::Object(mut answer) = done else { return Ok(()) };
    answer.insert("run".into(), json!(name.to_string()));
    answer.insert("dry_run".into(), json!(args.dry_run));
    out.answer(&answer, &text)
}

fn invalid(error: InvalidImport) -> CliError {
    match error {
        InvalidImport::Store(error) => error.into(),
        InvalidImport::Ended(_) => CliError::failed(error.to_string()),
        other => CliError::usage(other.to_string()),
    }
}

/// The run, which must not have ended.
async fn at_work(name: &RunName, session: &Session) -> Result<RunView, CliError> {
    let run = found(name, session).await?;
    if run.phase == RunPhase::Ended {
        let how = "export it and import it under another name to go on";
        return Err(CliError::failed(format!("{} has ended: {how}", run.name())));
    }
    Ok(run)
}

async fn found(name: &RunName, session: &Session) -> Result<RunView, CliError> {
    match workflows::run(&*session.store, name).await? {
        Some(run) => Ok(run),
        None => Err(no_such(name, session).await?),
    }
}

async fn no_such(name: &RunName, session: &Session) -> Result<CliError, CliError> {
    let names: Vec<String> = workflows::runs(&*session.store).await?.iter().map(RunView::name).collect();
    let meant = text::did_you_mean(&name.to_string(), names.iter().map(String::as_str));
    Ok(CliError::not_found(format!("there is no run `{name}`{meant}; `work workflows list` shows them")))
}

fn phase(phase: RunPhase) -> Cell {
    if phase == RunPhase::Paused { notable(phase.name()) } else { cell(phase.name()) }
}

fn items(count: u64) -> String {
    if count == 1 { "1 item".to_owned() } else { format!("{count} items") }
}

/// A run as `--json` prints it.
fn to_json(run: &RunView) -> Value {
    let ended = run.ended.as_ref();
    let state = |state: &workflows::StateView| {
        json!({
            "state": state.shape.state,
            "start": state.shape.start,
            "terminal": state.shape.terminal,
            "to": state.shape.to,
            "kicks": state.shape.kicks,
            "dead": state.shape.dead,
            "waiting": state.waiting,
            "executing": state.executing,
            "failed": state.failed,
            "cancelled": state.cancelled,
            "done": ended.map(|ended| ended.by_state.get(&state.shape.state).copied().unwrap_or_default()),
        })
    };
    json!({
        "run": run.name(),
        "phase": run.phase.name(),
        "created_at": rfc3339(run.created_at),
        "done_is_exact": ended.map(|ended| ended.complete),
        "states": run.states.iter().map(state).collect::<Vec<_>>(),
    })
}

fn answer(run: &str, done: &str, changed: bool, out: &mut Out) -> Result<(), CliError> {
    let before = if changed { "" } else { " already" };
    out.answer(&json!({ "run": run, "outcome": done, "changed": changed }), &format!("run {run} {done}{before}"))
}
