//! Runs of workflows of the API.

use serde_json::json;

use super::{Answer, json_of};
use crate::actions::{self, Pause};
use crate::call::Call;
use crate::snapshot::snapshot;
use crate::workflows;

pub(crate) async fn list(call: Call) -> Answer {
    json_of(&json!({ "runs": workflows::runs_with(&*call.app.store, snapshot(&call.app).await?.infos()).await? }))
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
