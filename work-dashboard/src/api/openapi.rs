//! The document of the API, made from the table of routes.

use std::future::{Ready, ready};

use serde_json::{Map, Value, json};

use super::schemas::{schemas, states, whole};
use super::{Answer, json_of};
use crate::access::Right;
use crate::call::Call;
use crate::filter::{MAX_LIMIT, NAMES};
use crate::routes::{ROUTES, Route};

/// A named future: one that is `async` would have to be known before the table that it reads.
#[expect(clippy::needless_pass_by_value, reason = "as every handler")]
pub(crate) fn document(call: Call) -> Ready<Answer> {
    ready(made(&call))
}

fn made(call: &Call) -> Answer {
    let mut paths: Map<String, Value> = Map::new();
    let documented = |path: &str| path.starts_with("/api/") || ["/livez", "/readyz", "/metrics"].contains(&path);
    for route in ROUTES.iter().filter(|route| documented(route.path)) {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.to_ascii_lowercase()] = operation(route);
    }
    json_of(&json!({
        "openapi": "3.1.0",
        "info": { "title": call.app.title, "version": env!("CARGO_PKG_VERSION"),
            "description": "Jobs, queues, schedules and workers. Bodies are JSON; failures are application/problem+json." },
        "servers": [{ "url": if call.base.is_empty() { "/" } else { call.base.as_str() } }],
        "paths": paths,
        "components": { "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    }))
}

fn operation(route: &Route) -> Value {
    let good = if route.path.starts_with("/api/") {
        json!({ "description": "Done.", "content": { "application/json": { "schema": answer(route) } } })
    } else {
        json!({ "description": "It does.", "content": { "text/plain": { "schema": { "type": "string" } } } })
    };
    let mut responses = json!({ "200": good });
    let mut statuses = vec![("421", "The host name is not answered."), ("503", "The store cannot be used.")];
    if route.needs > Right::Nobody {
        statuses.push(("400", "Something in the request is not understood."));
        statuses.push(("401", "No token, or a wrong one."));
        statuses.push(("403", "Not allowed."));
        statuses.push(("414", "The address is too long."));
        statuses.push(("429", "Too many wrong tokens."));
    }
    if route.needs == Right::Write {
        statuses.push(("408", "The body took too long."));
        statuses.push(("409", "The job is not one for that."));
        statuses.push(("413", "The body is too large."));
        statuses.push(("415", "The body is no JSON by its type."));
        statuses.push(("422", "The body has other fields."));
    }
    if route.path.contains('{') {
        statuses.push(("404", "There is none."));
    }
    if guarded(route) {
        statuses.push(("412", "The job has changed since its ETag was read."));
    }
    for (status, about) in statuses {
        responses[status] = json!({ "description": about,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    }
    let mut operation = json!({ "summary": route.about, "operationId": name(route),
        "parameters": parameters(route), "responses": responses });
    if route.needs > Right::Nobody {
        operation["security"] = json!([{ "token": [] }]);
    }
    if let Some(schema) = body(route) {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn name(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1").trim_matches('/');
    let words = path.split('/').filter(|part| !part.starts_with('{')).collect::<Vec<_>>().join("_");
    let one = if route.path.ends_with('}') { "_one" } else { "" };
    format!("{}_{}{one}", route.method.to_ascii_lowercase(), words.replace(['-', '.'], "_"))
}

/// True for what changes one job, which may say what the job was like by `If-Match`.
fn guarded(route: &Route) -> bool {
    route.needs == Right::Write && route.path.contains("/jobs/{id}")
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<_> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": in_path_as(name) }))
        .collect();
    if guarded(route) {
        all.push(json!({ "name": "If-Match", "in": "header", "schema": { "type": "string" },
            "description": "The ETag of the job when it was read: if it has changed since, nothing is done." }));
    }
    if ["/api/v1/jobs", "/api/v1/jobs/count", "/api/v1/jobs/bulk"].contains(&route.path) {
        all.extend(NAMES.iter().map(
            |(name, about)| json!({ "name": name, "in": "query", "description": about, "schema": of_filter(name) }),
        ));
        all.push(
            json!({ "name": "order", "in": "query", "schema": { "enum": ["newest", "oldest"], "default": "newest" } }),
        );
        all.push(json!({ "name": "after", "in": "query", "description": "`next` of the page before.",
            "schema": { "type": "string", "pattern": "^[0-9]{1,18}$" } }));
        all.push(json!({ "name": "limit", "in": "query",
            "schema": { "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50 } }));
    }
    all
}

fn in_path_as(name: &str) -> Value {
    if name == "id" { json!({ "type": "string", "format": "uuid" }) } else { json!({ "type": "string" }) }
}

/// What the value of a name of a filter has to be.
fn of_filter(name: &str) -> Value {
    let text = |max: usize| json!({ "type": "string", "maxLength": max, "pattern": "^[^\\x00]*$" });
    let many = |items: Value| json!({ "type": "array", "items": items });
    match name {
        "state" => many(states()),
        "id" => many(in_path_as("id")),
        "queue" | "kind" | "tag" => many(text(200)),
        "arg" => many(json!({ "type": "string", "maxLength": 1000, "pattern": "^[a-z_.]+=[^\\x00]*$" })),
        "error" => text(500),
        _ => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]{1,6}[smhd]$" },
            { "type": "string", "maxLength": 0 }, { "type": "string", "format": "date" }, { "type": "string", "format": "date-time" } ] }),
    }
}

fn body(route: &Route) -> Option<Value> {
    match route.path {
        "/api/v1/jobs/bulk" => Some(json!({ "type": "object", "required": ["action"], "additionalProperties": false,
            "properties": {
                "action": { "enum": ["retry", "cancel", "delete"] },
                "expect": { "type": "integer", "minimum": 0, "description": "How many jobs there must be." },
                "limit": { "type": "integer", "minimum": 0, "maximum": crate::actions::MAX_BULK },
                "all": { "type": "boolean", "description": "Must be true without a filter." } } })),
        "/api/v1/jobs/{id}/args" => {
            Some(json!({ "type": "object", "required": ["args"], "additionalProperties": false,
            "properties": { "args": {} } }))
        }
        _ => None,
    }
}

fn answer(route: &Route) -> Value {
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let many = |name: &str| json!({ "type": "array", "items": schema(name) });
    let text = json!({ "type": "string" });
    let last = route.path.rsplit('/').next().unwrap_or_default();
    match (route.method, last) {
        ("GET", "openapi.json") => json!({ "type": "object" }),
        ("GET", "overview") => schema("Overview"),
        ("GET", "jobs") => whole(json!({ "jobs": many("Job"), "next": { "type": ["string", "null"] } })),
        ("GET", "{id}") => schema("Job"),
        ("GET", "count") => whole(json!({ "count": { "type": "integer" }, "exact": { "type": "boolean" } })),
        ("GET", "queues") => whole(json!({ "queues": many("Queue") })),
        ("GET", "schedules") => whole(json!({ "schedules": many("Schedule") })),
        ("GET", "workers") => whole(json!({ "workers": many("Worker") })),
        ("GET", "dead-letters") => whole(
            json!({ "groups": many("Group"), "looked_at": { "type": "integer" }, "complete": { "type": "boolean" } }),
        ),
        ("GET", "workflows") => whole(json!({ "runs": many("Run") })),
        ("GET", "{run}") => schema("Run"),
        ("POST", "cancel") if route.path.contains("{run}") => whole(json!({ "cancelled": { "type": "integer" } })),
        ("POST", "bulk") => whole(json!({ "changed": { "type": "integer" } })),
        ("POST", "run") if route.path.contains("{name}") => whole(json!({ "job": text })),
        ("POST", "pause" | "resume") => whole(json!({ "changed": { "type": "boolean" } })),
        ("PUT", "args") => whole(json!({ "done": text, "id": text })),
        _ => whole(json!({ "done": text, "id": text, "state": { "type": ["string", "null"] } })),
    }
}
