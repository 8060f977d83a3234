//! Killed at random moments and started again, the main job gives the report of an undisturbed run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use work_tests::{index_files, is_intact};

/// Kills that a run must survive.
const KILLS: u32 = 20;

#[test]
fn killed_at_random_moments_the_report_is_that_of_an_undisturbed_run() {
    let seed = std::env::var("WORK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh_seed);
    println!("seed {seed} (repeat with WORK_SEED={seed})");
    let dir = tempfile::tempdir().expect("a folder");
    let tree = dir.path().join("tree");
    match std::env::var_os("WORK_TREE") {
        // A tree that is there, for example the sources that cargo has unpacked.
        Some(real) => std::os::unix::fs::symlink(real, &tree).expect("a link"),
        None => make_tree(&tree, seed),
    }

    let start = Instant::now();
    let undisturbed = run(dir.path(), "undisturbed").wait_with_output().expect("runs");
    let whole = start.elapsed();
    assert!(undisturbed.status.success());

    let mut chance = Chance(seed);
    let (mut kills, mut in_flight, mut finished) = (0, 0, 0);
    while kills < KILLS {
        let mut child = run(dir.path(), "killed");
        // Enough for the store to be there, and up to a run's length.
        let after = Duration::from_millis(5) + whole.mul_f64(chance.share());
        let killed_at = Instant::now() + after;
        while Instant::now() < killed_at && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().expect("a child").is_some() {
            // It was done before its time. A run that is reported begins anew with the next start.
            finished += 1;
            assert!(finished < 200, "no kill hits: the tree is too small");
            continue;
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        kills += 1;
        let store = dir.path().join("killed.db");
        if store.exists() {
            assert!(is_intact(&store), "after kill {kills}");
            in_flight += u32::from(running(&store) > 0);
        }
    }
    let last = run(dir.path(), "killed").wait_with_output().expect("runs");
    assert!(last.status.success());
    println!("{kills} kills, {in_flight} of them while jobs ran, {finished} runs finished between them");
    assert!(in_flight * 5 >= kills, "fewer than a fifth of the kills hit a running job: too weak a test");
    let report = |name: &str| fs::read_to_string(dir.path().join(name).with_extension("json")).expect("a report");
    assert_eq!(report("killed"), report("undisturbed"));
    assert_eq!(last.stdout, undisturbed.stdout);
    assert!(is_intact(&dir.path().join("killed.db")));
}

fn run(dir: &Path, name: &str) -> std::process::Child {
    let mut command = Command::new(index_files());
    command.arg(dir.join("tree")).arg("--store").arg(dir.join(name).with_extension("db"));
    command.arg("--json").arg(dir.join(name).with_extension("json"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started")
}

fn running(store: &Path) -> i64 {
    let connection = rusqlite::Connection::open(store).expect("the store opens");
    let count = "SELECT count(*) FROM jobs WHERE state = 'running'";
    connection.query_row(count, [], |row| row.get(0)).unwrap_or_default()
}

fn make_tree(tree: &Path, seed: u64) {
    let mut chance = Chance(seed ^ 1);
    for n in 0..4_000 {
        let folder = tree.join(format!("folder {}", n % 40));
        fs::create_dir_all(&folder).expect("a folder");
        let words = (chance.share() * 2_000.0) as usize;
        let content = format!("line {}\n", n % 1_000).repeat(words / 10 + 1);
        fs::write(folder.join(format!("file {n}.txt")), content).expect("a file");
    }
}

#[expect(clippy::disallowed_methods, reason = "a seed is to differ from run to run")]
fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
}

/// A small generator, so that a seed is all there is to repeat a run.
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}
