//! The example of workflows, as a user runs it: on a copy of the sources, on a tree of its own, and killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use work_tests::{Place, count, example, finish, is_intact, shell, signal, text, wait_until};

/// Files with something to change.
const UNTIDY: usize = 400;

fn mass_change() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("mass_change"))
}

fn tree() -> Place {
    let place = Place::new();
    for n in 0..UNTIDY {
        place.write(format!("folder {}/file {n}.md", n % 7), format!("one  \ntwo {n}\t\n\nthree"));
        place.write(format!("tidy/{n}.md"), "one\ntwo\n");
    }
    place.write("broken.txt", b"\xff\xfe");
    place.write(".hidden/a.md", "as it is  \n");
    place
}

fn start(place: &Place, more: &[&str]) -> Child {
    let mut command = Command::new(mass_change());
    command.arg(place.tree()).arg("--store").arg(place.dir().join("change.db")).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const REPORT: &str = "9 folders read, 810 items in all
400 files changed, 1200 lines
400 files had nothing to change
1 files failed
  broken.txt is not text: byte 0 is not UTF-8
";

#[test]
fn without_arguments_it_looks_at_a_copy_of_the_sources_and_ends_in_seconds() {
    mass_change();
    let begin = Instant::now();
    let child = Command::new(mass_change()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = finish(child.unwrap());
    let said = said(&output);
    assert!(said.contains("300 files would be changed (dry run), 400 lines\n"), "{said}");
    assert!(said.contains("3 files failed\n  examples/picture-"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    // Lines for where there is no terminal; how far it is at the first one depends on the machine.
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(lines.contains("scan ") && lines.contains(" · edit "), "{}", text(&output));
}

#[test]
fn a_dry_run_changes_nothing_and_its_store_refuses_another_plan() {
    let place = tree();
    let before = shell("find . -type f -print0 | sort -z | xargs -0 sha256sum", &place.tree());
    let said = said(&finish(start(&place, &[])));
    assert_eq!(said, REPORT.replace("changed,", "would be changed (dry run),"));
    assert_eq!(shell("find . -type f -print0 | sort -z | xargs -0 sha256sum", &place.tree()), before);
    let other = finish(start(&place, &["--apply"]));
    assert!(!other.status.success() && text(&other).contains("give another --store"), "{}", text(&other));
}

#[test]
fn killed_and_interrupted_it_goes_on_and_every_file_is_as_sed_would_have_it() {
    let place = tree();
    let expected = Place::new();
    fs::remove_dir(expected.tree()).unwrap();
    shell(&format!("cp -r '{}' '{}'", place.tree().display(), expected.tree().display()), place.dir());
    shell(
        "find . -name '*.md' -not -path './.hidden/*' -print0 | xargs -0 sed -i -e 's/[ \\t]*$//' -e '$a\\'",
        &expected.tree(),
    );
    // Slow enough to be hit.
    let options = ["--apply", "--checks", "100"];
    let store = place.dir().join("change.db");
    for (changed, how) in [(20, "KILL"), (60, "INT"), (100, "KILL"), (140, "TERM")] {
        let mut child = start(&place, &options);
        let commits = "SELECT count(*) FROM jobs WHERE kind = 'change.commit' AND state = 'completed'";
        wait_until(&mut child, || count(&store, commits) >= changed);
        signal(child.id(), how);
        let output = finish(child);
        assert!(!output.status.success(), "{}", text(&output));
        if how != "KILL" {
            assert!(text(&output).contains("the same command goes on"), "{}", text(&output));
        }
        assert!(is_intact(&store));
    }
    assert_eq!(said(&finish(start(&place, &options))), REPORT);
    shell(&format!("diff -r . '{}'", expected.tree().display()), &place.tree());
    // It is over: a further start only repeats the report.
    assert_eq!(said(&finish(start(&place, &options))), REPORT);
    let steps = "SELECT count(*) FROM jobs WHERE kind = 'change.commit'";
    assert_eq!(count(&store, steps), 400);
}
