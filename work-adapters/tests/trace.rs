//! What a subscriber gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::{Arc, Mutex};
use std::task::{Context as Poll_, Poll};

use tower_service::Service;
use tracing_subscriber::fmt::MakeWriter;
use work_adapters::TraceLayer;
use work_core::{BoxError, Job, LocalWorker, Outcome, Router, Worker};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);
impl std::io::Write for Out {
    fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(b);
        Ok(b.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
impl<'a> MakeWriter<'a> for Out {
    type Writer = Out;
    fn make_writer(&'a self) -> Out {
        self.clone()
    }
}

/// Panics before there is a future.
#[derive(Clone)]
struct Explodes;
impl Service<Job> for Explodes {
    type Response = Outcome;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Outcome, BoxError>>;
    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: Job) -> Self::Future {
        panic!("in call")
    }
}

#[tokio::test]
async fn a_panic_before_there_is_a_future_is_an_event_of_status_500() {
    let out = Out::default();
    let _g = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(out.clone())
            .with_max_level(tracing::Level::DEBUG)
            .finish(),
    );
    let w = LocalWorker::new(Router::new().try_route_service("x", Explodes).unwrap().layer(TraceLayer::new()));
    w.perform(Job::new("x", ())).await.unwrap().outcome().await.unwrap();
    let t = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(t.contains("500"), "{t}");
}
