//! Killed at random moments and started again, the main job gives the report of an undisturbed run.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use work_tests::{Chance, Place, count, finish, index_files, is_intact, now, seed, text};

/// Kills that a run must survive.
const KILLS: u32 = 20;

/// So many of them must hit running jobs; there are more kills until they do.
const IN_FLIGHT: u32 = 5;

/// Files of the tree: enough that a run outlasts the leases that a kill leaves behind.
const FILES: u32 = 8_000;

/// What the program asks for, in milliseconds.
const LEASE: i64 = 2_000;

/// What the kills hit.
#[derive(Debug, Default)]
struct Kills {
    all: u32,
    /// While jobs of the killed process ran. What an earlier kill left behind does not count.
    in_flight: u32,
    /// Before every file had its job.
    walking: u32,
    /// Processes that were done before their time. A run that is reported begins anew with the next start.
    too_late: u32,
}

#[test]
fn killed_at_random_moments_the_report_is_that_of_an_undisturbed_run() {
    let seed = seed();
    let place = Place::new();
    make_tree(&place, seed);
    // Built before anything is timed.
    index_files();

    let start = Instant::now();
    let undisturbed = finish(run(&place, "undisturbed"));
    let whole = start.elapsed();
    assert!(undisturbed.status.success(), "{}", text(&undisturbed));

    let kills = kill(&place, whole, Chance::new(seed));
    let last = finish(run(&place, "killed"));
    assert!(last.status.success(), "{}", text(&last));
    println!("an undisturbed run takes {whole:.1?}; {kills:?}");
    let report = |name: &str| fs::read_to_string(place.dir().join(name).with_extension("json")).expect("a report");
    assert!(report("killed") == report("undisturbed"), "the reports differ");
    assert_eq!(last.stdout, undisturbed.stdout);
    no_file_is_missing_or_doubled(&place);
}

/// Starts the program again and again, and kills it at moments up to a little more than a run's length.
fn kill(place: &Place, whole: Duration, mut chance: Chance) -> Kills {
    let (store, mut kills) = (place.dir().join("killed.db"), Kills::default());
    // One that resumes waits for the leases of the killed one. Half of the kills come after that, else most hit nothing
    // but this wait.
    let mut resumes = false;
    while kills.all < KILLS || kills.in_flight < IN_FLIGHT {
        let started = now();
        let mut child = run(place, "killed");
        let waits = if resumes && chance.share() < 0.5 { Duration::from_millis(LEASE as u64) } else { Duration::ZERO };
        let killed_at = Instant::now() + waits + whole.mul_f64(1.2 * chance.share());
        while Instant::now() < killed_at && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().expect("a child").is_some() {
            let output = finish(child);
            assert!(output.status.success(), "{}", text(&output));
            kills.too_late += 1;
            resumes = false;
            assert!(kills.too_late < 60, "few kills hit: {kills:?}");
            continue;
        }
        child.kill().expect("killed");
        finish(child);
        kills.all += 1;
        assert!(kills.all < 5 * KILLS, "few kills hit running jobs: {kills:?}");
        resumes = true;
        if store.exists() {
            assert!(is_intact(&store), "after kill {}", kills.all);
            // Leases that this process has taken or extended.
            let ours = started + LEASE;
            let running = format!("SELECT count(*) FROM jobs WHERE state = 'running' AND lease_until >= {ours}");
            kills.in_flight += u32::from(count(&store, &running) > 0);
            let walks = "SELECT count(*) FROM jobs WHERE kind = 'walk' AND state <> 'completed'";
            kills.walking += u32::from(count(&store, walks) > 0);
        }
    }
    kills
}

/// In every run that was reported each file has one job that is completed, and nothing is left over.
fn no_file_is_missing_or_doubled(place: &Place) {
    let store = place.dir().join("killed.db");
    assert!(is_intact(&store));
    let runs = count(&store, "SELECT count(*) FROM jobs WHERE kind = 'report' AND state = 'completed'");
    let jobs = count(&store, "SELECT count(*) FROM jobs WHERE kind = 'index' AND state = 'completed'");
    let files = count(&store, "SELECT count(*) FROM (SELECT DISTINCT queue, args FROM jobs WHERE kind = 'index')");
    assert!(runs > 0);
    assert_eq!((jobs, files), (runs * i64::from(FILES), runs * i64::from(FILES)), "of {runs} runs");
    assert_eq!(count(&store, "SELECT count(*) FROM jobs WHERE state <> 'completed'"), 0);
}

fn run(place: &Place, name: &str) -> Child {
    let mut command = Command::new(index_files());
    command.arg(place.tree()).arg("--store").arg(place.dir().join(name).with_extension("db"));
    place.start(command.arg("--json").arg(place.dir().join(name).with_extension("json")))
}

fn make_tree(place: &Place, seed: u64) {
    let mut chance = Chance::new(seed ^ 1);
    for n in 0..FILES {
        let words = (chance.share() * 2_000.0) as usize;
        let content = format!("line {}\n", n % 1_000).repeat(words / 10 + 1);
        place.write(format!("folder {}/file {n}.txt", n % 40), content);
    }
}
