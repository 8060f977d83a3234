//! Jobs of a filter that is in the address.

use maud::{Markup, html};
use work_core::JobState;
use work_core::store::Change;

use super::parts::{Choose, empty, table};
use super::{Answer, Frame, notice, page};
use crate::actions::change_name;
use crate::call::{Call, query_of};
use crate::count::ByState;
use crate::dashboard::ArgsView;
use crate::filter::Filters;
use crate::snapshot::snapshot;
use crate::view::JobView;

/// The states, and what people call them.
pub(super) const STATES: [(JobState, &str); 5] = [
    (JobState::Available, "Available"),
    (JobState::Running, "Running"),
    (JobState::Completed, "Completed"),
    (JobState::Discarded, "Dead letters"),
    (JobState::Cancelled, "Cancelled"),
];

/// What is done with many, and what its button says.
pub(super) const CHANGES: [(Change, &str); 3] =
    [(Change::Retry, "Retry"), (Change::Cancel, "Cancel"), (Change::Delete, "Delete")];

pub(crate) async fn list(call: Call) -> Answer {
    let filters = Filters::of(&call)?;
    let found = call.app.store.list(filters.filter.clone(), filters.order, filters.after, filters.limit).await?;
    let jobs: Vec<_> = found.jobs.iter().map(JobView::row).collect();
    let counts = snapshot(&call.app).await?.counts;
    let frame = Frame::of(&call);
    let content = html! {
        (notice(&call))
        h1 { "Jobs" }
        (tabs(&frame, &filters, counts))
        (search(&frame, &filters, matches!(call.app.args, ArgsView::Shown)))
        form method="get" action=(frame.link("/jobs/bulk")) id="selection" {
            section.card.flush data-live="" id="jobs" {
                @if jobs.is_empty() {
                    @if found.next.is_some() {
                        (empty("None in this part", "The store was looked through up to here. Go on to the next part."))
                    } @else { (empty("No jobs", "No job meets this filter.")) }
                } @else {
                    (table(&frame, &jobs, call.app.clock.now(), if frame.may_write { Choose::Boxes } else { Choose::Nothing }))
                }
                (pages(&frame, &filters, found.next))
            }
            @if frame.may_write && !jobs.is_empty() { (actions(&frame, &filters)) }
        }
    };
    page(&call, "Jobs", "/jobs", &content)
}

fn tabs(frame: &Frame, filters: &Filters, counts: ByState) -> Markup {
    let chosen = &filters.filter.states;
    html! {
        nav.tabs aria-label="State" {
            a href=(frame.link(&format!("/jobs{}", filters.query_with("state", None)))) aria-current=[chosen.is_empty().then_some("true")] { "All" }
            @for (state, name) in STATES {
                a href=(frame.link(&format!("/jobs{}", filters.query_with("state", Some(state.name())))))
                    aria-current=[(chosen[..] == [state]).then_some("true")] {
                    (name) " " span.count { (counts.state(state)) }
                }
            }
        }
    }
}

/// The fields of the form: name, label, example.
const FIELDS: [(&str, &str, &str); 11] = [
    ("kind", "Kind", "such as send_mail"),
    ("queue", "Queue", "such as default"),
    ("tag", "Tag", "such as eu"),
    ("error", "Error contains", "such as timed out"),
    ("id", "Id", "such as 0199…"),
    ("created_from", "Accepted from", "1h, 2026-11-21"),
    ("created_to", "Accepted before", "5m"),
    ("due_from", "Due from", "7d"),
    ("due_to", "Due before", "2026-11-21T08:00"),
    ("finished_from", "Ended from", "1d"),
    ("finished_to", "Ended before", "1h"),
];

fn search(frame: &Frame, filters: &Filters, args: bool) -> Markup {
    let open = filters.pairs.iter().any(|(name, _)| !["state", "kind", "queue", "error"].contains(&name.as_str()));
    let field = |name: &str, label: &str, example: &str| {
        html! {
            label for={ "f-" (name) } { span { (label) }
                input id={ "f-" (name) } name=(name) value=(filters.value(name)) placeholder=(example) autocomplete="off"; }
        }
    };
    html! {
        form.card.search method="get" action=(frame.link("/jobs")) role="search" {
            @for state in &filters.filter.states { input type="hidden" name="state" value=(state); }
            div.fields { @for (name, label, example) in FIELDS.iter().filter(|(name, ..)| ["kind", "queue", "error"].contains(name)) { (field(name, label, example)) } }
            details open[open] {
                summary { "More filters" }
                div.fields {
                    @for (name, label, example) in FIELDS.iter().filter(|(name, ..)| !["kind", "queue", "error"].contains(name)) { (field(name, label, example)) }
                    @if args { (field("arg", "Field of the args", "user.id=7")) }
                    label for="f-order" { span { "Order" }
                        select id="f-order" name="order" {
                            option value="newest" { "Newest first" }
                            option value="oldest" selected[filters.order == work_core::store::Order::OldestFirst] { "Oldest first" }
                        } }
                }
            }
            div.row { button.primary { "Filter" } a.button href=(frame.link("/jobs")) { "Clear" } }
        }
    }
}

fn pages(frame: &Frame, filters: &Filters, next: Option<i64>) -> Markup {
    html! {
        nav.pages aria-label="Parts of the list" {
            @if filters.after.is_some() { a.button href=(frame.link(&format!("/jobs{}", filters.query(&[])))) { "First page" } }
            @if let Some(next) = next {
                a.button rel="next" href=(frame.link(&format!("/jobs{}", filters.query(&[("after", &next.to_string())])))) { "Next page" }
            }
        }
    }
}

/// First the selected ones, then all that match.
fn actions(frame: &Frame, filters: &Filters) -> Markup {
    let pairs = filters.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = if filters.is_all() { Some(("all", "1")) } else { None };
    // What suits none of these jobs is not offered.
    let suits = CHANGES.iter().filter(|(change, _)| change.narrowed(filters.filter.clone()).is_some());
    let danger = |change: &Change| matches!(change, Change::Delete);
    let link = |change| {
        let query = query_of(pairs.clone().chain(all).chain([("action", change_name(change))]));
        frame.link(&format!("/jobs/bulk{query}"))
    };
    html! {
        div.actions {
            fieldset id="selected" {
                legend { "Selected jobs" }
                @for (change, label) in suits.clone() {
                    button.danger[danger(change)] name="action" value=(change_name(*change)) { (label) "…" }
                }
            }
            fieldset {
                legend { @if filters.is_all() { "All jobs" } @else { "All that match" } }
                @for (change, label) in suits { a.button.danger[danger(change)] href=(link(*change)) { (label) " all…" } }
            }
        }
    }
}
