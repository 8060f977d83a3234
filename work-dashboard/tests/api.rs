//! Whatever is sent to the API, its answers are those of its document.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use common::{READER, Site, TOKEN, request, site, stored};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use work_core::store::{StoredSchedule, Want};
use work_core::{Job, Schedule};

/// Requests for each operation.
const CASES: u32 = 48;

/// One request, but for its method and its path.
#[derive(Debug, Clone)]
struct Sent {
    param: String,
    query: Vec<(String, String)>,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Texts that are meant well, and texts that are not.
fn text() -> BoxedStrategy<String> {
    let odd = [
        "",
        "0",
        "-1",
        "18446744073709551616",
        "null",
        "'; DROP TABLE jobs; --",
        "%",
        "\0",
        "../..",
        "a=b",
        "2h",
        "٣d",
        "1e999",
    ];
    prop_oneof![
        4 => "[a-z_]{1,10}",
        3 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
        2 => "\\PC{0,20}",
        1 => "[a-zü\u{202e}]{200,1200}",
    ]
    .boxed()
}

fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z]{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
    .boxed()
}

/// What a schema allows.
fn valid(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return proptest::sample::select(values.clone()).boxed();
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        return proptest::strategy::Union::new(ways.iter().map(valid)).boxed();
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let signs = pattern.trim_matches(['^', '$']).replace("[^\\x00]*", "[a-z0-9 %_'é]{0,30}");
        return proptest::string::string_regex(&signs).unwrap().prop_map(Value::from).boxed();
    }
    match schema["format"].as_str() {
        Some("uuid") => return any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string().into()).boxed(),
        Some("date") => return Just(json!("2026-11-21")).boxed(),
        Some("date-time") => return Just(json!("2026-11-21T08:30:00+01:00")).boxed(),
        _ => {}
    }
    match schema["type"].as_str() {
        Some("integer") => {
            let least = schema["minimum"].as_i64().unwrap_or(-10);
            (least..=schema["maximum"].as_i64().unwrap_or(20)).prop_map(Value::from).boxed()
        }
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("string") => text().prop_map(Value::from).boxed(),
        Some("array") => valid(&schema["items"]),
        Some("object") => {
            let mut whole = Just(serde_json::Map::new()).boxed();
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let needed = schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
                let there = if needed { Just(true).boxed() } else { any::<bool>().boxed() };
                let name = name.clone();
                let with = move |(mut map, value, there): (serde_json::Map<_, _>, Value, bool)| {
                    if there {
                        map.insert(name.clone(), value);
                    }
                    map
                };
                whole = (whole, valid(field), there).prop_map(with).boxed();
            }
            whole.prop_map(Value::Object).boxed()
        }
        _ => any_json(),
    }
}

fn as_text(value: Value) -> String {
    if let Value::String(text) = value { text } else { value.to_string() }
}

/// Good and bad values of what the document says that the operation takes.
fn requests(operation: &Value, params: &[String]) -> impl Strategy<Value = Sent> + use<> {
    let param = prop_oneof![
        3 => proptest::sample::select(params.to_vec()),
        1 => any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()),
        1 => text(),
    ];
    let declared = operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "query");
    let mut pairs = vec![(1, (text(), text()).boxed())];
    for one in declared {
        let name = one["name"].as_str().unwrap().to_owned();
        let values = prop_oneof![valid(&one["schema"]).prop_map(as_text), text()];
        pairs.push((8, values.prop_map(move |value| (name.clone(), value)).boxed()));
    }
    let query = proptest::collection::vec(proptest::strategy::Union::new_weighted(pairs), 0..3);
    let body = match &operation["requestBody"]["content"]["application/json"]["schema"] {
        Value::Null => {
            prop_oneof![4 => Just(Vec::new()), 1 => any_json().prop_map(|body| body.to_string().into())].boxed()
        }
        schema => prop_oneof![
            4 => valid(schema).prop_map(|body| body.to_string().into_bytes()),
            2 => any_json().prop_map(|body| body.to_string().into_bytes()),
            1 => any::<Vec<u8>>(),
        ]
        .boxed(),
    };
    let token = prop_oneof![
        8 => Just(Some(format!("Bearer {TOKEN}"))),
        1 => Just(Some(format!("Bearer {READER}"))),
        1 => text().prop_filter_map("a header", |text| text.is_ascii().then(|| Some(text.replace('\0', "")))),
        1 => Just(None),
    ];
    let kind =
        prop_oneof![8 => Just("application/json"), 1 => Just("text/plain"), 1 => Just("application/json; charset=x")];
    let accept = prop_oneof![Just("*/*"), Just("application/xml"), Just("text/html"), Just("text/event-stream")];
    let host = prop_oneof![12 => Just("localhost:8080"), 1 => Just("evil.example")];
    (param, query, body, token, kind, accept, host).prop_map(|(param, query, body, token, kind, accept, host)| {
        let mut headers: Vec<_> = [("content-type", kind), ("accept", accept), ("host", host)]
            .map(|(name, value)| (name, value.to_owned()))
            .into();
        headers.extend(token.map(|token| ("authorization", token)));
        Sent { param, query, body, headers }
    })
}

