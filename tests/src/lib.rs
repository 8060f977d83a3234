//! What the tests of whole programs share.

mod chance;
pub mod fleet;
mod place;
mod power;
pub mod script;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

pub use chance::{Chance, now, seed};
pub use place::Place;
pub use power::Disk;

/// No program under test takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits for a child with its output, and kills it if it takes too long: then its status tells of SIGKILL.
///
/// # Panics
///
/// If it cannot be waited for.
pub fn finish(child: Child) -> Output {
    let id = child.id();
    let (ended, watch) = sync_channel::<()>(1);
    std::thread::spawn(move || {
        if watch.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            signal(id, "KILL");
        }
    });
    let output = child.wait_with_output().expect("the child ends");
    drop(ended);
    output
}

/// Waits until something is true of a child that runs.
///
/// # Panics
///
/// If the child ends first, or if it takes too long.
pub fn wait_until(child: &mut Child, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(child.try_wait().expect("a child").is_none(), "the program ended first");
        assert!(start.elapsed() < LIMIT, "the program does not get there");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal to a process by its id.
///
/// # Panics
///
/// If there is no program `kill`.
pub fn signal(id: u32, name: &str) {
    Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().expect("kill runs");
}

/// A number out of a store; 0 as long as it is not there.
pub fn count(store: &Path, sql: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let number = || rusqlite::Connection::open_with_flags(store, flags)?.query_row(sql, [], |row| row.get(0));
    number().unwrap_or_default()
}

/// The program `index_files`, built once for each test process.
///
/// # Panics
///
/// If it cannot be built.
pub fn index_files() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("index_files"))
}

/// Builds an example, and says where it is.
///
/// # Panics
///
/// If it cannot be built.
pub fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "work-examples", "--all-features", "--example", name]);
    build.args(["--message-format", "json"]);
    let output = build.current_dir(root()).stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "{name} does not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    program.expect("cargo names the program")
}

/// The root of the repository.
///
/// # Panics
///
/// If it is not cargo that runs the tests.
pub fn root() -> PathBuf {
    // At run time: `env!` would keep the folder of the first build, also in a copy of the repository.
    let tests = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the tests are");
    Path::new(&tests).join("..")
}

/// Runs a command line of a shell, in the C locale, and answers its standard output.
///
/// # Panics
///
/// If it fails.
pub fn shell(script: &str, folder: &Path) -> String {
    let mut command = Command::new("bash");
    let output = command.args(["-c", script]).current_dir(folder).env("LC_ALL", "C").output().expect("bash runs");
    assert!(output.status.success(), "{script}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that a program said, for a message.
pub fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}{err}", output.status)
}

/// True if the file is a database that SQLite finds in order.
///
/// # Panics
///
/// If it cannot be opened at all.
pub fn is_intact(store: &Path) -> bool {
    let connection = rusqlite::Connection::open(store).expect("the store opens");
    let check = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    check.is_ok_and(|answer| answer == "ok")
}

/// The README of the repository, so that its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}
