//! Jobs of the API.

use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use work_core::brief;

use super::{Answer, json_of};
use crate::actions::{self, Act, Far, MAX_BULK};
use crate::call::Call;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::version::version_of;
use crate::view::JobView;

/// A page, as the web page shows it.
pub(crate) async fn list(call: Call) -> Answer {
    let filters = Filters::of(&call)?;
    let Filters { filter, order, after, limit, .. } = filters;
    let page = call.app.store.list(filter, order, after, limit).await?;
    let jobs: Vec<_> = page.jobs.iter().map(|job| JobView::of(&call.app, job)).collect();
    json_of(&Page { jobs, next: page.next.map(|next| next.to_string()) })
}

/// Serialized at once: going through a value would lose the digits of large numbers.
#[derive(serde::Serialize)]
struct Page {
    jobs: Vec<JobView>,
    next: Option<String>,
}

pub(crate) async fn count(call: Call) -> Answer {
    let filters = Filters::of(&call)?;
    json_of(&actions::count(&call, &filters).await?)
}

pub(crate) async fn get(call: Call) -> Answer {
    let job = actions::found(&call, call.job_id()?).await?;
    let mut answer = json_of(&JobView::of(&call.app, &job))?;
    if let Ok(version) = HeaderValue::try_from(format!("\"{}\"", version_of(&job))) {
        answer.headers_mut().insert(ETAG, version);
    }
    Ok(answer)
}

pub(crate) async fn act(call: Call, act: Act) -> Answer {
    let id = call.job_id()?;
    actions::act(&call, act, id).await?;
    let job = call.app.store.get(id).await?;
    json_of(&json!({ "done": act.name(), "id": id.to_string(), "state": job.map(|job| job.state.name()) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    args: Box<RawValue>,
}

pub(crate) async fn edit(call: Call) -> Answer {
    let id = call.job_id()?;
    let body: Edit = body(&call)?;
    actions::edit(&call, id, Bytes::from(body.args.get().to_owned()), None).await?;
    json_of(&json!({ "done": "edit", "id": id.to_string() }))
}

/// What is done to the jobs of the filter in the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bulk {
    action: String,
    /// How many jobs there must be.
    expect: Option<u64>,
    /// How many are changed at most.
    limit: Option<u64>,
    /// Must be true if there is no filter.
    #[serde(default)]
    all: bool,
}

pub(crate) async fn bulk(call: Call) -> Answer {
    let filters = Filters::of(&call)?;
    let bulk: Bulk = body(&call)?;
    let change = actions::change_of(&bulk.action)?;
    if filters.is_all() && !bulk.all {
        return Err(Failure::bad("empty-filter", "without a filter, all jobs are meant; say so with \"all\": true"));
    }
    let limit = match (bulk.expect, bulk.limit) {
        (None, None) => {
            return Err(Failure::bad("no-limit", "say how many jobs you mean: \"expect\", \"limit\" or both"));
        }
        (expect, limit) => limit.or(expect).unwrap_or_default(),
    };
    if limit > MAX_BULK {
        return Err(Failure::bad("limit", format!("at most {MAX_BULK} jobs are changed at once; repeat the call")));
    }
    if let Some(expect) = bulk.expect {
        let found = actions::count_for(&call, change, &filters, Far::Bulk).await?;
        if found.count != expect || !found.exact {
            let more = if found.exact { "" } else { " or more" };
            let detail = format!("{expect} jobs were expected, and there are {}{more}; nothing was done", found.count);
            return Err(Failure::conflict(detail));
        }
    }
    let changed = actions::change(&call, change, &filters, limit).await?;
    json_of(&json!({ "changed": changed }))
}

fn body<T: for<'de> Deserialize<'de>>(call: &Call) -> Result<T, Failure> {
    serde_json::from_slice(&call.body).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Failure::new(status, "invalid-body", format!("the body is not understood: {}", brief(&error)))
    })
}
