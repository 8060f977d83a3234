//! Bugs that are planted into a copy of the sources, to see that a test finds each of them.
//!
//! A check that never failed proves nothing. Each file of `xtask/planted` is one bug and names the checks that have to fail
//! with it; without it they have to pass.

mod bug;
mod copy;
mod report;
mod trial;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::lane::Outcome;
use crate::tools;
use bug::Bug;
use copy::Copy;
use report::Report;

/// Where the bugs are, from the root of the repository.
const BUGS: &str = "xtask/planted";

/// Everything that a run makes.
const PLACE: &str = "target/planted";

/// `cargo xtask planted [NAME...]`: plants each of these bugs, or all, and wants a check to fail.
pub(crate) fn command(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(report) => {
            print!("\n{}", report.markdown());
            println!("\n{PLACE}/report.md, {PLACE}/report.json and what the checks said in {PLACE}/log");
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The lane: every bug can still be planted into the sources as they are now.
pub(crate) fn check() -> Outcome {
    let applied = || -> Result<usize, String> {
        let bugs = Bug::all(Path::new(BUGS))?;
        let failed: Vec<String> = bugs.iter().filter_map(|bug| bug.planted(Path::new(".")).err()).collect();
        if failed.is_empty() { Ok(bugs.len()) } else { Err(failed.join("\n")) }
    };
    match applied() {
        Ok(count) => {
            println!("{count} bugs can be planted; `cargo xtask planted` sees that each is found");
            Outcome::Passed
        }
        Err(why) => {
            eprintln!("{why}");
            Outcome::Failed("a bug cannot be planted any more".into())
        }
    }
}

fn run(args: &[String]) -> Result<Report, String> {
    if !tools::has("cargo-nextest") {
        return Err("this needs cargo-nextest: cargo install cargo-nextest --locked".into());
    }
    let bugs = chosen(Bug::all(Path::new(BUGS))?, args)?;
    // All of them first: one that cannot be planted is seen at once.
    bugs.iter().try_for_each(|bug| bug.planted(Path::new(".")).map(drop))?;
    let copy = Copy::make(Path::new(PLACE))?;
    let report = trial::all(&bugs, &copy)?;
    let write = |name: &str, text: String| {
        let path = Path::new(PLACE).join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("report.md", report.markdown())?;
    write("report.json", report.json())?;
    Ok(report)
}

/// Those whose file name begins with one of these.
fn chosen(bugs: Vec<Bug>, names: &[String]) -> Result<Vec<Bug>, String> {
    if let Some(unknown) = names.iter().find(|name| !bugs.iter().any(|bug| bug.name.starts_with(&***name))) {
        let known: Vec<&str> = bugs.iter().map(|bug| &*bug.name).collect();
        return Err(format!("no bug begins with {unknown:?}; there are: {}", known.join(", ")));
    }
    let wanted = |bug: &Bug| names.is_empty() || names.iter().any(|name| bug.name.starts_with(&**name));
    Ok(bugs.into_iter().filter(wanted).collect())
}
