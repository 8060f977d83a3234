//! The main example, as a user runs it: on real trees and on bad ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use work_tests::{index_files, root, shell, text};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.tree()).unwrap();
        place
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, tree: &Path) -> Command {
        let mut command = Command::new(index_files());
        command.arg(tree).arg("--store").arg(self.dir.path().join("index.db"));
        command.arg("--json").arg(self.json());
        command
    }

    fn json(&self) -> PathBuf {
        self.dir.path().join("report.json")
    }

    fn run(&self) -> (Output, Value) {
        self.run_on(&self.tree())
    }

    fn run_on(&self, tree: &Path) -> (Output, Value) {
        let output = self.command(tree).output().unwrap();
        let json = fs::read(self.json()).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
        (output, serde_json::from_slice(&json).unwrap())
    }
}

#[test]
fn every_file_is_indexed_once_and_the_totals_are_those_of_find_wc_and_sha256sum() {
    // The sources of this repository and of one crate it uses, copied so that nothing changes meanwhile.
    let place = Place::new();
    let tree = place.tree();
    shell(&format!("git ls-files -z | xargs -0 cp --parents -t {}", tree.display()), &root());
    let registry = shell("ls -d ${CARGO_HOME:-$HOME/.cargo}/registry/src/*/tokio-1* | head -1", &root());
    shell(&format!("cp -r {} {}", registry.trim(), tree.display()), &root());
    symlink("/etc/passwd", tree.join("link")).unwrap();

    let (output, report) = place.run();
    assert!(output.status.success(), "{}", text(&output));
    let hashes = shell("find . -type f -print0 | xargs -0 sha256sum", &tree);
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for line in hashes.lines() {
        let (hash, path) = line.split_once("  ./").unwrap();
        expected.insert(tree.canonicalize().unwrap().join(path).display().to_string(), hash.to_owned());
    }
    let files = report["files"].as_array().unwrap();
    assert!(expected.len() > 300 && files.len() == expected.len(), "{} of {}", files.len(), expected.len());
    for file in files {
        assert_eq!(expected[file["path"].as_str().unwrap()], file["sha256"].as_str().unwrap());
    }
    let counts =
        shell("find . -type f -print0 | xargs -0 -n1 wc -lwc | awk '{l+=$1; w+=$2; c+=$3} END {print l, w, c}'", &tree);
    let totals = &report["totals"];
    assert_eq!(counts.trim(), format!("{} {} {}", totals["lines"], totals["words"], totals["bytes"]));
}

#[test]
fn a_second_run_gives_the_same_report() {
    let place = Place::new();
    place.write("a.rs", "fn main() {}\n");
    place.write("b/c.md", "one two\nthree\n");
    place.write("copy.md", "one two\nthree\n");
    let (first, report) = place.run();
    assert!(first.status.success(), "{}", text(&first));
    assert_eq!(report["duplicates"].as_array().unwrap().len(), 1);
    place.write("new.txt", "later");
    let (second, later) = place.run();
    assert_eq!(later["totals"]["files"], 4, "{}", text(&second));
    fs::remove_file(place.tree().join("new.txt")).unwrap();
    let (third, again) = place.run();
    assert_eq!((third.stdout, again), (first.stdout, report));
}

#[test]
fn a_path_that_is_no_folder_is_refused() {
    let place = Place::new();
    let file = place.write("file", "x");
    for (path, message) in [(place.tree().join("missing"), "No such file"), (file, "not a folder")] {
        let output = place.command(&path).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(message) && said.contains(path.to_str().unwrap()) && !said.contains("panicked"),
            "{said}"
        );
    }
}

#[test]
fn names_and_sizes_of_every_kind_are_indexed() {
    let place = Place::new();
    place.write("empty", "");
    place.write(OsStr::from_bytes(b"not \xff text \\ \n.txt"), "x");
    place.write("spaces and 'quotes' \"\u{1f600}\"", "y");
    place.write("a\\x41b", "z");
    let sparse = File::create(place.tree().join("sparse")).unwrap();
    // Two GiB on paper; fewer where the program is built without optimisation and hashes slowly.
    sparse.set_len(if cfg!(debug_assertions) { 64 << 20 } else { 2 << 30 }).unwrap();
    let (output, report) = place.run();
    assert!(output.status.success(), "{}", text(&output));
    let paths: Vec<&str> = report["files"].as_array().unwrap().iter().filter_map(|f| f["path"].as_str()).collect();
    let tree = place.tree().canonicalize().unwrap().display().to_string();
    for name in ["empty", "not \\xff text \\\\ \n.txt", "spaces and 'quotes' \"\u{1f600}\"", "a\\\\x41b", "sparse"] {
        assert!(paths.contains(&format!("{tree}/{name}").as_str()), "{name:?} is not in {paths:?}");
    }
    assert_eq!(paths.len(), 5);
}

/// Runs a command as a user who owns nothing; root may read whatever it likes.
fn as_nobody(command: &Command) -> Command {
    let mut nobody = Command::new("setpriv");
    nobody
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(command.get_program())
        .args(command.get_args());
    nobody
}

