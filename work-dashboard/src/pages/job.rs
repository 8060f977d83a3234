//! One job: what happened to it, and what can be done.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use work_core::JobState;
use work_core::store::SCHEDULE_HEADER;

use super::parts::{ago, instant, short, span, state};
use super::{Answer, Frame, done, json, notice, page};
use crate::actions::{self, Act};
use crate::call::{Call, encoded};
use crate::view::{AttemptView, JobView};
use crate::workflows::of_queue;

pub(crate) async fn show(call: Call) -> Answer {
    let job = JobView::of(&call.app, &actions::found(&call, call.job_id()?).await?);
    let now = call.app.clock.now();
    let frame = Frame::of(&call);
    let content = html! {
        (notice(&call))
        div data-live="" id="job" {
            p.crumbs { a href=(frame.link("/jobs")) { "Jobs" } " / " a href=(frame.link(&format!("/jobs?kind={}", encoded(&job.kind)))) { (job.kind) } }
            div.head {
                h1 { (job.kind) " " (state(&job, now)) }
                @if frame.may_write { (buttons(&frame, &job, now)) }
            }
            p.dim { code.id { (job.id) } }
            @if let (Some(progress), true) = (job.progress, job.is(JobState::Running)) {
                p.progress { progress max="1" value=(progress) aria-label="Progress" {} " " (format!("{:.0} %", progress * 100.0)) }
            }
            div.columns {
                section.card { h2 { "Timeline" } (timeline(&job, now)) }
                section.card { h2 { "Facts" } (facts(&frame, &job, now)) }
            }
            @if !job.attempts.is_empty() { (attempts(&job, now)) }
            div.columns {
                section.card { h2 { "Args" } (json::seen(&job.args)) }
                @if let Some(output) = &job.output { section.card { h2 { "Output" } (json::seen(output)) } }
            }
            @if !job.headers.is_empty() {
                section.card { h2 { "Headers" }
                    dl.facts { @for (name, value) in &job.headers { div { dt { (name) } dd { code { (value) } } } } } }
            }
        }
    };
    page(&call, &format!("{} {}", job.kind, short(&job.id)), "/jobs", &content)
}

fn buttons(frame: &Frame, job: &JobView, now: DateTime<Utc>) -> Markup {
    let path = |what: &str| format!("/jobs/{}/{what}", job.id);
    let ended_badly = job.is(JobState::Discarded) || job.is(JobState::Cancelled);
    let open = job.is(JobState::Available) || job.is(JobState::Running);
    html! {
        div.row {
            @if ended_badly {
                (frame.button(&path("retry"), "Retry", "primary"))
                a.button href=(frame.link(&path("edit"))) { "Edit and retry" }
            }
            @if job.is(JobState::Available) {
                @if job.is_later(now) { (frame.button(&path("run"), "Run now", "primary")) }
                a.button href=(frame.link(&path("edit"))) { "Edit" }
            }
            @if open && !job.stopping { (frame.button(&path("cancel"), "Cancel", "danger")) }
            @if !job.is(JobState::Running) { (frame.button(&path("delete"), "Delete", "danger")) }
        }
    }
}

fn timeline(job: &JobView, now: DateTime<Utc>) -> Markup {
    let moment = |class: &str, what: &str, at: DateTime<Utc>| {
        html! { li class=(class) { strong { (what) } " " (ago(at, now)) br; span.dim { (instant(at)) } } }
    };
    let ended = match job.state {
        "completed" => ("good", "Completed"),
        "cancelled" => ("", "Cancelled"),
        _ => ("bad", "Given up: a dead letter"),
    };
    html! {
        ol.timeline {
            (moment("good", "Accepted", job.created_at))
            @for attempt in &job.attempts {
                (moment("bad", &format!("Attempt {}: {}", attempt.attempt, attempt.name), attempt.at))
            }
            @if let (Some(at), "available") = (job.scheduled_at, job.state) {
                (moment("next", if at > now { "Due" } else { "Due since" }, at))
            }
            @if job.is(JobState::Running) {
                li.next { strong { "Attempt " (job.attempt) " runs" } @if job.stopping { " and was asked to stop" } }
            }
            @if let Some(at) = job.finished_at { (moment(ended.0, ended.1, at)) }
        }
    }
}

fn facts(frame: &Frame, job: &JobView, now: DateTime<Utc>) -> Markup {
    let schedule = job.headers.get(SCHEDULE_HEADER);
    let run = of_queue(&job.queue).filter(|(run, state)| job.kind == format!("{}.{state}", run.workflow()));
    html! {
        dl.facts {
            @if let Some((run, state)) = run {
                div { dt { "Workflow" } dd { a href=(frame.link(&format!("/workflows/{run}"))) { (run) } ", state " (state) } }
            }
            div { dt { "Queue" } dd { a href=(frame.link(&format!("/jobs?queue={}", encoded(&job.queue)))) { (job.queue) } } }
            div { dt { "Attempts" } dd { (job.attempt) @if let Some(max) = job.max_attempts { " of " (max) } } }
            div { dt { "Priority" } dd { (job.priority) } }
            @if let Some(status) = job.status { div { dt { "Last status" } dd { (status) } } }
            @if let Some(worker) = &job.worker { div { dt { "Worker" } dd { code { (worker) } } } }
            @if let Some(at) = job.lease_until { div { dt { "Lease ends" } dd { (ago(at, now)) } } }
            @if job.crashes > 0 { div { dt { "Ended without a report" } dd { (job.crashes) " times" } } }
            @if let Some(millis) = job.timeout_ms {
                div { dt { "Timeout" } dd { (span(std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))) } }
            }
            @if let Some(at) = job.expires_at { div { dt { "Expires" } dd { (ago(at, now)) } } }
            @if let Some(key) = &job.unique_key { div { dt { "Unique key" } dd { code { (key) } } } }
            @if let Some(name) = schedule { div { dt { "Schedule" } dd { a href=(frame.link("/schedules")) { (name) } } } }
            @if !job.tags.is_empty() {
                div { dt { "Tags" } dd { @for tag in &job.tags { a.tag href=(frame.link(&format!("/jobs?tag={}", encoded(tag)))) { (tag) } " " } } }
            }
        }
    }
}

fn attempts(job: &JobView, now: DateTime<Utc>) -> Markup {
    html! {
        section.card {
            h2 { "Failed attempts" }
            @for (place, attempt) in job.attempts.iter().rev().enumerate() { (failed(attempt, now, place == 0)) }
        }
    }
}

fn failed(attempt: &AttemptView, now: DateTime<Utc>, open: bool) -> Markup {
    let first = attempt.error.lines().next().unwrap_or("");
    html! {
        details.attempt open[open] {
            summary { strong { "Attempt " (attempt.attempt) } " " span.state.discarded { (attempt.name) } " " (ago(attempt.at, now)) " " span.first { (first) } }
            pre.error tabindex="0" { (attempt.error) }
            @if let Some(backtrace) = &attempt.backtrace {
                details { summary { "Backtrace" } pre tabindex="0" { (backtrace) } }
            }
        }
    }
}

pub(crate) async fn act(call: Call, act: Act) -> Answer {
    let id = call.job_id()?;
    actions::act(&call, act, id).await?;
    let path = if act == Act::Delete { "/jobs".to_owned() } else { format!("/jobs/{id}") };
    done(&call, &path, act.name())
}
