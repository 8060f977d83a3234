use serde_json::{Map, Value, json};

/// What the answers are made of. Each field is always there.
pub(super) fn schemas() -> Value {
    let (text, number, time, flag) = (
        json!({ "type": "string" }),
        json!({ "type": "integer" }),
        json!({ "type": "string", "format": "date-time" }),
        json!({ "type": "boolean" }),
    );
    let (maybe_text, maybe_number) = (json!({ "type": ["string", "null"] }), json!({ "type": ["integer", "null"] }));
    let maybe_time = json!({ "type": ["string", "null"], "format": "date-time" });
    let texts = json!({ "type": "array", "items": text });
    let many = |name: &str| json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } });
    let counts = json!({ "$ref": "#/components/schemas/Counts" });
    let seen = |kinds: Value| {
        json!({ "type": kinds, "required": ["show", "value"], "properties": { "show": { "enum": ["json", "text", "hidden"] },
            "value": { "description": "It, or its size in bytes if it is hidden." } } })
    };
    json!({
        "Problem": whole(json!({ "type": text, "title": text, "status": number, "code": text, "detail": text })),
        "Counts": whole(json!({
            "available": number, "running": number, "completed": number, "discarded": number, "cancelled": number,
            "about": { "type": "array", "items": states(), "description": "States whose number is not exact: where there are \
                many jobs, they are counted a part at a time, so that it is of the last minutes." },
            "at_least": { "type": "array", "items": states(), "description": "States of which there are more than this \
                number: counting stopped there, or has not come to the end." } })),
        "Job": whole(json!({
            "id": { "type": "string", "format": "uuid" }, "kind": text, "queue": text, "state": states(), "priority": number,
            "attempt": number, "max_attempts": maybe_number, "crashes": number, "status": maybe_number, "stopping": flag,
            "tags": texts, "headers": { "type": "object", "additionalProperties": text }, "unique_key": maybe_text,
            "timeout_ms": maybe_number, "created_at": time, "scheduled_at": maybe_time, "expires_at": maybe_time,
            "finished_at": maybe_time, "worker": maybe_text, "lease_until": maybe_time,
            "progress": { "type": ["number", "null"], "minimum": 0, "maximum": 1 },
            "args": seen(json!("object")), "output": seen(json!(["object", "null"])), "attempts": many("Attempt") })),
        "Attempt": whole(json!({
            "attempt": number, "status": number, "name": text, "at": time, "error": text, "backtrace": maybe_text })),
        "Queue": whole(json!({
            "queue": text, "paused_at": maybe_time, "counts": counts, "oldest_ready_seconds": maybe_number,
            "at_most": maybe_number, "capacity": maybe_number })),
        "Schedule": whole(json!({
            "name": text, "kind": text, "queue": text, "schedule": text, "overlap": text, "catch_up": text,
            "paused_at": maybe_time, "last_slot": maybe_time, "last_job": maybe_text,
            "next": { "type": "array", "items": time } })),
        "Worker": whole(json!({
            "id": text, "host": text, "pid": number, "version": text, "queues": texts, "slots": number,
            "running": number, "started_at": time, "last_beat": time })),
        "Run": run(),
        "Group": whole(json!({
            "kind": text, "error": text, "search": text, "status": maybe_number, "jobs": number, "first_at": maybe_time,
            "last_at": maybe_time, "queues": texts, "example": text })),
        "Overview": overview(&counts),
    })
}

fn run() -> Value {
    let (text, number, flag) =
        (json!({ "type": "string" }), json!({ "type": "integer" }), json!({ "type": "boolean" }));
    let names = json!({ "type": "array", "items": text });
    let state = whole(json!({
        "state": text, "start": flag, "terminal": flag, "to": names, "kicks": names, "dead": { "type": ["string", "null"] },
        "max_attempts": number, "waiting": number, "executing": number, "failed": number, "cancelled": number, "exact": flag }));
    let ended = json!({ "type": ["object", "null"], "required": ["by_state", "complete"], "description":
        "Of the newest 1000 steps that ended well: items by the terminal state, steps by any other. Not in lists.",
        "properties": { "by_state": { "type": "object", "additionalProperties": number }, "complete": flag } });
    whole(json!({
        "workflow": text, "run": text, "phase": { "enum": ["open", "paused", "ended"] },
        "created_at": { "type": "string", "format": "date-time" }, "states": { "type": "array", "items": state },
        "ended": ended }))
}

fn overview(counts: &Value) -> Value {
    let (number, ratio) = (json!({ "type": "integer" }), json!({ "type": "number" }));
    let (time, maybe_time) = (
        json!({ "type": "string", "format": "date-time" }),
        json!({ "type": ["string", "null"], "format": "date-time" }),
    );
    let bar = whole(json!({ "completed": number, "discarded": number, "other": number }));
    let oldest = json!({ "type": ["object", "null"], "required": ["queue", "seconds"],
        "properties": { "queue": { "type": "string" }, "seconds": number } });
    let lately = whole(json!({
        "jobs": number, "completed": number, "discarded": number, "from": maybe_time, "per_second": ratio, "p50_ms": number,
        "p95_ms": number, "p99_ms": number, "bar_seconds": ratio, "bars": { "type": "array", "items": bar } }));
    whole(json!({
        "at": time, "counts": counts, "counted_since": maybe_time, "queues": number, "paused": { "type": "array", "items": { "type": "string" } },
        "oldest_ready": oldest, "workers": number, "slots": number, "busy": number, "lately": lately }))
}

/// An object with all of these fields.
#[expect(clippy::needless_pass_by_value, reason = "made where it is passed")]
pub(super) fn whole(fields: Value) -> Value {
    let names: Vec<Value> =
        fields.as_object().into_iter().flat_map(Map::keys).map(|name| Value::from(name.as_str())).collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

pub(super) fn states() -> Value {
    json!({ "type": "string", "enum": ["available", "running", "completed", "discarded", "cancelled"] })
}
