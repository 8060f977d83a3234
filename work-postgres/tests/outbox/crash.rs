//! Processes that are killed at any moment.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use work_core::{Args, LocalWorker, Router, Worker};
use work_postgres::outbox::OutboxRow;

use crate::place::{Place, TABLE, name, until};
use crate::support;

const FILE: &str = "WORK_TEST_OUTBOX_FILE";
const SCHEMA: &str = "WORK_TEST_OUTBOX_SCHEMA";

const KILLS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_that_are_killed_again_and_again_every_row_arrives_in_the_order_of_its_key() {
    let place = Place::new(TABLE).await;
    let file = std::env::temp_dir().join(name());
    let mut children = [start(&file, &place.schema), start(&file, &place.schema)];
    for kill in 0..KILLS {
        place.run("INSERT INTO work.outbox(key) SELECT 'key ' || n % 20 FROM generate_series(1, 150) n").await;
        let before = delivered(&file).len();
        until("more", async || delivered(&file).len() > before + 20).await;
        let child = &mut children[kill % 2];
        child.kill().unwrap();
        child.wait().unwrap();
        *child = start(&file, &place.schema);
    }
    place.until_pending(0).await;
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let seen = delivered(&file);
    std::fs::remove_file(&file).unwrap();
    let total = KILLS * 150;
    assert_eq!(seen.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().len(), total, "none is lost");
    for key in 0..20 {
        let key = format!("key {key}");
        let mut got: Vec<i64> = seen.iter().filter(|(_, of)| *of == key).map(|(id, _)| *id).collect();
        got.dedup();
        assert!(got.is_sorted(), "{key}: {got:?}");
    }
    println!("{total} rows, {} deliveries", seen.len());
}

/// Not a test of its own: what is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test above"]
async fn child() {
    let (Some(file), Ok(schema)) = (std::env::var_os(FILE).map(PathBuf::from), std::env::var(SCHEMA)) else {
        return;
    };
    let place = Place::of(support::url(), schema).await;
    let handler = move |Args(row): Args<OutboxRow>| {
        let mut log = OpenOptions::new().append(true).create(true).open(&file).unwrap();
        async move { log.write_all(format!("{} {}\n", row.id(), row.key().unwrap()).as_bytes()).unwrap() }
    };
    let worker = LocalWorker::new(Router::new().route("hook", handler));
    let outbox = place.outbox().lease(Duration::from_secs(1)).in_flight(8).open().await.unwrap();
    worker.perform_receive("hook", outbox).await.unwrap();
    tokio::time::sleep(Duration::from_secs(90)).await;
}

fn start(file: &Path, schema: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::child", "--exact", "--ignored"]).env(FILE, file).env(SCHEMA, schema);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Id and key of each line.
fn delivered(file: &Path) -> Vec<(i64, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.lines().filter_map(|line| line.split_once(' '));
    whole.filter_map(|(id, key)| Some((id.parse().ok()?, key.to_owned()))).collect()
}
