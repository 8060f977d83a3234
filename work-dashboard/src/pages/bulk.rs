//! Many jobs at once: first how many, then it is done.

use maud::html;
use work_core::store::Change;

use super::parts::{Choose, jobs, table};
use super::{Answer, Frame, page, to};
use crate::actions::{Far, MAX_BULK, change, change_name, change_of, count_for};
use crate::call::{Call, query_of, value};
use crate::failure::Failure;
use crate::filter::Filters;
use crate::view::JobView;

/// Fields of the form that are no filter.
const BESIDES: [&str; 4] = ["csrf", "action", "max", "all"];

/// Values of the filter that are shown.
const SHOWN: usize = 8;

/// Jobs that are shown as examples.
const EXAMPLES: usize = 5;

fn meant(call: &Call, pairs: &crate::call::Pairs) -> Result<Filters, Failure> {
    let filters = Filters::read(call, pairs, &BESIDES)?;
    if filters.is_all() && value(pairs, "all").is_none() {
        return Err(Failure::bad("nothing-selected", "No job is selected. Go back, and tick some."));
    }
    Ok(filters)
}

pub(crate) async fn ask(call: Call) -> Answer {
    let filters = meant(&call, &call.query)?;
    let change = change_of(value(&call.query, "action").unwrap_or(""))?;
    let found = count_for(&call, change, &filters, Far::Page).await?;
    let examples = match change.narrowed(filters.filter.clone()) {
        Some(filter) if found.count > 0 => {
            call.app.store.list(filter, work_core::store::Order::OldestFirst, None, EXAMPLES).await?.jobs
        }
        _ => Vec::new(),
    };
    let examples: Vec<_> = examples.iter().map(JobView::row).collect();
    let max = if found.exact { found.count.min(MAX_BULK) } else { MAX_BULK };
    let frame = Frame::of(&call);
    let verb = verb(change_name(change));
    let content = html! {
        section.card {
            h1 { (verb) " " (jobs(found.count)) @if !found.exact { " or more" } "?" }
            p.dim {
                @if filters.is_all() { "All jobs in the store" }
                @else { "Those with " @for (name, value) in filters.pairs.iter().take(SHOWN) { span.tag { (name.replace('_', " ")) ": " (value) } " " }
                    @if filters.pairs.len() > SHOWN { "and " (filters.pairs.len() - SHOWN) " more" } }
                " that can be " (done_name(change)) "."
                @if found.count > MAX_BULK || !found.exact { " At most " (jobs(MAX_BULK)) " are changed at once." }
                @if change_name(change) == "delete" { " What is known of them is gone then." }
            }
            @if !examples.is_empty() { h2 { "The oldest of them" } (table(&frame, &examples, call.app.clock.now(), Choose::Nothing)) }
            form method="post" action=(frame.link("/jobs/bulk")) {
                (frame.secret())
                @for (name, value) in &filters.pairs { input type="hidden" name=(name) value=(value); }
                @if filters.is_all() { input type="hidden" name="all" value="1"; }
                input type="hidden" name="max" value=(max);
                div.row {
                    @if found.count > 0 && frame.may_write {
                        button.primary.danger[change_name(change) != "retry"] name="action" value=(change_name(change)) { (verb) " " (jobs(if found.exact { max } else { found.count })) @if !found.exact { " or more" } }
                    }
                    a.button href=(frame.link(&format!("/jobs{}", filters.query(&[])))) { "Back" }
                }
            }
        }
    };
    page(&call, "Are you sure?", "/jobs", &content)
}

const fn done_name(change: Change) -> &'static str {
    match change {
        Change::Retry => "retried",
        Change::Cancel => "cancelled",
        Change::Delete => "deleted",
    }
}

fn verb(name: &str) -> &'static str {
    match name {
        "retry" => "Retry",
        "cancel" => "Cancel",
        _ => "Delete",
    }
}

pub(crate) async fn act(call: Call) -> Answer {
    let form = call.form();
    let filters = meant(&call, &form)?;
    let action = change_of(value(&form, "action").unwrap_or(""))?;
    let max = value(&form, "max").and_then(|max| max.parse().ok());
    // Never more than the person was told of.
    let max = max.ok_or_else(|| Failure::bad("no-limit", "The form does not say how many jobs are meant."))?;
    let done = change(&call, action, &filters, max).await?.to_string();
    // Jobs of a selection of ids may be gone, or in another state: the list without the filter shows them among others.
    let ids = filters.pairs.iter().any(|(name, _)| name == "id");
    let notice = [("done", "bulk"), ("n", done.as_str())];
    let query = if ids { query_of(notice) } else { filters.query(&notice) };
    to(&call, &format!("/jobs{query}"))
}