/// Why a value is not what a schema says, if it is not.
fn breach(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointed = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there"));
        return breach(document, pointed, value, at);
    }
    let wrong = |what: &str| Some(format!("{at}: {what}: {value} by {schema}"));
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        _ => true,
    };
    if !fits {
        return wrong("another type");
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return wrong("none of these");
    }
    if let Some(map) = value.as_object() {
        let missing =
            schema["required"].as_array().into_iter().flatten().find(|name| !map.contains_key(name.as_str().unwrap()));
        if let Some(missing) = missing {
            return wrong(&format!("without {missing}"));
        }
        let known = schema["properties"].as_object();
        for (name, value) in map {
            match known.and_then(|known| known.get(name)) {
                Some(schema) => {
                    if let Some(why) = breach(document, schema, value, &format!("{at}/{name}")) {
                        return Some(why);
                    }
                }
                None if known.is_some() => return wrong(&format!("{name} is not in the document")),
                None => {}
            }
        }
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    items
        .filter(|_| !schema["items"].is_null())
        .find_map(|(n, item)| breach(document, &schema["items"], item, &format!("{at}/{n}")))
}

/// A site with something of each kind, and what its paths may name.
async fn filled(folder: &tempfile::TempDir) -> (Site, Vec<String>) {
    let store = work_sqlite::SqliteStore::open(folder.path().join("jobs.db")).await.unwrap();
    let site = site(Arc::new(store), |builder| builder.token(TOKEN).read_only_token(READER).show_args());
    let mut params = vec!["default".to_owned(), "nightly".to_owned()];
    for number in 0..3 {
        params.push(site.dead(Job::new("a", json!({ "n": number })).tag("t"), "it failed").await.to_string());
        params.push(site.keep(Job::new("b", json!([number]))).await.to_string());
    }
    let later = site.keep(Job::new("c", json!(null)).scheduled_at("2100-01-01T00:00:00Z".parse().unwrap())).await;
    let running = site.keep(Job::new("d", json!("x")).queue("runs").timeout(Duration::from_secs(9))).await;
    params.extend([later.to_string(), running.to_string()]);
    let lease_for = Duration::from_secs(600);
    let want = Want { queues: vec!["runs".into()], limit: 9, lease_for, worker: "w".into(), ..Want::default() };
    let leased = site.store.lease(want).await.unwrap();
    site.store.set_progress(vec![(leased.jobs[0].key, 0.5)]).await.unwrap();
    site.store.beat(work_core::store::WorkerInfo::new("w")).await.unwrap();
    let schedule = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
    let job = stored(Job::new("report", json!({}))).1;
    site.store.put_schedule(StoredSchedule::of("nightly", job, &schedule)).await.unwrap();
    (site, params)
}

async fn send(site: &Site, method: &str, path: &str, sent: &Sent) -> common::Answer {
    let query: Vec<_> =
        sent.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let start = path.find('{').unwrap_or(path.len());
    let end = path.find('}').map_or(path.len(), |end| end + 1);
    let param = if start < path.len() { encoded(&sent.param) } else { String::new() };
    let mut target = format!("{}{param}{}", &path[..start], &path[end..]);
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let mut request = request(method, &target);
    request.headers_mut().unwrap().clear();
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    site.send(request.body(Body::from(sent.body.clone())).unwrap()).await
}

#[test]
fn every_answer_to_whatever_is_sent_is_in_the_document() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (site, _) = runtime.block_on(filled(&folder));
    let ask = Sent {
        param: String::new(),
        query: Vec::new(),
        body: Vec::new(),
        headers: vec![("host", "localhost".into()), ("authorization", format!("Bearer {TOKEN}"))],
    };
    let document = runtime.block_on(send(&site, "GET", "/api/v1/openapi.json", &ask)).json();

    let of_api = work_dashboard::routes().filter(|(_, path, _)| path.starts_with("/api/"));
    let routes: BTreeSet<_> = of_api.map(|(method, path, _)| (path.to_owned(), method.to_ascii_lowercase())).collect();
    let mut seen = BTreeSet::new();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            // A site of its own: others may have deleted what this one looks for.
            let folder = tempfile::tempdir().unwrap();
            let (site, params) = runtime.block_on(filled(&folder));
            let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
            let statuses = std::cell::RefCell::new(BTreeSet::new());
            let check = |sent: Sent| {
                let answer = runtime.block_on(send(&site, &method.to_ascii_uppercase(), path, &sent));
                let status = answer.status.as_u16();
                let told = &operation["responses"][status.to_string()];
                prop_assert!(status < 500 && !told.is_null(), "{method} {path}: {status}: {}", answer.text);
                let kind = answer.header("content-type").split(';').next().unwrap_or("").to_owned();
                let content = &told["content"][&kind];
                prop_assert!(!content.is_null(), "{method} {path}: {status} as {kind}");
                if kind.ends_with("json") {
                    let why = breach(&document, &content["schema"], &answer.json(), "");
                    prop_assert!(why.is_none(), "{method} {path}: {status}: {}", why.unwrap());
                }
                statuses.borrow_mut().insert(status);
                Ok(())
            };
            let done = runner.run(&requests(operation, &params), check);
            done.unwrap_or_else(|error| panic!("{error}"));
            println!("{method:6} {path}: {:?}", statuses.into_inner());
            seen.insert((path.clone(), method.clone()));
        }
    }
    assert!(routes.is_subset(&seen), "every route of the API is in its document: {routes:?}");
    println!("{operations} operations, {} requests", operations * CASES);
}
