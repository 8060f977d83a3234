use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::bug::{Bug, Check};
use super::copy::Copy;
use super::report::{Found, Report};
use crate::postgres::{self, Started};

/// What nextest exits with.
const FAILED: i32 = 100;
const NO_TESTS: i32 = 4;

/// Tries all of these, one after the other.
pub(super) fn all(bugs: &[Bug], copy: &Copy) -> Result<Report, String> {
    let server = if bugs.iter().any(Bug::wants_postgres) { Some(postgres::start()?) } else { None };
    let trials = Trials { copy, server };
    let mut report = Report::default();
    let bad = trials.without(bugs)?;
    for bug in bugs {
        println!("== {}: {}", bug.name, bug.sentence);
        let start = Instant::now();
        let result = match bug.checks.iter().find(|check| bad.contains(&check.targets)) {
            Some(check) => Found::Error(format!("a check of `{}` fails without any bug", check.targets)),
            None => trials.plant(bug).unwrap_or_else(Found::Error),
        };
        println!("   {result:?}, {} s", start.elapsed().as_secs());
        report.add(bug, start.elapsed().as_secs(), result);
    }
    Ok(report)
}

struct Trials<'c> {
    copy: &'c Copy,
    server: Option<Started>,
}

/// How checks ended, and what they said.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Trials<'_> {
    /// Runs every check without a bug. Answers the targets whose checks fail.
    fn without(&self, bugs: &[Bug]) -> Result<Vec<String>, String> {
        let checks: Vec<&Check> = bugs.iter().flat_map(|bug| &bug.checks).collect();
        let groups: BTreeSet<(&str, &[(String, String)])> =
            checks.iter().map(|check| (&*check.targets, &*check.env)).collect();
        let mut bad = Vec::new();
        for (number, (targets, env)) in groups.into_iter().enumerate() {
            println!("== {targets} without a bug");
            let same = checks.iter().filter(|check| check.targets == targets && check.env == env);
            let filters: BTreeSet<String> = same.map(|check| format!("({})", check.filter)).collect();
            let filter = filters.into_iter().collect::<Vec<_>>().join(" or ");
            let all = Check { targets: targets.into(), filter, env: env.to_vec() };
            let said = self.run(&all, &format!("without-{number}"))?;
            if said.code != Some(0) {
                println!("   fails: {:?} {:?}", said.code, failures(&said.text));
                bad.push(targets.to_owned());
            }
        }
        Ok(bad)
    }

    fn plant(&self, bug: &Bug) -> Result<Found, String> {
        let io = |error: std::io::Error| error.to_string();
        let changed = bug.planted(&self.copy.sources)?;
        for (file, text) in &changed {
            fs::write(self.copy.sources.join(file), text).map_err(io)?;
        }
        let found = self.look(bug);
        changed.iter().try_for_each(|(file, _)| self.copy.restore(file)).map_err(io)?;
        found
    }

    fn look(&self, bug: &Bug) -> Result<Found, String> {
        let (mut by, mut seeds) = (Vec::new(), BTreeSet::new());
        for (number, check) in bug.checks.iter().enumerate() {
            let log = format!("{}-{number}", bug.name);
            let said = self.run(check, &log)?;
            match said.code {
                Some(FAILED) => {
                    by.extend(failures(&said.text));
                    seeds.extend(seeds_of(&said.text));
                }
                Some(0) => return Ok(Found::Missed(format!("`{} :: {}`", check.targets, check.filter))),
                Some(NO_TESTS) => return Err(format!("no test fits `{} :: {}`", check.targets, check.filter)),
                code => return Err(format!("it does not build, or nothing ran: {code:?}, see log/{log}")),
            }
        }
        Ok(Found::Caught { by, seeds: seeds.into_iter().collect() })
    }

    fn run(&self, check: &Check, log: &str) -> Result<Said, String> {
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "--all-features", "--no-fail-fast", "--profile", "planted", "-p"]);
        command.args(check.targets.split(' ')).args(["-E", &check.filter]);
        command.current_dir(&self.copy.sources).env("CARGO_TARGET_DIR", &self.copy.target);
        command.env("CARGO_TERM_COLOR", "never").stdin(Stdio::null());
        command.envs(check.env.iter().map(|(name, value)| (name, value)));
        if let Some(server) = &self.server {
            server.tell(&mut command);
        }
        let output = command.output().map_err(|error| format!("cargo could not be started: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let path: PathBuf = self.copy.log.join(log);
        fs::write(&path, &*text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Said { code: output.status.code(), text: text.into_owned() })
    }
}

/// The tests that failed, as nextest names them.
fn failures(text: &str) -> Vec<String> {
    let failed = |line: &str| {
        let line = line.trim_start();
        let how = ["FAIL", "TIMEOUT", "SIGABRT", "SIGSEGV", "SIGKILL", "LEAK-FAIL"];
        if !how.iter().any(|how| line.starts_with(&format!("{how} ["))) {
            return None;
        }
        // In brackets: how long it took, and which of how many it was.
        let name = line.rsplit([']', ')']).next()?.trim().replacen(' ', "::", 1);
        (!name.is_empty()).then_some(name)
    };
    let names: BTreeSet<String> = text.lines().filter_map(failed).collect();
    names.into_iter().collect()
}

/// What a run can be repeated with.
fn seeds_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || "()`,".contains(c));
    let names = ["WORK_SEED=", "PROPTEST_RNG_SEED="];
    words.filter(|word| names.iter().any(|name| word.starts_with(name))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_that_failed_are_named_once() {
        let text = "        PASS [   0.012s] (1/3) work-core retry::tests::a\n        \
            FAIL [   0.012s] (2/3) work-sqlite::faults b::c\n     \
            TIMEOUT [  60.012s] (3/3) work-sqlite::faults d\n     Summary [ 3s]\n        \
            FAIL [   0.012s] (2/3) work-sqlite::faults b::c\n";
        assert_eq!(failures(text), ["work-sqlite::faults::b::c", "work-sqlite::faults::d"]);
    }

    #[test]
    fn seeds_are_found_in_what_tests_print() {
        assert_eq!(seeds_of("seed 7 (repeat with WORK_SEED=7)\n"), ["WORK_SEED=7"]);
    }
}
