use std::collections::BTreeSet;
use std::process::Command;

use crate::lane::{Outcome, shell};

/// What a build of each may pull in, counted as distinct packages with the crate itself.
const LIMITS: &[(&str, usize)] = &[("work-core", 55), ("work-sqlite", 80), ("work-postgres", 95)];

pub(crate) fn run() -> Outcome {
    let lean = shell("cargo check --quiet -p work-core -p work-adapters --no-default-features");
    if !matches!(lean, Outcome::Passed) {
        return lean;
    }
    for (package, limit) in LIMITS {
        let count = match count(package) {
            Ok(count) => count,
            Err(why) => return Outcome::Failed(why),
        };
        println!("{package}: {count} packages (at most {limit})");
        if count > *limit {
            return Outcome::Failed(format!("{package} pulls in {count} packages"));
        }
    }
    Outcome::Passed
}

fn count(package: &str) -> Result<usize, String> {
    let mut command = Command::new("cargo");
    command.args(["tree", "--package", package, "--no-default-features", "--edges", "normal,build"]);
    command.args(["--prefix", "none", "--format", "{p}", "--target", "x86_64-unknown-linux-gnu"]);
    let output = command.output().map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let packages = text.lines().map(|line| line.split(" (").next().unwrap_or(line).trim());
    Ok(packages.filter(|package| !package.is_empty()).collect::<BTreeSet<_>>().len())
}
