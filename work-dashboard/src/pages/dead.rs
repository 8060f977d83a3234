//! Dead letters by what went wrong, so that a thousand of them are three problems.

use maud::{Markup, html};

use super::parts::{ago, empty, grouped};
use super::{Answer, Frame, notice, page};
use crate::call::{Call, query_of};
use crate::groups::{Group, groups};

pub(crate) async fn list(call: Call) -> Answer {
    let found = groups(&call.app).await?;
    let frame = Frame::of(&call);
    let now = call.app.clock.now();
    let content = html! {
        (notice(&call))
        h1 { "Dead letters" }
        div data-live="" id="dead" {
            @if found.groups.is_empty() {
                section.card { (empty("No dead letters", "Every job that ended was performed, or cancelled.")) }
            } @else {
                p.dim {
                    @if found.complete { (grouped(found.looked_at as u64)) " dead letters" }
                    @else { "The newest " (grouped(found.looked_at as u64)) " dead letters" }
                    ", by kind and error. Numbers in an error count as equal."
                }
                @for group in &found.groups { (card(&frame, group, now)) }
            }
        }
    };
    page(&call, "Dead letters", "/dead", &content)
}

fn card(frame: &Frame, group: &Group, now: chrono::DateTime<chrono::Utc>) -> Markup {
    let filter = [("state", "discarded"), ("kind", group.kind.as_str()), ("error", group.search.as_str())];
    let filter = filter.into_iter().filter(|(_, value)| !value.is_empty());
    let bulk = |action| frame.link(&format!("/jobs/bulk{}", query_of(filter.clone().chain([("action", action)]))));
    let error = if group.error.is_empty() { "(no error text)" } else { group.error.as_str() };
    html! {
        section.card.group {
            div.head {
                h2 { span.count.big { (grouped(group.jobs as u64)) } " " (group.kind)
                    @if let Some(status) = group.status { " " span.state.discarded { (status) } } }
                div.row {
                    a.button href=(frame.link(&format!("/jobs{}", query_of(filter.clone())))) { "Show" }
                    @if frame.may_write {
                        a.button.primary href=(bulk("retry")) { "Retry…" }
                        a.button.danger href=(bulk("delete")) { "Delete…" }
                    }
                }
            }
            pre.error tabindex="0" { (error) }
            p.dim {
                @if let Some(at) = group.last_at { "last " (ago(at, now)) }
                @if let Some(at) = group.first_at { " · first " (ago(at, now)) }
                " · " (group.queues.join(", "))
                " · " a href=(frame.link(&format!("/jobs/{}", group.example))) { "newest one" }
            }
        }
    }
}
