use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use work_core::{Args, Classified, Classify, Context, Job, JobId, Json, Router};

/// What is done, and to what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) customer: String,
    pub(crate) number: u32,
}

/// Each goes wrong in its own way now and then.
pub(crate) fn router() -> Router {
    Router::new()
        .route("send_mail", send_mail)
        .route("charge_card", charge_card)
        .route("resize_image", resize_image)
        .route("build_report", build_report)
        .route("sync_inventory", sync_inventory)
        .route("clean_up", clean_up)
}

/// The job of a number: the kinds in turn, the queues and the tags mixed.
pub(crate) fn job(number: u32) -> Job {
    let kinds = ["send_mail", "send_mail", "resize_image", "charge_card", "send_mail", "build_report"];
    let kind = kinds[number as usize % kinds.len()];
    let queue = match kind {
        "send_mail" => "mail",
        "build_report" => "reports",
        _ => "default",
    };
    let customer = ["ann@example.org", "bo@example.com", "cleo@example.net"][number as usize % 3];
    let task = Task { customer: customer.into(), number };
    let job = Job::new(kind, task).queue(queue).max_attempts(3).header("request", format!("r-{number:05}"));
    if number.is_multiple_of(4) { job.tag("eu") } else { job }
}

async fn send_mail(id: JobId, Args(task): Args<Task>) -> anyhow::Result<Json<Value>> {
    tokio::time::sleep(Duration::from_millis(u64::from(20 + task.number % 7 * 15))).await;
    if task.number.is_multiple_of(19) {
        bail!("connection to 10.0.3.{} timed out after 30s\nwhile sending to {}", task.number % 9, task.customer);
    }
    Ok(Json(json!({ "to": task.customer, "message": id.to_string() })))
}

/// A card that is refused is refused tomorrow too: no retry.
async fn charge_card(Args(task): Args<Task>) -> Result<Json<Value>, Classified> {
    tokio::time::sleep(Duration::from_millis(90)).await;
    if task.number.is_multiple_of(5) {
        Err(format!("card of customer {} was declined: insufficient funds", task.number)).discard()?;
    }
    Ok(Json(json!({ "charged": task.number * 100 })))
}

async fn resize_image(Args(task): Args<Task>) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_millis(140)).await;
    if task.number.is_multiple_of(7) {
        bail!("image {} is no PNG: bad signature", task.number);
    }
    Ok(())
}

/// Says how far it is.
async fn build_report(context: Context, Args(task): Args<Task>) -> Json<Value> {
    for step in 0..20_u8 {
        context.set_progress(f32::from(step) / 20.0);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Json(json!({ "rows": task.number * 37 }))
}

async fn sync_inventory() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn clean_up() {}
