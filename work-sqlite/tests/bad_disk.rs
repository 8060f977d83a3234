//! A disk that refuses: files of others, files of newer programs, a disk that takes no more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use work_core::store::{Inspect, JobFilter, NewJob, Store};
use work_core::{DEFAULT_MAX_ARGS, Job};
use work_sqlite::{OpenError, SqliteStore};

/// Where a child process finds the file it is to use; without it, the tests for children do nothing.
const FILE: &str = "WORK_SQLITE_CHILD_FILE";

fn big() -> NewJob {
    Job::new("greet", "x".repeat(50_000)).into_stored(DEFAULT_MAX_ARGS).unwrap()
}

/// Runs one test of this program again, in a process of its own, below a command that changes what it may do.
fn child(command: &[&str], test: &str, file: &Path) -> Output {
    let program = std::env::current_exe().unwrap();
    let arguments = command.iter().skip(1).map(std::ffi::OsStr::new);
    let mut child = Command::new(command[0]);
    child.args(arguments).arg(program).args(["--exact", test, "--nocapture"]).env(FILE, file);
    child.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("newer.db");
    let sql = "CREATE TABLE work_schema (version); INSERT INTO work_schema VALUES (99); CREATE TABLE jobs (new_column)";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, known: SqliteStore::SCHEMA_VERSION, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no files beside it");
}

#[tokio::test]
async fn child_that_may_not_write() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    println!("refused: {}", SqliteStore::open(path).await.unwrap_err());
}

/// Mode bits do not bind root, so the child is somebody else.
#[tokio::test]
async fn a_file_or_folder_that_may_not_be_written_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    drop(SqliteStore::open(&path).await.unwrap());
    while dir.path().join("jobs.db-wal").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let copy = dir.path().join("test-program");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let as_nobody = |path: &Path| {
        let mut child = Command::new(nobody[0]);
        child
            .args(&nobody[1..])
            .arg(&copy)
            .args(["--exact", "child_that_may_not_write", "--nocapture"])
            .env(FILE, path);
        child.output().map(|output| said(&output)).unwrap_or_default()
    };
    if Command::new(nobody[0]).args(&nobody[1..]).arg("true").status().map_or(true, |status| !status.success()) {
        eprintln!("skipped: `setpriv` is not here, or this user may not become another");
        return;
    }
    for (file, bits, folder_bits, expected) in [
        ("jobs.db", 0o644, 0o755, "read-only; make"),
        ("jobs.db", 0o644, 0o777, "read-only; make"),
        ("jobs.db", 0o600, 0o777, "cannot be opened"),
        ("new.db", 0o600, 0o755, "read-only; make"),
    ] {
        mode(&path, bits);
        mode(dir.path(), folder_bits);
        let text = as_nobody(&dir.path().join(file));
        assert!(
            text.contains("refused: ") && text.contains(expected) && text.contains(file),
            "{file} {bits:o}: {text}"
        );
    }
}

/// Inserts until the disk refuses, and says how many were accepted and how many may have been.
#[tokio::test]
async fn child_that_fills_the_disk() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = SqliteStore::open(path).await.unwrap();
    let (mut accepted, mut unknown, mut refused) = (0, 0, 0);
    for _ in 0..60 {
        match store.insert(vec![big()]).await {
            Ok(_) => accepted += 1,
            Err(error) if error.is_unknown() => unknown += 1,
            Err(error) => {
                assert!(!error.is_closed(), "{error}");
                refused += 1;
            }
        }
    }
    let readable = store.counts(JobFilter::default()).await.unwrap().total();
    println!("accepted {accepted} unknown {unknown} refused {refused} readable {readable}");
}

/// The limit on the size of a file makes writes fail in the middle of a commit, as a dying disk does.
#[tokio::test]
async fn what_was_accepted_before_the_disk_failed_is_there_and_the_rest_is_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let output =
        child(&["sh", "-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""], "child_that_fills_the_disk", &path);
    let text = said(&output);
    let number = |name: &str| -> u64 {
        let after = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}")).1;
        after.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (accepted, unknown, refused) = (number("accepted "), number("unknown "), number("refused "));
    assert!(accepted > 0 && unknown + refused > 0, "{text}");
    let store = SqliteStore::open(&path).await.unwrap();
    let kept = store.counts(JobFilter::default()).await.unwrap().total();
    assert!((accepted..=accepted + unknown).contains(&kept), "kept {kept}: {text}");
    store.insert(vec![big()]).await.unwrap();
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let integrity = Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], check).unwrap();
    assert_eq!(integrity, "ok");
    eprintln!("{}", text.lines().find(|line| line.contains("accepted ")).unwrap_or_default());
}
