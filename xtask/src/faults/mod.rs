//! Breaks processes, disks, networks and servers, group by group, and says what came of it.

mod group;
mod report;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use group::{GROUPS, Group, Tests};
use report::{FOLDER, Report};
use serde_json::json;

use crate::postgres;

/// So many lines of a group are kept in the report.
const FIGURES: usize = 40;

/// What the command line asks for.
struct Wanted {
    full: bool,
    again: bool,
    release: bool,
    groups: Vec<&'static Group>,
}

pub(crate) fn faults(args: &[String]) -> ExitCode {
    if args.iter().any(|arg| arg == "--list") {
        GROUPS.iter().for_each(|group| println!("{:15} {}", group.name, group.about));
        return ExitCode::SUCCESS;
    }
    match wanted(args) {
        Ok(wanted) => run(&wanted),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn wanted(args: &[String]) -> Result<Wanted, String> {
    let (mut wanted, mut names) = (Wanted { full: false, again: false, release: false, groups: Vec::new() }, false);
    for arg in args {
        match arg.as_str() {
            "--full" => wanted.full = true,
            "--again" => wanted.again = true,
            "--release" => wanted.release = true,
            "--only" => names = true,
            name if names && !name.starts_with('-') => {
                let group = GROUPS.iter().find(|group| group.name == name);
                let known = || GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ");
                wanted.groups.push(group.ok_or_else(|| format!("unknown group {name:?}; there are: {}", known()))?);
            }
            other => {
                return Err(format!(
                    "unknown argument {other:?}; there are: --full --again --release --list --only NAME..."
                ));
            }
        }
    }
    if names && wanted.groups.is_empty() {
        return Err("--only needs the name of a group; --list names them".to_owned());
    }
    if wanted.groups.is_empty() {
        wanted.groups = GROUPS.iter().collect();
    }
    Ok(wanted)
}

fn run(wanted: &Wanted) -> ExitCode {
    let size = if wanted.full { "full" } else { "usual" };
    let (mut report, mut bad) = (Report::open(size), 0);
    for group in &wanted.groups {
        if report.has_passed(group.name) && !wanted.again {
            println!("== {}: passed before; --again repeats it", group.name);
            continue;
        }
        println!("\n== {}: {}", group.name, group.about);
        let start = Instant::now();
        let sizes = if wanted.full { group.full } else { group.usual };
        let said = said(group, wanted, sizes);
        let verdict = said.verdict();
        let sizes: Vec<String> = sizes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let seconds = start.elapsed().as_secs();
        println!("== {}: {verdict}, {seconds} s", group.name);
        bad += usize::from(verdict != "passed");
        let what = json!({
            "about": group.about, "sizes": sizes.join(" "), "seconds": seconds, "commit": commit(), "verdict": verdict,
            "passed": said.passed, "failed": said.failed, "seeds": said.seeds, "figures": said.figures,
        });
        if let Err(error) = report.note(group.name, what) {
            eprintln!("{FOLDER}: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("\n{FOLDER}/report.md and report.json say what came of it; {bad} groups did not pass");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the tests of a group have said.
#[derive(Default)]
struct Said {
    passed: usize,
    failed: usize,
    skipped: bool,
    broken: bool,
    seeds: Vec<String>,
    figures: Vec<String>,
}

impl Said {
    fn verdict(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } | Self { broken: true, .. } => "failed",
            Self { skipped: true, .. } => "skipped in part",
            Self { passed: 0, .. } => "nothing ran",
            _ => "passed",
        }
    }

    fn line(&mut self, line: &str) {
        // What a test says first stands behind its name.
        let behind = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        let line = behind.map_or(line, |(_, said)| said);
        if line.starts_with("seed ") {
            self.seeds.push(line.to_owned());
        } else if line.contains("SKIPPED") || line.starts_with("skipped") {
            self.skipped = true;
            self.figures.push(line.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let words: Vec<&str> = counts.split([' ', ';']).collect();
                words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse::<usize>().ok())
            };
            self.passed += count("passed").unwrap_or_default();
            self.failed += count("failed").unwrap_or_default();
        } else if is_figure(line) && self.figures.len() < FIGURES {
            self.figures.push(line.to_owned());
        }
    }
}

/// Not what the harness says, nor what a program that is broken logs.
fn is_figure(line: &str) -> bool {
    let harness = ["test ", "running ", "failures", "note:", "stack backtrace", "successes", "{", "20"];
    line.contains(|sign: char| sign.is_ascii_digit())
        && line.starts_with(|sign: char| sign.is_ascii_alphanumeric() || sign == '[')
        && !harness.iter().any(|begin| line.starts_with(begin))
}

fn said(group: &Group, wanted: &Wanted, sizes: &[(&str, &str)]) -> Said {
    let mut said = Said::default();
    for tests in group.tests {
        if let Err(error) = one(group, tests, wanted, sizes, &mut said) {
            eprintln!("{}: {error}", tests.program);
            said.broken = true;
        }
    }
    said
}

/// Runs the tests of one program, and reads what they say while it is passed on.
fn one(group: &Group, tests: &Tests, wanted: &Wanted, sizes: &[(&str, &str)], said: &mut Said) -> Result<(), String> {
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "-p", tests.package, "--all-features", "--test", tests.program]);
    if wanted.release {
        command.arg("--release");
    }
    // One after the other: each of them keeps a machine busy.
    command.args(["--", "--nocapture", "--test-threads", "1"]).args(tests.names);
    command.envs(sizes.iter().copied());
    // Kept until the tests have ended.
    let server = postgres::server_for(&mut command);
    if let Err(why) = &server {
        said.skipped = true;
        println!("without tests of Postgres: {why}");
    }
    fs::create_dir_all(FOLDER).map_err(|error| error.to_string())?;
    let log = Path::new(FOLDER).join(format!("{}-{}.log", group.name, tests.program));
    let mut log = File::create(log).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn();
    let child = child.as_mut().map_err(|error| format!("cargo could not be started: {error}"))?;
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok))
    {
        println!("{line}");
        writeln!(log, "{line}").map_err(|error| error.to_string())?;
        said.line(&line);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{status}; see {FOLDER}")) }
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
