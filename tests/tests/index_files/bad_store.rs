//! Stores that cannot be used: each refused with its reason, and left as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use work_tests::{Place, index_files, shell, text};

#[test]
fn a_store_that_cannot_be_is_refused_with_the_reason() {
    let place = Place::new();
    place.write("file", "x");
    let dir = place.dir();
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
        ("newer.db", "version 99, and this program knows versions up to "),
        ("foreign.db", "another program"),
        ("missing/index.db", "does not exist; create it first"),
        ("tree", "this is a folder"),
        (":memory:", "keeps nothing"),
    ] {
        let path = if store == ":memory:" { PathBuf::from(store) } else { dir.join(store) };
        let mut command = Command::new(index_files());
        let output = place.end(command.arg(place.tree()).arg("--store").arg(&path).arg("--json").arg(place.json()));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{store}: {said}");
        assert!(said.contains(message) && !said.contains("panicked"), "{store}: {said}");
    }
    assert!(fs::read(dir.join("newer.db")).unwrap() == before, "a newer store is left as it is");
}

/// A small disk in memory, gone when the test ends.
struct Disk(PathBuf);

impl Disk {
    /// `None` where it cannot be mounted.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn remount(&self, options: &str) {
        shell(&format!("mount -o remount,{options} {}", self.0.display()), Path::new("/"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_or_read_only_disk_is_named_and_a_mended_one_used() {
    let place = Place::new();
    for n in 0..3_000 {
        place.write(format!("file {n}"), "x");
    }
    let Some(disk) = Disk::mount(place.dir().join("disk")) else {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    };
    let run = || {
        let mut command = Command::new(index_files());
        place.end(command.arg(place.tree()).arg("--store").arg(disk.0.join("index.db")))
    };
    // Room for a part of the jobs, and then for all of them but not for their outputs.
    for size in ["size=256k", "size=3m"] {
        disk.remount(size);
        let full = run();
        let said = text(&full);
        assert_eq!(full.status.code(), Some(1), "{size}: {said}");
        assert!(said.contains("index_files: ") && said.contains("disk is full"), "{size}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    disk.remount("ro,size=64m");
    let read_only = run();
    assert_eq!(read_only.status.code(), Some(2), "{}", text(&read_only));
    assert!(text(&read_only).contains("read-only"), "{}", text(&read_only));
    disk.remount("rw,size=64m");
    let mended = run();
    assert!(mended.status.success(), "{}", text(&mended));
    assert!(text(&mended).contains("3000 completed, 0 dead letters"), "{}", text(&mended));
}
