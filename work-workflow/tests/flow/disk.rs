//! A disk that takes nothing for a while: whoever adds is told, and what ended is kept until it can be recorded.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use work_core::State;
use work_sqlite::SqliteStore;
use work_workflow::{Engine, FlowError, Item, Next, Step, Workflow};

use crate::stores::within;

/// Where the child finds the file it is to use; without it, the test for the child does nothing.
const FILE: &str = "WORK_WORKFLOW_CHILD_FILE";

work_workflow::states! {
    pub enum Fill: String { Work = "work", More = "more", Done = "done" }
}

const ITEMS: usize = 200;

#[derive(Clone, Default)]
struct Ran(Arc<AtomicUsize>);

async fn work(Item(text): Item<Fill>, State(ran): State<Ran>) -> Next<Fill> {
    ran.0.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    Next::to(Fill::More, text)
}

async fn more(Item(text): Item<Fill>, State(ran): State<Ran>) -> Next<Fill> {
    ran.0.fetch_add(1, Ordering::SeqCst);
    Next::to(Fill::Done, text)
}

/// The largest file that this process may write from now on.
fn largest_file(bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let set = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status().unwrap();
    assert!(set.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_whose_disk_is_full_for_a_while() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let ran = Ran::default();
    let flow = Workflow::builder("fill")
        .start(Fill::Work)
        .state(Fill::Work, Step::new(work).to([Fill::More]))
        .state(Fill::More, Step::new(more).to([Fill::Done]))
        .terminal(Fill::Done)
        .build(ran.clone())
        .unwrap();
    let engine = Engine::new(SqliteStore::open(file).await.unwrap(), flow);
    let run = engine.create("r", &()).await.unwrap();
    let text = "x".repeat(1000);
    run.add_all(Fill::Work, vec![text.clone(); ITEMS]).await.unwrap();
    let outage = async {
        while ran.0.load(Ordering::SeqCst) < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        largest_file("4096");
        let error = run.add_all(Fill::Work, vec![text.clone(); 5_000]).await.unwrap_err();
        assert!(matches!(error, FlowError::Store(_)), "{error}");
        println!("refused: {error}");
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(run.report().await.is_ok(), "it can be read all the same");
        largest_file("unlimited");
        run.done().await;
    };
    within(engine.run_until(outage)).await.unwrap();
    let done = run.report().await.unwrap().state("done").completed;
    println!("{done} done, {} steps ran", ran.0.load(Ordering::SeqCst));
}

#[test]
fn a_full_disk_is_an_error_to_who_adds_and_what_ended_is_kept_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh");
    child.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "disk::child_whose_disk_is_full_for_a_while", "--nocapture"]);
    let output = child.env(FILE, folder.path().join("jobs.db")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("refused: "), "{said}");
    // Each step once: an end that could not be written was kept, not repeated.
    assert!(said.contains(&format!("{ITEMS} done, {} steps ran", 2 * ITEMS)), "{said}");
}
