//! A relay that is killed at any moment.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use work_core::{Args, Backoff, LocalWorker, Outcome, Router, Status, Worker};
use work_sqlite::outbox::{OutboxRow, SqliteOutbox};

use crate::order::check_order;
use crate::place::{Chance, Place, TABLE};

const FOLDER: &str = "WORK_TEST_OUTBOX_FOLDER";

const KILLS: usize = 15;

#[test]
fn killed_again_and_again_every_row_arrives_in_the_order_of_its_key() {
    let place = Place::new(TABLE);
    let mut chance = Chance(11);
    let mut rows: HashMap<String, Vec<String>> = HashMap::new();
    let mut all = HashSet::new();
    let mut in_vain = 0;
    for kill in 0..KILLS {
        place.user.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..200 {
            let key = format!("key-{}", chance.below(20));
            let id = place.add(Some(&key), "1").to_string();
            all.insert(id.clone());
            rows.entry(key).or_default().push(id);
        }
        place.user.execute_batch("COMMIT").unwrap();
        let before = delivered(&place.path()).len();
        let mut child = start(&place.path());
        // The lease of the killed one has to end first; the kill comes a little after that.
        wait(|| delivered(&place.path()).len() > before);
        std::thread::sleep(Duration::from_millis(chance.below(60)));
        child.kill().unwrap();
        child.wait().unwrap();
        in_vain += usize::from(place.pending() == 0);
        println!("kill {kill}: {} delivered, {} pending", delivered(&place.path()).len(), place.pending());
    }
    assert!(in_vain < KILLS / 2, "most kills hit a relay at work");
    let mut child = start(&place.path());
    wait(|| place.pending() == 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let seen = delivered(&place.path());
    assert_eq!(seen.iter().map(|(id, _)| id.clone()).collect::<HashSet<_>>(), all, "none is lost");
    check_order(&seen, &rows);
    println!("{} rows, {} deliveries", all.len(), seen.len());
}

/// Not a test of its own: what is killed.
#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(path) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let effects = path.with_extension("effects");
        let chance = Arc::new(Mutex::new(Chance(u64::from(std::process::id()))));
        let handler = move |Args(row): Args<OutboxRow>| {
            let (effects, chance) = (effects.clone(), chance.clone());
            async move {
                let line = format!("{} {}\n", row.id(), row.key().unwrap());
                let mut file = OpenOptions::new().append(true).create(true).open(effects).unwrap();
                file.write_all(line.as_bytes()).unwrap();
                let fails = chance.lock().unwrap().below(5) == 0;
                Outcome::new(if fails { Status::UNAVAILABLE } else { Status::SUCCESS })
            }
        };
        let worker = LocalWorker::new(Router::new().route("hook", handler));
        let outbox = SqliteOutbox::builder(&path, "outbox").key("key").lease(Duration::from_millis(300)).in_flight(32);
        let outbox = outbox.backoff(Backoff::constant(Duration::from_millis(5))).open().await.unwrap();
        worker.perform_receive("hook", outbox).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

fn start(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::child", "--exact", "--ignored"]).env(FOLDER, path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Id and key of each line.
fn delivered(path: &Path) -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(path.with_extension("effects")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(id, key)| (id.into(), Some(key.into()))).collect()
}

fn wait(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_file_of_a_killed_relay_is_in_order() {
    let place = Place::new(TABLE);
    place.add(Some("a"), "1");
    let mut child = start(&place.path());
    wait(|| !delivered(&place.path()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let check = Connection::open(place.path()).unwrap();
    assert_eq!(check.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
}