#[test]
fn what_may_not_be_read_is_a_dead_letter_that_the_summary_lists() {
    if shell("id -u", Path::new("/")).trim() != "0" {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let place = Place::new();
    let secret = place.write("secret", "x");
    place.write("open", "y");
    place.write("closed/inside", "z");
    shell(
        &format!(
            "chmod 000 secret closed; chown -R nobody {}; cp {} program",
            place.dir.path().display(),
            index_files().display()
        ),
        &place.tree(),
    );
    fs::rename(place.tree().join("program"), place.dir.path().join("program")).unwrap();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(place.dir.path().join("program"));
    command.args(place.command(&place.tree()).get_args());
    let output = as_nobody(&command).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 completed, 2 dead letters"), "{said}");
    assert!(said.contains(&format!("403 {}", secret.canonicalize().unwrap().display())), "{said}");
    assert!(said.contains("closed") && said.contains("Permission denied"), "{said}");
}

#[test]
fn a_file_that_vanishes_is_a_dead_letter() {
    let place = Place::new();
    place.write("stays", "x");
    // A pipe that nobody writes holds the one slot, so that the last file can go before it is read.
    for n in 0..2_000 {
        place.write(format!("many/{n}"), "x");
    }
    let mut command = place.command(&place.tree());
    let mut child = command.args(["--concurrency", "1"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // As soon as the walk has stored the files, they go.
    let store = place.dir.path().join("index.db");
    let walked = || {
        let connection = rusqlite::Connection::open(&store).ok()?;
        connection.query_row("SELECT count(*) FROM jobs WHERE kind = 'report'", [], |row| row.get::<_, i64>(0)).ok()
    };
    while walked().unwrap_or_default() == 0 && child.try_wait().unwrap().is_none() {}
    fs::remove_dir_all(place.tree().join("many")).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&fs::read(place.json()).unwrap()).unwrap();
    let (done, dead) = (report["files"].as_array().unwrap().len(), report["dead_letters"].as_array().unwrap());
    assert_eq!(done + dead.len(), 2_001, "no file is lost");
    assert!(dead.iter().all(|dead| dead["status"] == 404), "{dead:?}");
    assert_eq!(output.status.code(), Some(i32::from(!dead.is_empty())));
    assert!(!dead.is_empty(), "every file was read before it went: the test tested nothing");
}

#[test]
fn a_store_that_cannot_be_is_refused_with_the_reason() {
    let place = Place::new();
    place.write("file", "x");
    let dir = place.dir.path();
    fs::write(
        dir.join("text.db"),
        "this is no database, but it is long enough to look like a file with a header of 100 bytes or more ...",
    )
    .unwrap();
    let newer = rusqlite::Connection::open(dir.join("newer.db")).unwrap();
    newer
        .execute_batch("CREATE TABLE work_schema (version INTEGER NOT NULL); INSERT INTO work_schema VALUES (99)")
        .unwrap();
    let foreign = rusqlite::Connection::open(dir.join("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE jobs (name TEXT)").unwrap();
    let before = fs::read(dir.join("newer.db")).unwrap();
    for (store, message) in [
        ("text.db", "not an SQLite database"),
        ("newer.db", "version 99, and this program knows versions up to 1"),
        ("foreign.db", "another program"),
        ("missing/index.db", "does not exist; create it first"),
        ("tree", "this is a folder"),
        (":memory:", "keeps nothing"),
    ] {
        let path = if store == ":memory:" { PathBuf::from(store) } else { dir.join(store) };
        let output = Command::new(index_files()).arg(place.tree()).arg("--store").arg(&path).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{store}: {said}");
        assert!(said.contains(message) && !said.contains("panicked"), "{store}: {said}");
    }
    assert!(fs::read(dir.join("newer.db")).unwrap() == before, "a newer store is left as it is");
}

#[test]
fn a_full_or_read_only_disk_is_named() {
    if shell("id -u", Path::new("/")).trim() != "0" {
        eprintln!("skipped: only root can mount");
        return;
    }
    let place = Place::new();
    for n in 0..3_000 {
        place.write(format!("file {n}"), "x");
    }
    let disk = place.dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&disk).status().unwrap();
    if !mounted.success() {
        eprintln!("skipped: this machine mounts no tmpfs");
        return;
    }
    let run = || {
        let mut command = Command::new("timeout");
        command.arg("20").arg(index_files()).arg(place.tree()).arg("--store").arg(disk.join("index.db"));
        command.env("RUST_LOG", "warn").output().unwrap()
    };
    let full = text(&run());
    shell("rm -f disk/*; mount -o remount,ro,size=16m disk", place.dir.path());
    let read_only = run();
    shell("mount -o remount,rw,size=16m disk", place.dir.path());
    let freed = run();
    shell("umount disk", place.dir.path());
    assert!(full.contains("disk is full") && !full.contains("panicked"), "{full}");
    assert_eq!(read_only.status.code(), Some(2), "{}", text(&read_only));
    assert!(text(&read_only).contains("read-only"), "{}", text(&read_only));
    assert!(freed.status.success(), "{}", text(&freed));
}

#[test]
fn two_processes_share_one_run() {
    let place = Place::new();
    for n in 0..1_000 {
        place.write(format!("file {n}"), format!("content {}", n % 500));
    }
    let children: Vec<_> =
        (0..2).map(|_| place.command(&place.tree()).stdout(std::process::Stdio::piped()).spawn().unwrap()).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", text(output));
    }
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    let report: Value = serde_json::from_slice(&fs::read(place.json()).unwrap()).unwrap();
    assert_eq!(report["totals"]["files"], 1_000);
}

#[test]
fn an_unfinished_run_of_another_folder_is_not_mixed_in() {
    let place = Place::new();
    place.write("file", "x");
    let other = place.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    for n in 0..5_000 {
        fs::write(other.join(n.to_string()), "x").unwrap();
    }
    let mut child = place.command(&other).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(150));
    child.kill().unwrap();
    child.wait().unwrap();
    let output = place.command(&place.tree()).output().unwrap();
    let said = text(&output);
    if output.status.success() {
        // The kill came before the run was stored.
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("unfinished run of") && said.contains("other"), "{said}");
}
