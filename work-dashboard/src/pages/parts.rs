//! Small things that many pages show.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use super::Frame;
use crate::call::encoded;
pub(super) use crate::count::grouped;
use crate::view::JobView;

/// A number with its noun.
pub(super) fn jobs(count: u64) -> String {
    if count == 1 { "1 job".into() } else { format!("{} jobs", grouped(count)) }
}

/// A length of time, in its largest two units at most.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..10 if time.subsec_millis() >= 100 => format!("{:.1} s", time.as_secs_f64()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An instant, as how far it is from now. The instant itself is in its title; the script shows it in the viewer's zone.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let apart = Duration::from_secs((now - at).num_seconds().unsigned_abs());
    let text = match (apart.as_secs(), at > now) {
        (0, _) => "now".to_owned(),
        (_, true) => format!("in {}", span(apart)),
        (_, false) => format!("{} ago", span(apart)),
    };
    html! { time.ago datetime=(iso(at)) title=(utc(at)) { (text) } }
}

/// An instant of UTC; the script puts it in the viewer's zone.
pub(super) fn instant(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(iso(at)) data-local="" { (utc(at)) } }
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The state of a job, by word and colour.
pub(super) fn state(job: &JobView, now: DateTime<Utc>) -> Markup {
    let label = job.label(now);
    let class = if label == "dead letter" { "discarded" } else { label };
    html! { span class={ "state " (class) } { (label) } }
}

/// The last part of an id: the first one is the time it was made, so many have the same.
pub(super) fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// Jobs as a table, which is a list of cards on a phone.
pub(super) fn table(frame: &Frame, jobs: &[JobView], now: DateTime<Utc>, choose: Choose) -> Markup {
    let choose = matches!(choose, Choose::Boxes);
    html! {
        div.scroll {
        table.jobs.choose[choose] {
            thead { tr {
                @if choose { th.check { input type="checkbox" id="check-all" aria-label="Select all on this page" hidden; } }
                th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Queue" }
                th.number scope="col" { "Attempt" } th scope="col" { "Accepted" } th scope="col" { "Last error" }
            } }
            tbody { @for job in jobs { (row(frame, job, now, choose)) } }
        }
        }
    }
}

/// Whether jobs of a table can be selected.
#[derive(Clone, Copy)]
pub(super) enum Choose {
    Boxes,
    Nothing,
}

fn row(frame: &Frame, job: &JobView, now: DateTime<Utc>, choose: bool) -> Markup {
    let error = job.attempts.last().map(|attempt| attempt.error.lines().next().unwrap_or(""));
    html! {
        tr {
            @if choose {
                td.check { input type="checkbox" name="id" value=(job.id) aria-label={ "Select " (job.kind) " " (short(&job.id)) }; }
            }
            td.what {
                a href=(frame.link(&format!("/jobs/{}", job.id))) { (job.kind) }
                " " code.id { (short(&job.id)) }
                @for tag in &job.tags { " " a.tag href=(frame.link(&format!("/jobs?tag={}", encoded(tag)))) { (tag) } }
            }
            td {
                (state(job, now))
                @if let (Some(done), "running") = (job.progress, job.state) {
                    progress max="1" value=(done) aria-label="Progress" {}
                }
                @if let (true, Some(at)) = (job.is_later(now), job.scheduled_at) { " " span.dim { (ago(at, now)) } }
            }
            td { a.plain href=(frame.link(&format!("/jobs?queue={}", encoded(&job.queue)))) { (job.queue) } }
            td.number { (job.attempt) @if let Some(max) = job.max_attempts { span.dim { "/" (max) } } }
            td { (ago(job.created_at, now)) }
            td.error { @if let Some(error) = error { span title=(error) { (error) } } }
        }
    }
}

/// What a list says that has nothing in it.
pub(super) fn empty(title: &str, more: &str) -> Markup {
    html! { div.empty { p { strong { (title) } } p.dim { (more) } } }
}
