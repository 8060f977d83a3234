//! The store at a glance.

use std::time::Duration;

use maud::{Markup, html};
use work_core::JobState;
use work_core::store::{JobFilter, Order};

use super::parts::{Choose, ago, empty, span, table};
use super::{Answer, Frame, chart, notice, page};
use crate::call::{Call, encoded};
use crate::count::Count;
use crate::snapshot::{Lately, Snapshot, snapshot};
use crate::view::JobView;

/// A job that has been due for longer is a problem worth a line.
const LATE: u64 = 60;

pub(crate) async fn show(call: Call) -> Answer {
    let snapshot = snapshot(&call.app).await?;
    let failed = JobFilter::all().state(JobState::Discarded);
    let failed = call.app.store.list(failed, Order::NewestFirst, None, 5).await?;
    let failed: Vec<_> = failed.jobs.iter().map(JobView::row).collect();
    let frame = Frame::of(&call);
    let content = html! {
        (notice(&call))
        h1 { "Overview" }
        div data-live="" id="overview" {
            (problems(&frame, &snapshot))
            (cards(&frame, &snapshot))
            (rough(&snapshot))
            (throughput(&snapshot))
            section.card {
                div.head { h2 { "Newest dead letters" } a href=(frame.link("/dead")) { "By error" } }
                @if failed.is_empty() {
                    (empty("No dead letters", "Jobs that failed for good are shown here."))
                } @else {
                    (table(&frame, &failed, snapshot.at, Choose::Nothing))
                }
            }
        }
    };
    page(&call, "Overview", "/", &content)
}

fn cards(frame: &Frame, snapshot: &Snapshot) -> Markup {
    html! {
        section.cards aria-label="Jobs by state" {
            @for (state, name) in super::jobs::STATES {
                a class={ "stat " (state.name()) } href=(frame.link(&format!("/jobs?state={state}"))) {
                    span.label { (name) }
                    strong { (snapshot.counts.state(state)) }
                }
            }
            a.stat href=(frame.link("/queues")) {
                span.label { "Oldest ready job" }
                @if let Some(oldest) = &snapshot.oldest_ready {
                    strong { (span(Duration::from_secs(oldest.seconds))) }
                    span.dim { "in " (oldest.queue) }
                } @else { strong { "–" } span.dim { "none is waiting" } }
            }
            a.stat href=(frame.link("/workers")) {
                span.label { "Workers" }
                strong { (snapshot.workers) }
                span.dim { (snapshot.busy) " of " (snapshot.slots) " slots busy" }
            }
        }
    }
}

/// What numbers mean that are not exact.
fn rough(snapshot: &Snapshot) -> Markup {
    let counts = JobState::ALL.map(|state| snapshot.counts.state(state));
    let any = |which: fn(&Count) -> bool| counts.iter().any(which);
    html! {
        @if let Some(since) = snapshot.counted_since.filter(|_| any(|count| matches!(count, Count::About(_)))) {
            p.dim { "≈: there are many, and they are counted a part at a time; the last count began " (ago(since, snapshot.at)) "." }
        }
        @if any(|count| matches!(count, Count::AtLeast(_))) { p.dim { "+: there are more than were counted so far." } }
    }
}

fn throughput(snapshot: &Snapshot) -> Markup {
    let Lately { jobs, discarded, from, per_second, p50_ms, p95_ms, p99_ms, .. } = &snapshot.lately;
    let share = if *jobs == 0 { 0.0 } else { *discarded as f64 * 100.0 / *jobs as f64 };
    let (rate, unit) = if *per_second < 1.0 { (per_second * 60.0, " /min") } else { (*per_second, " /s") };
    let millis = |millis: i64| span(Duration::from_millis(millis.unsigned_abs()));
    html! {
        section.card {
            div.head {
                h2 { "Throughput" }
                @if let Some(from) = from { span.dim { (jobs) " jobs that ended since " (ago(*from, snapshot.at)) } }
            }
            @if *jobs == 0 {
                (empty("Nothing ended in the last hour", "As soon as jobs end, their number and their times are here."))
            } @else {
                (chart::bars(&snapshot.lately, snapshot.at))
                p.legend {
                    span.key.bar-completed { "completed" } span.key.bar-discarded { "dead letters" }
                    span.key.bar-other { "cancelled" }
                }
                dl.figures {
                    div { dt { "Rate" } dd { (format!("{rate:.1}")) small { (unit) } } }
                    div { dt { "Dead letters" } dd { (format!("{share:.1}")) small { " %" } } }
                    div { dt { "Half end within" } dd { (millis(*p50_ms)) } }
                    div { dt { "95 % within" } dd { (millis(*p95_ms)) } }
                    div { dt { "99 % within" } dd { (millis(*p99_ms)) } }
                }
            }
        }
    }
}

/// What somebody should look at, or that all is well.
fn problems(frame: &Frame, snapshot: &Snapshot) -> Markup {
    let late = snapshot.oldest_ready.as_ref().filter(|oldest| oldest.seconds > LATE);
    let idle = snapshot.workers == 0 && snapshot.counts.available.jobs() > 0;
    if late.is_none() && !idle && snapshot.paused.is_empty() {
        return html! {};
    }
    html! {
        ul.problems aria-label="Problems" {
            @if idle { li { "No worker is at work, and " (snapshot.counts.available) " jobs wait." } }
            @if let Some(late) = late {
                li {
                    "A job in " a href=(frame.link(&format!("/jobs?queue={}&state=available&order=oldest", encoded(&late.queue)))) { (late.queue) }
                    " has been due for " (span(Duration::from_secs(late.seconds))) "."
                }
            }
            @for queue in &snapshot.paused { li { "Queue " a href=(frame.link("/queues")) { (queue) } " is paused." } }
        }
    }
}
