//! The JSON API.

pub(crate) mod jobs;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod schemas;
pub(crate) mod workflows;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::actions::{self, Pause};
use crate::call::Call;
use crate::failure::Failure;
use crate::groups;
use crate::snapshot::snapshot;
use crate::view::{QueueView, ScheduleView, WorkerView};

type Answer = Result<Response, Failure>;

/// JSON, as 200.
pub(crate) fn json_of(value: &impl Serialize) -> Answer {
    let broken = |error: serde_json::Error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "json", format!("the answer is no JSON: {error}"))
    };
    let text = serde_json::to_string(value).map_err(broken)?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// Says nothing of the store: a process that answers lives.
pub(crate) async fn livez(_: Call) -> Answer {
    Ok("ok\n".into_response())
}

/// Reads something small from the store.
pub(crate) async fn readyz(call: Call) -> Answer {
    call.app.store.schedules().await?;
    Ok("ok\n".into_response())
}

pub(crate) async fn overview(call: Call) -> Answer {
    json_of(&*snapshot(&call.app).await?)
}

pub(crate) async fn queues(call: Call) -> Answer {
    let queues = call.app.queues().await?;
    json_of(&json!({ "queues": queues.iter().map(QueueView::of).collect::<Vec<_>>() }))
}

pub(crate) async fn pause_queue(call: Call, pause: Pause) -> Answer {
    let changed = actions::pause_queue(&call, pause).await?;
    json_of(&json!({ "changed": changed }))
}

pub(crate) async fn schedules(call: Call) -> Answer {
    let now = call.app.clock.now();
    let schedules = call.app.store.schedules().await?;
    let schedules: Vec<_> = schedules.iter().map(|schedule| ScheduleView::of(schedule, now)).collect();
    json_of(&json!({ "schedules": schedules }))
}

pub(crate) async fn run_schedule(call: Call) -> Answer {
    let job = actions::run_schedule(&call).await?;
    json_of(&json!({ "job": job.to_string() }))
}

pub(crate) async fn pause_schedule(call: Call, pause: Pause) -> Answer {
    let changed = actions::pause_schedule(&call, pause).await?;
    json_of(&json!({ "changed": changed }))
}

pub(crate) async fn workers(call: Call) -> Answer {
    let workers: Vec<_> = call.app.store.workers().await?.into_iter().map(WorkerView::of).collect();
    json_of(&json!({ "workers": workers }))
}

pub(crate) async fn dead_letters(call: Call) -> Answer {
    json_of(&*groups::groups(&call.app).await?)
}
