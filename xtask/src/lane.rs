use std::fmt;
use std::process::Command;

use crate::{browser, examples, packages, planted, postgres, tools};

/// One kind of check: a line of the table.
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn() -> Outcome,
}

/// How a lane ended.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(why) => write!(f, "failed ({why})"),
            Self::Skipped(why) => write!(f, "skipped ({why})"),
        }
    }
}

/// In the order they run: the cheap ones first.
pub(crate) const LANES: &[Lane] = &[
    Lane { name: "fmt", about: "the layout is rustfmt's", run: || cargo("fmt --all --check") },
    Lane { name: "planted", about: "bugs that tests must find fit into the sources as they are", run: planted::check },
    Lane {
        name: "clippy",
        about: "no warning in any target",
        run: || cargo("clippy --workspace --all-targets --all-features -- -D warnings"),
    },
    Lane { name: "test", about: "unit and integration tests", run: test },
    Lane {
        name: "doctest",
        about: "every example in the docs",
        run: || cargo("test --workspace --all-features --doc"),
    },
    Lane { name: "rustdoc", about: "the docs build without a warning", run: rustdoc },
    Lane { name: "packages", about: "builds stay small", run: packages::run },
    Lane { name: "deny", about: "licences, sources, duplicate versions", run: deny },
    Lane { name: "promtool", about: "Prometheus has nothing to say against the metrics", run: promtool },
    Lane { name: "examples", about: "each example runs by the command on its first line", run: examples::run },
    Lane { name: "browser", about: "the dashboard in Chromium, for everybody, on both stores", run: browser::test },
    Lane { name: "crash", about: "killed, frozen or stopped, processes lose nothing", run: crash },
];

/// Runs a command line; words are split at spaces.
pub(crate) fn shell(line: &str) -> Outcome {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    run(&mut command)
}

pub(crate) fn run(command: &mut Command) -> Outcome {
    match command.stdin(std::process::Stdio::null()).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{status}")),
        Err(error) => Outcome::Failed(format!("{} could not be started: {error}", command.get_program().display())),
    }
}

fn cargo(line: &str) -> Outcome {
    shell(&format!("cargo {line}"))
}

fn test() -> Outcome {
    let line = if tools::has("cargo-nextest") {
        "nextest run --workspace --all-features --no-fail-fast -E not(binary(/^crash/)|binary(browser))"
    } else {
        "test --workspace --all-features --lib --bins --tests -- \
         --skip killed_at_random_moments --skip on_sqlite:: --skip on_postgres::"
    };
    with_postgres(line)
}

fn crash() -> Outcome {
    if let Err(why) = tools::strace() {
        println!("no process will be killed at its system calls: {why}");
    }
    // One after the other: each of them keeps a machine busy.
    let line = if tools::has("cargo-nextest") {
        "nextest run -p work-tests -p work-workflow --all-features --no-capture --no-fail-fast -E binary(/^crash/)"
    } else {
        "test -p work-tests -p work-workflow --all-features --test crash* --no-fail-fast -- --nocapture --test-threads 1"
    };
    with_postgres(line)
}

/// Runs a command of cargo beside a server, which is stopped when the command has ended, however it ended.
fn with_postgres(line: &str) -> Outcome {
    let mut command = Command::new("cargo");
    command.args(line.split(' '));
    let server = postgres::server_for(&mut command);
    match (run(&mut command), server) {
        (Outcome::Passed, Err(why)) => Outcome::Skipped(format!("without those of Postgres: {why}")),
        (outcome, _) => outcome,
    }
}

fn rustdoc() -> Outcome {
    let mut command = Command::new("cargo");
    command.args(["doc", "--workspace", "--all-features", "--no-deps"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn promtool() -> Outcome {
    match tools::promtool() {
        Ok(program) => {
            let mut command = Command::new("cargo");
            command.args(["test", "-p", "work-adapters", "-p", "work-dashboard", "--all-features"]);
            command.args(["--test", "prometheus", "--test", "metrics", "--", "promtool"]);
            run(command.env("PROMTOOL", program))
        }
        Err(why) => Outcome::Skipped(why),
    }
}

fn deny() -> Outcome {
    match tools::cargo_deny() {
        // The database of advisories is fetched from elsewhere, so it is not part of this lane.
        Ok(program) => {
            run(Command::new(program).args(["--workspace", "--all-features", "check", "bans", "licenses", "sources"]))
        }
        Err(why) => Outcome::Skipped(why),
    }
}
