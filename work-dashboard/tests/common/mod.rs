//! A dashboard, and requests to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

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

pub const TOKEN: &str = "the-full-token-of-this-test";
pub const READER: &str = "the-token-that-may-look";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub struct Site {
    pub store: Arc<dyn Inspect>,
    router: axum::Router,
}

/// A site that everybody may use.
pub fn open() -> Site {
    site(Arc::new(MemoryStore::new()), DashboardBuilder::show_args)
}

/// A site with both tokens.
pub fn locked() -> Site {
    site(Arc::new(MemoryStore::new()), |builder| builder.token(TOKEN).read_only_token(READER).show_args())
}

pub fn site(store: Arc<dyn Inspect>, set: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> Site {
    let dashboard = set(Dashboard::builder(Arc::clone(&store))).build().unwrap();
    Site { store, router: dashboard.router() }
}

impl Site {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        // Events never end; nothing else takes long.
        let body = tokio::time::timeout(Duration::from_secs(20), body.collect()).await;
        let text = body.map_or(String::new(), |body| String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap());
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub async fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Posts a form with the secret of the site's own pages.
    pub async fn form(&self, path: &str, fields: &str) -> Answer {
        let secret = self.secret().await;
        let request = request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(format!("csrf={secret}&{fields}"))).unwrap()).await
    }

    /// The secret that a page puts in its forms.
    pub async fn secret(&self) -> String {
        let page = self.get("/jobs/bulk?all=1&action=delete").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Keeps a job.
    pub async fn keep(&self, job: Job) -> JobId {
        let (id, job) = stored(job);
        self.store.insert(vec![job]).await.unwrap();
        id
    }

    /// Keeps a job that failed for good with this text.
    pub async fn dead(&self, job: Job, error: &str) -> JobId {
        let queue = job.parts().queue.clone();
        let id = self.keep(job).await;
        let lease_for = Duration::from_secs(30);
        let want = Want { queues: vec![queue], limit: 100, lease_for, worker: "worker-of-the-test".into() };
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

    pub async fn state(&self, id: JobId) -> Option<JobState> {
        self.store.get(id).await.unwrap().map(|job| job.state)
    }
}

pub fn stored(job: Job) -> (JobId, NewJob) {
    (job.id(), job.into_stored(1 << 20).unwrap())
}

pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:8080")
}
