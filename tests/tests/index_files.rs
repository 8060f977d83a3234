//! The main example, as a user runs it: on real trees and on bad ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "index_files/bad_input.rs"]
mod bad_input;
#[path = "index_files/bad_store.rs"]
mod bad_store;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Output;

use work_tests::{Place, count, finish, root, shell, signal, text, wait_until};

#[test]
fn every_file_is_indexed_once_and_the_totals_are_those_of_find_wc_and_sha256sum() {
    // The sources of this repository and of one crate it uses, copied so that nothing changes meanwhile.
    let place = Place::new();
    let tree = place.tree();
    shell(&format!("git ls-files -z | xargs -0 cp --parents -t {}", tree.display()), &root());
    let registry = shell("ls -d ${CARGO_HOME:-$HOME/.cargo}/registry/src/*/tokio-1* | head -1", &root());
    shell(&format!("cp -r {} {}", registry.trim(), tree.display()), &root());
    symlink("/etc/passwd", tree.join("link")).unwrap();
    // A program, since what is no text has words too.
    fs::copy(work_tests::index_files(), tree.join("program")).unwrap();

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
    let sum = "awk '{l+=$1; w+=$2; c+=$3} END {printf \"%.0f %.0f %.0f\", l, w, c}'";
    let counts = shell(&format!("find . -type f -print0 | xargs -0 -n1 wc -lwc | {sum}"), &tree);
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

#[test]
fn what_the_program_writes_itself_is_not_indexed_and_skipped_names_neither() {
    let place = Place::new();
    place.write("file", "x");
    place.write("skipped/inside", "y");
    place.write("sub/skipped", "z");
    place.write(OsStr::from_bytes(b"skip \xff"), "z");
    symlink(place.tree(), place.dir().join("link")).unwrap();
    // Named through a link and through `..`, and both inside the tree.
    let mut command = std::process::Command::new(work_tests::index_files());
    command.current_dir(place.dir()).args(["tree", "--store", "tree/sub/../index.db", "--json", "link/report.json"]);
    command.args(["--skip", "skipped", "--skip"]).arg(OsStr::from_bytes(b"skip \xff"));
    for _ in 0..2 {
        let output = place.end(&mut command);
        assert!(output.status.success(), "{}", text(&output));
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(place.tree().join("report.json")).unwrap()).unwrap();
        let paths: Vec<&str> = report["files"].as_array().unwrap().iter().filter_map(|f| f["path"].as_str()).collect();
        assert_eq!(paths, [place.tree().canonicalize().unwrap().join("file").to_str().unwrap()]);
    }
}

#[test]
fn two_processes_share_one_run() {
    let place = Place::new();
    for n in 0..1_000 {
        place.write(format!("file {n}"), format!("content {}", n % 500));
    }
    let children: Vec<_> = (0..2).map(|_| place.start(&mut place.command(&place.tree()))).collect();
    let outputs: Vec<Output> = children.into_iter().map(finish).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", text(output));
    }
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    assert_eq!(place.report(&outputs[0])["totals"]["files"], 1_000);
}

#[test]
fn a_signal_stops_the_run_and_the_same_command_goes_on() {
    let place = Place::new();
    for n in 0..4_000 {
        place.write(format!("file {n}"), format!("content {n}"));
    }
    for name in ["INT", "TERM"] {
        let mut child = place.start(place.command(&place.tree()).args(["--concurrency", "2"]));
        let done = "SELECT count(*) FROM jobs WHERE kind = 'index' AND state = 'completed'";
        let before = count(&place.store(), done);
        wait_until(&mut child, || count(&place.store(), done) > before);
        signal(child.id(), name);
        let output = finish(child);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(130), "{name}: {said}");
        assert!(said.contains("the same command goes on"), "{said}");
        assert!(output.stdout.is_empty() && !place.json().exists(), "{said}");
        assert_eq!(count(&place.store(), "SELECT count(*) FROM jobs WHERE state = 'running'"), 0, "all is given back");
    }
    let (output, report) = place.run();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(report["files"].as_array().unwrap().len(), 4_000);
    assert_eq!(count(&place.store(), "SELECT count(*) FROM jobs WHERE kind = 'walk'"), 1, "it is one run");
}

#[test]
fn a_second_signal_stops_at_once() {
    let place = Place::new();
    // Longer to hash than the test may take.
    File::create(place.tree().join("endless")).unwrap().set_len(1 << 40).unwrap();
    let mut child = place.start(&mut place.command(&place.tree()));
    let running = "SELECT count(*) FROM jobs WHERE kind = 'index' AND state = 'running'";
    wait_until(&mut child, || count(&place.store(), running) > 0);
    signal(child.id(), "INT");
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(child.id(), "INT");
    let second = std::time::Instant::now();
    let output = finish(child);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(second.elapsed().as_secs() < 10, "it waited for the file");
}
