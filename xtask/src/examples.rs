use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lane::Outcome;

/// Longer than any example takes, building included.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs each example by the command on its first line; it may leave nothing behind in the repository.
pub(crate) fn run() -> Outcome {
    let sources = match sources() {
        Ok(sources) if sources.is_empty() => return Outcome::Failed("there are no examples".into()),
        Ok(sources) => sources,
        Err(why) => return Outcome::Failed(why),
    };
    let before = changes();
    for source in sources {
        if let Err(why) = run_one(&source) {
            return Outcome::Failed(format!("{}: {why}", source.display()));
        }
    }
    if changes() == before { Outcome::Passed } else { Outcome::Failed("an example left files behind".into()) }
}

fn run_one(source: &PathBuf) -> Result<(), String> {
    let text = std::fs::read_to_string(source).map_err(|error| error.to_string())?;
    let first = text.lines().next().unwrap_or_default();
    let line = first.split('`').nth(1).ok_or("the first line does not say how to run it")?;
    println!("$ {line}");
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let child = command.args(words).stdin(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    wait(child)
}

fn wait(mut child: Child) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error.to_string()),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("still running after {LIMIT:?}"))
}

/// The main file of every example of the workspace.
fn sources() -> Result<Vec<PathBuf>, String> {
    let mut command = Command::new("cargo");
    let output = command.args(["metadata", "--format-version", "1", "--no-deps"]).output();
    let output = output.map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let examples = targets.filter(|target| target["kind"][0] == "example");
    let mut sources: Vec<PathBuf> =
        examples.filter_map(|target| target["src_path"].as_str().map(PathBuf::from)).collect();
    sources.sort();
    Ok(sources)
}

/// What git sees as changed; nothing where there is no git.
fn changes() -> Vec<u8> {
    Command::new("git").args(["status", "--porcelain"]).output().map(|output| output.stdout).unwrap_or_default()
}
