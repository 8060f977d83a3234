//! Runs of workflows, and where the items of one are.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use work_core::store::JobFilter;

use super::graph::{Way, draw};
use super::parts::{Choose, ago, empty, grouped, table};
use super::{Answer, Frame, done, notice, page};
use crate::actions::{self, Pause};
use crate::call::{Call, encoded, query_of};
use crate::groups::{Group, groups_of};
use crate::view::JobView;
use crate::workflows::{self, RunPhase, RunView, StateView};

pub(crate) async fn list(call: Call) -> Answer {
    let queues = call.app.queues().await?;
    let runs = workflows::runs_with(&*call.app.store, queues.iter().map(|queue| &queue.info)).await?;
    let frame = Frame::of(&call);
    let now = call.app.clock.now();
    let content = html! {
        (notice(&call))
        h1 { "Workflows" }
        section.card.flush data-live="" id="runs" {
            @if runs.is_empty() { (empty("No runs", "A run of a workflow is here as soon as a program has made it.")) }
            @else {
                div.scroll { table.labelled {
                    thead { tr {
                        th scope="col" { "Run" } th scope="col" { "Workflow" } th.number scope="col" { "Waiting" }
                        th.number scope="col" { "Running" } th.number scope="col" { "Failed" } th scope="col" { "Made" }
                    } }
                    tbody { @for run in &runs { (row(&frame, run, now)) } }
                } }
            }
        }
    };
    page(&call, "Workflows", "/workflows", &content)
}

fn row(frame: &Frame, run: &RunView, now: DateTime<Utc>) -> Markup {
    let number = |label: &str, count: u64| {
        html! { td.number data-label=(label) { @if count == 0 { span.dim { "0" } } @else { (grouped(count)) } } }
    };
    let failed = run.sum(|state| state.failed);
    html! {
        tr {
            td.what { a href=(frame.link(&path(run))) { (run.run) } " " (phase(run.phase)) }
            td data-label="Workflow" { (run.workflow) }
            (number("Waiting", run.sum(|state| state.waiting)))
            (number("Running", run.sum(|state| state.executing)))
            td.number data-label="Failed" {
                @if failed == 0 { span.dim { "0" } } @else { a.bad href=(frame.link(&jobs_of(run, "discarded"))) { (grouped(failed)) } }
            }
            td data-label="Made" { (ago(run.created_at, now)) }
        }
    }
}

fn phase(phase: RunPhase) -> Markup {
    let class = match phase {
        RunPhase::Open => "available",
        RunPhase::Paused => "paused",
        RunPhase::Ended => "cancelled",
    };
    html! { span class={ "state " (class) } { (phase.name()) } }
}

fn path(run: &RunView) -> String {
    format!("/workflows/{}", encoded(&run.name()))
}

/// The jobs of all its states that are in this state of jobs.
fn jobs_of(run: &RunView, state: &str) -> String {
    let queues = queues(run);
    let pairs = queues.iter().map(|queue| ("queue", queue.as_str())).chain([("state", state)]);
    format!("/jobs{}", query_of(pairs))
}

fn queues(run: &RunView) -> Vec<String> {
    run.states.iter().map(|state| format!("{}.{}", run.name(), state.shape.state)).collect()
}

pub(crate) async fn show(call: Call) -> Answer {
    let run = actions::found_run(&call).await?;
    let steps = queues(&run).into_iter().fold(JobFilter::all(), JobFilter::queue);
    let newest: Vec<_> = run.newest.iter().map(JobView::row).collect();
    let failed = run.sum(|state| state.failed) > 0;
    let groups = if failed { groups_of(&call.app, steps).await?.groups } else { Vec::new() };
    let frame = Frame::of(&call);
    let now = call.app.clock.now();
    let content = html! {
        (notice(&call))
        div data-live="" id="run" {
            p.crumbs { a href=(frame.link("/workflows")) { "Workflows" } " / " (run.workflow) }
            div.head {
                h1 { (run.run) " " (phase(run.phase)) }
                @if frame.may_write && run.phase != RunPhase::Ended { (buttons(&frame, &run)) }
            }
            p.dim { code { (run.name()) } ", made " (ago(run.created_at, now)) }
            (cards(&frame, &run))
            section.card { h2 { "States" } (graph(&frame, &run)) }
            section.card.flush { (states(&frame, &run)) }
            @if !groups.is_empty() {
                h2.above { "Why items failed" }
                @for group in &groups { (problem(&frame, group)) }
            }
            @if !newest.is_empty() {
                h2.above { "Steps that ended last" }
                section.card.flush { (table(&frame, &newest, now, Choose::Nothing)) }
            }
        }
    };
    page(&call, &format!("{} {}", run.workflow, run.run), "/workflows", &content)
}

fn buttons(frame: &Frame, run: &RunView) -> Markup {
    let act = |what: &str| format!("{}/{what}", path(run));
    let open = run.sum(|state| state.waiting + state.executing);
    let retry = queues(run);
    let retry = retry.iter().map(|queue| ("queue", queue.as_str()));
    let retry = query_of(retry.chain([("state", "discarded"), ("action", "retry")]));
    html! {
        div.row {
            @if run.sum(|state| state.failed) > 0 { a.button.primary href=(frame.link(&format!("/jobs/bulk{retry}"))) { "Retry failed…" } }
            @if run.phase == RunPhase::Paused { (frame.button(&act("resume"), "Resume", "primary")) }
            @else { (frame.button(&act("pause"), "Pause", "")) }
            details.ask {
                summary.button.danger { "End run…" }
                div.card {
                    p { @if open == 0 { "Nothing of it waits or runs. No more items can be added then." }
                        @else { (grouped(open)) " items that wait or run are cancelled. This cannot be taken back." } }
                    (frame.button(&act("cancel"), "End it", "danger primary"))
                }
            }
        }
    }
}

