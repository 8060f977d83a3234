//! Schedules, and when they are due.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::parts::{ago, empty, instant};
use super::{Answer, Frame, done, notice, page};
use crate::actions::{self, Pause};
use crate::call::{Call, encoded};
use crate::view::ScheduleView;

pub(crate) async fn list(call: Call) -> Answer {
    let now = call.app.clock.now();
    let schedules = call.app.store.schedules().await?;
    let schedules: Vec<_> = schedules.iter().map(|schedule| ScheduleView::of(schedule, now)).collect();
    let frame = Frame::of(&call);
    let content = html! {
        (notice(&call))
        h1 { "Schedules" }
        div data-live="" id="schedules" {
            @if schedules.is_empty() { section.card { (empty("No schedules", "A program that starts with a schedule puts it here.")) } }
            div.tiles { @for schedule in &schedules { (tile(&frame, schedule, now)) } }
        }
    };
    page(&call, "Schedules", "/schedules", &content)
}

fn tile(frame: &Frame, schedule: &ScheduleView, now: DateTime<Utc>) -> Markup {
    let name = encoded(&schedule.name);
    html! {
        section.card {
            div.head {
                h2 { (schedule.name) @if schedule.paused_at.is_some() { " " span.state.paused { "paused" } } }
                @if frame.may_write {
                    div.row {
                        (frame.button(&format!("/schedules/{name}/run"), "Run now", ""))
                        @if schedule.paused_at.is_some() { (frame.button(&format!("/schedules/{name}/resume"), "Resume", "primary")) }
                        @else { (frame.button(&format!("/schedules/{name}/pause"), "Pause", "")) }
                    }
                }
            }
            dl.facts {
                div { dt { "When" } dd { code { (schedule.schedule) } } }
                div { dt { "Job" } dd { a href=(frame.link(&format!("/jobs?kind={}", encoded(&schedule.kind)))) { (schedule.kind) } " in " (schedule.queue) } }
                div { dt { "While one runs" } dd { (overlap(schedule.overlap)) } }
                @if let Some(at) = schedule.last_slot { div { dt { "Last" } dd { (ago(at, now))
                    @if let Some(job) = &schedule.last_job { " · " a href=(frame.link(&format!("/jobs/{job}"))) { "its job" } } } } }
            }
            @if !schedule.next.is_empty() {
                h3 { "Next runs" @if schedule.paused_at.is_some() { ", once it is resumed" } }
                ol.next { @for at in &schedule.next { li { (instant(*at)) " " span.dim { (ago(*at, now)) } } } }
            }
        }
    }
}

fn overlap(name: &str) -> &'static str {
    match name {
        "skip" => "the next run is skipped",
        "cancel" => "it is cancelled for the next",
        _ => "the next one runs beside it",
    }
}

pub(crate) async fn run(call: Call) -> Answer {
    actions::run_schedule(&call).await?;
    done(&call, "/schedules", "ran")
}

pub(crate) async fn pause(call: Call, pause: Pause) -> Answer {
    let changed = actions::pause_schedule(&call, pause).await?;
    done(&call, "/schedules", if changed { pause.name() } else { "nothing" })
}
