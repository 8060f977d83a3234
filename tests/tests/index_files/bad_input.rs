//! Paths that cannot be indexed: each a clear message or a dead letter, and no file is lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use work_tests::{Place, count, finish, index_files, shell, text, wait_until};

#[test]
fn a_command_that_cannot_be_is_refused_with_the_reason() {
    let place = Place::new();
    let file = place.write("file", "x");
    let (tree, dir) = (place.tree(), place.dir().display());
    let missing = place.tree().join("missing");
    let cases: [(&Path, Vec<String>, &str); 7] = [
        (&missing, vec![], "missing: No such file"),
        (&file, vec![], "not a folder"),
        (&tree, vec![format!("--json={dir}/none/report.json")], "none/report.json: the folder of --json"),
        (&tree, vec![format!("--json={dir}/tree")], "this is a folder"),
        (&tree, vec![format!("--json={dir}/tree/../index.db")], "this is the store"),
        (&tree, vec!["--json=/dev/full".into()], "no regular file"),
        (&tree, vec!["--concurrency=0".into()], "concurrency 0 is out of range"),
    ];
    for (path, more, message) in cases {
        let mut command = Command::new(index_files());
        command.arg(path).arg("--store").arg(place.store()).args(&more);
        let output = place.end(&mut command);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {said}");
        assert!(said.contains(message) && !said.contains("panicked"), "{more:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{said}");
    }
}

/// Runs a command as a user who owns nothing; root may read whatever it likes.
fn as_nobody(program: &Path, command: &Command) -> Command {
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(command.get_args());
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
    // The folder of the build may be one that nobody else can enter.
    let program = place.dir().join("program");
    fs::copy(index_files(), &program).unwrap();
    shell(&format!("chmod 000 secret closed; chown -R nobody {}", place.dir().display()), &place.tree());
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.end(&mut as_nobody(&program, &place.command(&place.tree())));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 completed, 2 dead letters"), "{said}");
    assert!(said.contains(&format!("403 {}", secret.canonicalize().unwrap().display())), "{said}");
    assert!(said.contains("closed: Permission denied"), "{said}");
    let report = place.report(&output);
    assert_eq!(report["dead_letters"].as_array().unwrap().len(), 2);
    assert!(report["dead_letters"].as_array().unwrap().iter().all(|dead| dead["status"] == 403), "{report}");
}

#[test]
fn a_file_that_vanishes_or_changes_its_kind_is_a_dead_letter() {
    let place = Place::new();
    for n in 0..2_000 {
        place.write(format!("many/{n}"), "x");
    }
    let waiting = waiting_after_a_kill(&place);
    assert!(waiting.len() > 1, "the kill came too late");
    for path in &waiting[1..] {
        fs::remove_file(path).unwrap();
    }
    // A pipe that nobody writes would hold its reader for ever.
    fs::remove_file(&waiting[0]).unwrap();
    shell(&format!("mkfifo {}", waiting[0].display()), &place.tree());

    let (output, report) = place.run();
    let (done, dead) = (report["files"].as_array().unwrap(), report["dead_letters"].as_array().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(done.len() + dead.len(), 2_000, "no file is lost");
    let of = |status: u16| {
        let these = dead.iter().filter(move |dead| dead["status"] == status);
        these.map(|dead| PathBuf::from(dead["path"].as_str().unwrap())).collect::<BTreeSet<_>>()
    };
    assert!(of(404).is_superset(&waiting[1..].iter().cloned().collect()), "{dead:?}");
    assert!(of(409).contains(&waiting[0]) && of(404).len() + of(409).len() == dead.len(), "{dead:?}");
}

/// Kills a run as soon as its walk is done, and answers the files that no attempt has looked at.
fn waiting_after_a_kill(place: &Place) -> Vec<PathBuf> {
    let mut child = place.start(place.command(&place.tree()).args(["--concurrency", "1"]));
    wait_until(&mut child, || count(&place.store(), "SELECT count(*) FROM jobs WHERE kind = 'report'") > 0);
    child.kill().unwrap();
    finish(child);
    // What is running may have been read already; what waits, or was leased ahead without a report, was not settled.
    let store = rusqlite::Connection::open(place.store()).unwrap();
    let mut waiting = store
        .prepare("SELECT CAST(args AS TEXT) FROM jobs WHERE kind = 'index' AND state IN ('available', 'running')")
        .unwrap();
    let args = waiting.query_map([], |row| row.get::<_, String>(0)).unwrap();
    args.map(|args| PathBuf::from(serde_json::from_str::<String>(&args.unwrap()).unwrap())).collect()
}

#[test]
fn an_unfinished_run_of_another_folder_is_not_mixed_in() {
    let place = Place::new();
    place.write("file", "x");
    let other = place.dir().join("other");
    fs::create_dir(&other).unwrap();
    for n in 0..2_000 {
        fs::write(other.join(n.to_string()), "x").unwrap();
    }
    let mut child = place.start(place.command(&other).args(["--concurrency", "1"]));
    wait_until(&mut child, || count(&place.store(), "SELECT count(*) FROM jobs") > 0);
    child.kill().unwrap();
    finish(child);
    let skipping = || {
        let mut command = place.command(&other);
        command.args(["--skip", "1"]);
        command
    };
    for (mut command, message) in [(place.command(&place.tree()), "/tree;"), (skipping(), "with no --skip;")] {
        let output = place.end(&mut command);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("has an unfinished run of") && said.contains("/other"), "{said}");
        assert!(said.contains(message), "{said}");
    }
    let finished = place.end(&mut place.command(&other));
    assert!(finished.status.success(), "{}", text(&finished));
    assert_eq!(place.report(&finished)["totals"]["files"], 2_000);
}
