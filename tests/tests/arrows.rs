//! The arrows between crates are only those of docs/architecture.md, section 1.

use std::collections::BTreeSet;
use std::process::Command;

/// A crate, and the crates of ours that it may depend on when it is built for a user.
const ARROWS: &[(&str, &[&str])] = &[
    ("work-core", &["work-macros"]),
    ("work-macros", &[]),
    ("work-adapters", &["work-core"]),
    ("work-sqlite", &["work-core"]),
    ("work-postgres", &["work-core"]),
    ("work-workflow", &["work-core"]),
    ("work-dashboard", &["work-core"]),
    ("work-cli", &["work-core", "work-dashboard", "work-postgres", "work-sqlite"]),
];

/// What no user's build contains, so it may depend on anything.
const LEAVES: &[&str] = &["work-bench", "work-examples", "work-tests", "xtask"];

/// What work-core never knows: databases, HTTP, signals, exporters. The facades `tracing` and `metrics` are none of these.
const FOREIGN: &[&str] = &[
    "rusqlite",
    "tokio-postgres",
    "redis",
    "async-nats",
    "axum",
    "hyper",
    "opentelemetry",
    "metrics-exporter-prometheus",
    "prometheus",
];

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let mut metadata = Command::new(env!("CARGO"));
    let output = metadata.args(["metadata", "--format-version", "1", "--no-deps"]).output().expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if LEAVES.contains(&name) {
            continue;
        }
        let allowed = ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} is not in docs/architecture.md"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if dependency["kind"] == "dev" {
                continue;
            }
            assert!(!ours.contains(to) || allowed.contains(&to), "{name} must not depend on {to}");
            assert!(name != "work-core" || !FOREIGN.contains(&to), "work-core must not depend on {to}");
        }
    }
}
