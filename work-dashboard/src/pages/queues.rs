//! Queues, and whether they are at work.

use std::time::Duration;

use maud::{Markup, html};

use super::parts::{ago, empty, grouped, span};
use super::{Answer, Frame, done, notice, page};
use crate::actions::{self, Pause};
use crate::call::{Call, encoded};
use crate::count::Count;
use crate::view::QueueView;

pub(crate) async fn list(call: Call) -> Answer {
    let queues: Vec<_> = call.app.queues().await?.iter().map(QueueView::of).collect();
    let frame = Frame::of(&call);
    let now = call.app.clock.now();
    let content = html! {
        (notice(&call))
        h1 { "Queues" }
        section.card.flush data-live="" id="queues" {
            @if queues.is_empty() { (empty("No queues", "A queue is here as soon as a job is in it, or a worker drains it.")) }
            @else {
                div.scroll { table.labelled.four {
                    thead { tr {
                        th scope="col" { "Queue" } th.number scope="col" { "Available" } th.number scope="col" { "Running" }
                        th.number scope="col" { "Dead letters" } th scope="col" { "Oldest ready" } th scope="col" { "" }
                    } }
                    tbody { @for queue in &queues { (row(&frame, queue, now)) } }
                } }
            }
        }
    };
    page(&call, "Queues", "/queues", &content)
}

fn row(frame: &Frame, queue: &QueueView, now: chrono::DateTime<chrono::Utc>) -> Markup {
    let name = encoded(&queue.queue);
    let number = |state: &str, label: &str, count: Count| {
        html! { td.number data-label=(label) { @if count.jobs() == 0 { span.dim { "0" } } @else { a href=(frame.link(&format!("/jobs?queue={name}&state={state}"))) { (count) } } } }
    };
    html! {
        tr {
            td.what {
                a href=(frame.link(&format!("/jobs?queue={name}"))) { (queue.queue) }
                @if let Some(at) = queue.paused_at { " " span.state.paused { "paused" } " " span.dim { (ago(at, now)) } }
                @if let Some(most) = queue.at_most { " " span.pill { "at most " (most) } }
                @if let Some(jobs) = queue.capacity { " " span.pill { "capacity " (grouped(u64::from(jobs))) } }
            }
            (number("available", "Available", queue.counts.available))
            (number("running", "Running", queue.counts.running))
            (number("discarded", "Dead letters", queue.counts.discarded))
            td data-label="Oldest ready" { @if let Some(seconds) = queue.oldest_ready_seconds { (span(Duration::from_secs(seconds))) } @else { span.dim { "–" } } }
            td.act {
                @if frame.may_write {
                    @if queue.paused_at.is_some() { (frame.button(&format!("/queues/{name}/resume"), "Resume", "primary")) }
                    @else { (frame.button(&format!("/queues/{name}/pause"), "Pause", "")) }
                }
            }
        }
    }
}

pub(crate) async fn pause(call: Call, pause: Pause) -> Answer {
    let changed = actions::pause_queue(&call, pause).await?;
    done(&call, "/queues", if changed { pause.name() } else { "nothing" })
}
