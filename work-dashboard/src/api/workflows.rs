//! Runs of workflows of the API.

use serde_json::json;

use super::{Answer, json_of};
use crate::actions::{self, Pause};
use crate::call::Call;
use crate::workflows;

pub(crate) async fn list(call: Call) -> Answer {
    let queues = call.app.queues().await?;
    let runs = workflows::runs_with(&*call.app.store, queues.iter().map(|queue| &queue.info)).await?;
    json_of(&json!({ "runs": runs }))
}

pub(crate) async fn get(call: Call) -> Answer {
    json_of(&actions::found_run(&call).await?)
}

pub(crate) async fn pause(call: Call, pause: Pause) -> Answer {
    json_of(&json!({ "changed": actions::pause_run(&call, pause).await? }))
}

pub(crate) async fn cancel(call: Call) -> Answer {
    json_of(&json!({ "cancelled": actions::cancel_run(&call).await? }))
}
