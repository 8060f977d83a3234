//! Who drains the queues.

use maud::html;

use super::parts::{ago, empty};
use super::{Answer, page};
use crate::call::Call;
use crate::view::WorkerView;

pub(crate) async fn list(call: Call) -> Answer {
    let workers: Vec<_> = call.app.store.workers().await?.into_iter().map(WorkerView::of).collect();
    let now = call.app.clock.now();
    let content = html! {
        h1 { "Workers" }
        section.card.flush data-live="" id="workers" {
            @if workers.is_empty() { (empty("No workers", "None was heard of in the last minute. Jobs wait until one starts.")) }
            @else {
                div.scroll { table.labelled {
                    thead { tr {
                        th scope="col" { "Worker" } th scope="col" { "Queues" } th scope="col" { "Slots" }
                        th scope="col" { "Version" } th scope="col" { "Started" } th scope="col" { "Last heard" }
                    } }
                    tbody { @for worker in &workers { tr {
                        td.what { strong { (worker.host) } " " span.dim { "pid " (worker.pid) } br; code.id { (worker.id) } }
                        td data-label="Queues" { (worker.queues.join(", ")) }
                        td data-label="Slots" { meter min="0" max=(worker.slots.max(1)) value=(worker.running.min(worker.slots)) aria-label="Busy slots" {} " " (worker.running) " of " (worker.slots) }
                        td data-label="Version" { (worker.version) }
                        td data-label="Started" { (ago(worker.started_at, now)) }
                        td data-label="Last heard" { (ago(worker.last_beat, now)) }
                    } } }
                } }
            }
        }
    };
    page(&call, "Workers", "/workers", &content)
}
