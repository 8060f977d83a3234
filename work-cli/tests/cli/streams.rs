//! Long lists, readers that go away, and interruptions.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::place::Place;

const ROWS: usize = 50_000;

/// In KiB: the program, the caches of SQLite, and a page of rows; far less than all the rows.
const MOST: u64 = 36_000;

fn long() -> Option<Place> {
    let place = Place::new()?;
    let sql = Connection::open(place.file()).unwrap();
    let args = format!("'\"{}\"'", "x".repeat(2_000));
    let insert = format!(
        "INSERT INTO jobs (kind, args) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
        SELECT 'k' || i, {args} FROM n"
    );
    sql.execute_batch(&insert).unwrap();
    Some(place)
}

fn piped(place: &Place, args: &[&str]) -> Child {
    place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The most memory that a process had, in KiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_long_list_is_streamed_in_memory_that_does_not_grow() {
    let Some(place) = long() else { return };
    for args in [&["jobs", "list", "--json"][..], &["jobs", "list", "--all"]] {
        let mut child = piped(&place, args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read =
            |count: usize| lines.by_ref().take(count).map(|line| line.unwrap().len()).filter(|len| *len > 0).count();
        assert_eq!(read(49_000), 49_000);
        let most = peak(&child);
        assert!(most < MOST, "{most} KiB for {ROWS} rows of two kilobytes: {args:?}");
        let rest = read(usize::MAX);
        assert_eq!(rest, ROWS - 49_000 + usize::from(!args.contains(&"--json")), "{args:?}");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_list_quietly() {
    let Some(place) = long() else { return };
    for args in [&["jobs", "list", "--json"][..], &["jobs", "list", "--all"]] {
        let start = Instant::now();
        let mut child = piped(&place, args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            lines.next().unwrap().unwrap();
        }
        drop(lines);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10), "it does not go through all rows");
    }
}

#[cfg(unix)]
#[test]
fn an_output_that_cannot_be_written_is_a_failure_and_no_panic() {
    let Some(place) = Place::new() else { return };
    place.work(&["jobs", "enqueue", "k"]).ok();
    for call in ["jobs list --json", "jobs list", "stats", "queues list", "completions bash", "--help"] {
        for to in [">/dev/full", ">&-", ">/dev/full 2>&1", ">&- 2>&-", "<&-"] {
            let mut shell = Command::new("sh");
            let work = place.command(&[]);
            let args = work.get_args().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ");
            shell.args(["-c", &format!("{} {args} {call} {to}", env!("CARGO_BIN_EXE_work"))]);
            shell.env("WORK_STORE", place.url()).current_dir(place.dir.path());
            let start = Instant::now();
            let ended = shell.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(!said.contains("panicked") && ended.status.code() != Some(101), "{call} {to}: {said}");
            assert!(matches!(ended.status.code(), Some(0 | 1)), "{call} {to}: {:?} {said}", ended.status);
            assert!(start.elapsed() < Duration::from_secs(10), "{call} {to}");
        }
    }
}

#[test]
fn an_interruption_is_130_and_leaves_no_temporary_store() {
    let Some(place) = Place::new() else { return };
    let mut child = piped(&place, &["bench", "--jobs", "10000000"]);
    let mut told = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("A temporary store"), "{told}");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("interrupted"), "{told}");
    let left: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("jobs.db")), "{left:?}");
}
