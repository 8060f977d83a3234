use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lane::{Outcome, run};
use crate::{postgres, tools};

/// Where the test finds the browser, and the script that looks for what shuts people out.
const CHROMIUM: &str = "WORK_TEST_CHROMIUM";
const AXE: &str = "WORK_TEST_AXE";

/// The version of axe-core, and what its package must be.
const AXE_VERSION: &str = "4.14.1";
const AXE_SHA512: &str = "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73\
    4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5";

/// The dashboard in Chromium, which is installed where it is not. Without it, nothing is tested; without PostgreSQL or
/// axe-core, less is.
pub(crate) fn test() -> Outcome {
    let program = match chromium() {
        Ok(program) => program,
        Err(why) => return Outcome::Skipped(why),
    };
    let mut command = Command::new("cargo");
    command.args(["test", "-p", "work-tests", "--all-features", "--test", "browser", "--"]);
    command.args(["--test-threads=2", "--nocapture"]).env(CHROMIUM, program);
    let mut missing = Vec::new();
    match axe() {
        Ok(script) => drop(command.env(AXE, script)),
        Err(why) => missing.push(why),
    }
    // Stopped when the tests have ended, however they ended.
    let server = postgres::server_for(&mut command);
    missing.extend(server.as_ref().err().cloned());
    match run(&mut command) {
        Outcome::Passed if !missing.is_empty() => Outcome::Skipped(format!("a part: {}", missing.join("; "))),
        outcome => outcome,
    }
}

fn chromium() -> Result<&'static str, String> {
    let known = ["chromium", "chromium-browser", "google-chrome"];
    if let Some(program) = known.into_iter().find(|program| tools::has(program)) {
        return Ok(program);
    }
    println!("installing Chromium, once");
    // Only root may do that; for everybody else it fails at once.
    let script = "{ apt-get install -y -qq --no-install-recommends chromium \
        || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null";
    quiet(Command::new("sh").args(["-c", script]).env("DEBIAN_FRONTEND", "noninteractive"));
    let missing = "Chromium is not here, and Debian's package `chromium` could not be installed";
    if tools::has("chromium") { Ok("chromium") } else { Err(missing.into()) }
}

/// The script of the package in npm's registry, as it was when its hash was written down.
fn axe() -> Result<PathBuf, String> {
    let root = std::path::absolute("target/tools").map_err(|error| error.to_string())?;
    let script = root.join(format!("axe-{AXE_VERSION}.js"));
    if script.exists() {
        return Ok(script);
    }
    std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let fetch = format!(
        "npm pack --silent axe-core@{AXE_VERSION} && echo '{AXE_SHA512}  axe-core-{AXE_VERSION}.tgz' | sha512sum --check --status \
        && tar -xzOf axe-core-{AXE_VERSION}.tgz package/axe.min.js > axe.part && mv axe.part axe-{AXE_VERSION}.js"
    );
    let fetched = quiet(Command::new("sh").args(["-c", &fetch]).current_dir(&root));
    let _ = std::fs::remove_file(root.join(format!("axe-core-{AXE_VERSION}.tgz")));
    if fetched {
        Ok(script)
    } else {
        Err(format!("axe-core {AXE_VERSION} is not what it was, or could not be fetched"))
    }
}

fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}
