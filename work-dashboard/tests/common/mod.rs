//! A dashboard, and requests to it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "for tests, each of which uses some of it")]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use work_core::store::{ErrorRecord, Inspect, MemoryStore, NewJob, Settle, Settlement, Want};
use work_core::{Job, JobId, JobState, Status, Store};
use work_dashboard::{Dashboard, DashboardBuilder};

pub(crate) const TOKEN: &str = "the-full-token-of-this-test";
pub(crate) const READER: &str = "the-token-that-may-look";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct Site {
    pub(crate) store: Arc<dyn Inspect>,
    router: axum::Router,
}

/// A site that everybody may use.
pub(crate) fn open() -> Site {
    site(Arc::new(MemoryStore::new()), DashboardBuilder::show_args)
}

/// A site with both tokens.
pub(crate) fn locked() -> Site {
    site(Arc::new(MemoryStore::new()), |builder| builder.token(TOKEN).read_only_token(READER).show_args())
}

pub(crate) fn site(store: Arc<dyn Inspect>, set: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> Site {
    let dashboard = set(Dashboard::builder(Arc::clone(&store))).build().unwrap();
    Site { store, router: dashboard.router() }
}

impl Site {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        // Events never end; nothing else takes long.
        let body = tokio::time::timeout(Duration::from_secs(20), body.collect()).await;
        let text = body.map_or(String::new(), |body| String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap());
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Posts a form with the secret of the site's own pages.
    pub(crate) async fn form(&self, path: &str, fields: &str) -> Answer {
        let secret = self.secret().await;
        let request = request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(format!("csrf={secret}&{fields}"))).unwrap()).await
    }

    /// The secret that a page puts in its forms.
    pub(crate) async fn secret(&self) -> String {
        let page = self.get("/jobs/bulk?all=1&action=delete").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Keeps a job.
    pub(crate) async fn keep(&self, job: Job) -> JobId {
        let (id, job) = stored(job);
        self.store.insert(vec![job]).await.unwrap();
        id
    }

    /// Keeps a job that failed for good with this text.
    pub(crate) async fn dead(&self, job: Job, error: &str) -> JobId {
        self.dead_stored(stored(job).1, error).await
    }

    /// The same of a job that no program of this version would make.
    pub(crate) async fn dead_stored(&self, job: NewJob, error: &str) -> JobId {
        let (id, queue) = (job.parts.id, job.parts.queue.clone());
        self.store.insert(vec![job]).await.unwrap();
        let lease_for = Duration::from_secs(30);
        let want =
            Want { queues: vec![queue], limit: 100, lease_for, worker: "worker-of-the-test".into(), ..Want::default() };
        let leased = self.store.lease(want).await.unwrap();
        let lease = leased.jobs.into_iter().find(|lease| lease.key.id == id).expect("it is due");
        let settle = Settle {
            key: lease.key,
            status: Status::INTERNAL_ERROR,
            settlement: Settlement::Discard,
            error: Some(ErrorRecord::new(error).with_backtrace(format!("0: {error}"))),
            then: Vec::new(),
        };
        self.store.settle(vec![settle]).await.unwrap();
        assert_eq!(self.state(id).await, Some(JobState::Discarded));
        id
    }

    pub(crate) async fn state(&self, id: JobId) -> Option<JobState> {
        self.store.get(id).await.unwrap().map(|job| job.state)
    }
}

pub(crate) fn stored(job: Job) -> (JobId, NewJob) {
    (job.id(), job.into_stored(1 << 20).unwrap())
}

pub(crate) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:8080")
}
