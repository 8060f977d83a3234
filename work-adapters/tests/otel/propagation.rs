use tower::ServiceExt;
use tower_layer::Layer;
use tracing::Instrument;
use work_adapters::otel::{self, TRACEPARENT, TRACESTATE};
use work_adapters::{OtelLayer, OtelWorker};
use work_core::{Args, BoxError, Job, LocalWorker, Outcome, Router, Status, Worker};

use super::collector::{collected, is_child, is_root, links_to};

const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn perform(job: Job) {
    let router = Router::new().route("job", async || {}).layer(OtelLayer::new());
    OtelWorker::new(LocalWorker::new(router)).perform(job).await.unwrap().outcome().await.unwrap();
}

#[test]
fn a_job_keeps_the_context_that_it_came_with() {
    let spans = collected(|| perform(Job::new("job", ()).header(TRACEPARENT, FOREIGN).header(TRACESTATE, "a=b")));
    let [link] = &*spans.one("process default").links else { panic!("one link") };
    assert_eq!(link.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(link.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(link.trace_state, "a=b");
}

#[test]
fn a_context_that_is_none_is_no_link_and_no_failure() {
    for bad in ["", "nonsense", "00-00000000000000000000000000000000-0000000000000000-01", "ff-1-2-3", "00-\u{e9}-2-3"]
    {
        let spans = collected(|| perform(Job::new("job", ()).header(TRACEPARENT, bad)));
        let process = spans.one("process default");
        assert!(process.links.is_empty() && is_root(process), "{bad}");
    }
}

#[test]
fn a_job_that_a_handler_performs_is_linked_to_the_handler() {
    let spans = collected(|| async {
        let router = Router::new().route("second", async || {}).layer(OtelLayer::new());
        let worker = OtelWorker::new(LocalWorker::new(router));
        let inner = worker.clone();
        let handler = async move |Args(n): Args<u8>| {
            inner.perform(Job::new("second", n).queue("second")).await.unwrap().outcome().await.unwrap();
        };
        let outer = LocalWorker::new(Router::new().route("first", handler).layer(OtelLayer::new()));
        outer.perform(Job::new("first", 1_u8).queue("first")).await.unwrap().outcome().await.unwrap();
    });
    let (first, send, second) = (spans.one("process first"), spans.one("send second"), spans.one("process second"));
    assert!(is_child(send, first));
    assert!(links_to(second, send) && is_root(second));
}

#[test]
fn a_job_that_takes_another_way_can_be_given_the_context_of_the_current_span() {
    let spans = collected(|| async {
        let injected = async { otel::inject(Job::new("job", ())) }.instrument(tracing::info_span!("request")).await;
        let router = Router::new().route("job", async || {}).layer(OtelLayer::new());
        let worker = LocalWorker::new(router);
        async { worker.perform(injected).await.unwrap().outcome().await.unwrap() }
            .instrument(tracing::info_span!("other"))
            .await;
    });
    let process = spans.one("process default");
    assert!(links_to(process, spans.one("request")) && is_root(process));
}

#[test]
fn the_span_that_a_worker_runs_in_is_not_the_parent_of_what_it_performs() {
    let spans = collected(|| {
        let answer = |_: Job| std::future::ready(Ok::<_, BoxError>(Outcome::new(Status::SUCCESS)));
        let service = OtelLayer::new().layer(tower::service_fn(answer));
        async move { service.oneshot(Job::new("job", ())).await.unwrap() }.instrument(tracing::info_span!("loop"))
    });
    assert!(is_root(spans.one("process default")));
}

#[tokio::test]
async fn without_a_subscriber_a_job_stays_as_it_is() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let note = seen.clone();
    let layer = tower::util::MapRequestLayer::new(move |job: Job| {
        *note.lock().unwrap() = Some(job.parts().headers.clone());
        job
    });
    let router = Router::new().route("job", async || {}).layer(layer).layer(OtelLayer::new());
    let worker = OtelWorker::new(LocalWorker::new(router));
    worker.perform(Job::new("job", ())).await.unwrap().outcome().await.unwrap();
    assert!(seen.lock().unwrap().take().unwrap().is_empty());
}