fn ended(run: &RunView) -> (u64, &'static str) {
    let Some(ended) = &run.ended else { return (0, "") };
    let terminal = run.states.iter().filter(|state| state.shape.terminal || !run.is_drawn());
    let count = terminal.filter_map(|state| ended.by_state.get(&state.shape.state)).sum();
    (count, if ended.complete { "" } else { "+" })
}

fn cards(frame: &Frame, run: &RunView) -> Markup {
    let card = |class: &str, label: &str, state: &str, count: u64, more: &str| {
        html! { a.stat.(class) href=(frame.link(&jobs_of(run, state))) { span.label { (label) } strong { (grouped(count)) (more) } } }
    };
    let (done, more) = ended(run);
    html! {
        div.cards {
            (card("available", "Waiting", "available", run.sum(|state| state.waiting), ""))
            (card("running", "Running", "running", run.sum(|state| state.executing), ""))
            (card("completed", "Reached an end", "completed", done, more))
            (card("discarded", "Failed", "discarded", run.sum(|state| state.failed), ""))
            (card("cancelled", "Cancelled", "cancelled", run.sum(|state| state.cancelled), ""))
        }
    }
}

fn graph(frame: &Frame, run: &RunView) -> Markup {
    html! {
        div.scroll.graphs { (draw(frame, run, Way::Across)) (draw(frame, run, Way::Down)) }
        @if !run.is_drawn() { p.dim { "How they are joined is not known: the program that made this run did not say." } }
        div.legend {
            span.key.waiting { "waiting" } span.key.running { "running" } span.key.failed { "failed" }
            span.key.cancelled { "cancelled" } span.key.done { "done" }
            span.key.line { "goes on" } span.key.line.dead { "after failing" } span.key.line.kick { "starts another item" }
        }
        @if run.ended.as_ref().is_some_and(|ended| !ended.complete) {
            p.dim { "With a +, of the newest thousand steps that ended well." }
        }
    }
}

fn states(frame: &Frame, run: &RunView) -> Markup {
    html! {
        div.scroll { table.labelled.states {
            thead { tr {
                th scope="col" { "State" } th.number scope="col" { "Waiting" } th.number scope="col" { "Running" }
                th.number scope="col" { "Failed" } th.number scope="col" { "Cancelled" } th.number scope="col" { "Done" }
            } }
            tbody { @for state in &run.states { (state_row(frame, run, state)) } }
        } }
    }
}

fn state_row(frame: &Frame, run: &RunView, state: &StateView) -> Markup {
    let name = state.shape.state.as_str();
    let jobs = format!("/jobs?queue={}", encoded(&format!("{}.{name}", run.name())));
    let number = |label: &str, state: &str, count: u64, more: &str| {
        html! { td.number data-label=(label) { @if count == 0 { span.dim { "0" } } @else { a href=(frame.link(&format!("{jobs}&state={state}"))) { (grouped(count)) (more) } } } }
    };
    let of = run.ended.as_ref();
    let done = of.and_then(|ended| ended.by_state.get(name)).copied().unwrap_or_default();
    let more = if of.is_none_or(|ended| ended.complete) { "" } else { "+" };
    html! {
        tr {
            td.what { a href=(frame.link(&jobs)) { (name) } @if state.shape.terminal { " " span.pill { "end" } } @else if state.shape.start { " " span.pill { "start" } } }
            (number("Waiting", "available", state.waiting, ""))
            (number("Running", "running", state.executing, ""))
            (number("Failed", "discarded", state.failed, ""))
            (number("Cancelled", "cancelled", state.cancelled, ""))
            // Items that ended in a terminal state were completed in the one before.
            @if state.shape.terminal { td.number data-label="Done" { @if done == 0 { span.dim { "0" } } @else { (grouped(done)) (more) } } }
            @else { (number("Done", "completed", done, more)) }
        }
    }
}

fn problem(frame: &Frame, group: &Group) -> Markup {
    let state = group.kind.rsplit('.').next().unwrap_or_default();
    let queues = group.queues.iter().map(|queue| ("queue", queue.as_str()));
    let filter = queues.chain([("state", "discarded"), ("error", group.search.as_str())]);
    let filter: Vec<_> = filter.filter(|(_, value)| !value.is_empty()).collect();
    let retry = query_of(filter.iter().copied().chain([("action", "retry")]));
    let error = if group.error.is_empty() { "(no error text)" } else { group.error.as_str() };
    html! {
        section.card.group {
            div.head {
                h3 { span.count.big { (grouped(group.jobs as u64)) } " in " (state) }
                div.row {
                    a.button href=(frame.link(&format!("/jobs{}", query_of(filter.iter().copied())))) { "Show" }
                    @if frame.may_write { a.button.primary href=(frame.link(&format!("/jobs/bulk{retry}"))) { "Retry…" } }
                }
            }
            pre.error tabindex="0" { (error) }
        }
    }
}

pub(crate) async fn pause(call: Call, pause: Pause) -> Answer {
    let changed = actions::pause_run(&call, pause).await?;
    back(&call, if changed { pause.name() } else { "nothing" })
}

pub(crate) async fn cancel(call: Call) -> Answer {
    actions::cancel_run(&call).await?;
    back(&call, "run-cancel")
}

fn back(call: &Call, what: &str) -> Answer {
    done(call, &format!("/workflows/{}", encoded(call.param())), what)
}
