//! The power of the disk that a store is on is cut at random moments, with jobs of every sort under way: what was not flushed is
//! gone, and every promise holds for what had been accepted. With weaker settings it does not, which this finds as well.
//!
//! With `WORK_FAULTS=full` there are 200 cuts of a file and 50 of a server. `WORK_SEED` repeats a run that was printed. A cut
//! needs root, a loop device, ext4 and `python3`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "../../xtask/src/server.rs"]
#[allow(dead_code, reason = "the rest is for `cargo xtask test`")]
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use server::Server;
use work_core::store::{Inspect, JobFilter};
use work_core::testing::history::{Invariant, Report};
use work_tests::fleet::{At, Crew, Member, Orders};
use work_tests::{Chance, Disk, is_intact, seed};

/// Worker processes that make and perform jobs until the power is cut.
const PROCESSES: usize = 2;

const LEASE: Duration = Duration::from_millis(1_000);

/// From the start of the processes to the cut.
const SOONEST: Duration = Duration::from_millis(300);
const LATEST: Duration = Duration::from_millis(1_200);

/// How long it may take until every job has ended when the power stays.
const DRAIN: Duration = Duration::from_secs(120);

/// So many cuts of a hundred must hit a handler at work.
const AT_WORK: usize = 20;

#[test]
fn what_was_accepted_outlives_a_power_cut_on_sqlite() {
    let Some(scene) = Scene::new(|disk| At::sqlite(disk.path())) else { return };
    let cuts = if is_full() { 200 } else { 3 };
    let report = scene.cut_and_check(cuts, Exactly::Once).expect("the store can be opened");
    assert!(report.is_clean() && report.kills_at_work * 100 >= cuts * AT_WORK, "{report}");
}

#[test]
fn what_was_accepted_outlives_a_power_cut_on_postgres() {
    let Some(scene) = Scene::with_server(|at| at) else { return };
    let cuts = if is_full() { 50 } else { 2 };
    let report = scene.cut_and_check(cuts, Exactly::Once).expect("the store can be opened");
    assert!(report.is_clean() && report.kills_at_work * 100 >= cuts * AT_WORK, "{report}");
}

/// The tests above could fail.
#[test]
fn what_is_not_flushed_is_lost_in_a_power_cut_on_sqlite() {
    if let Some(scene) = Scene::new(|disk| At::sqlite(disk.path()).weak()) {
        loses(&scene.cut_and_check(2, Exactly::Unknown));
    }
}

/// A server that does not flush may not even start again.
#[test]
fn what_is_not_flushed_is_lost_in_a_power_cut_on_postgres() {
    let Some(mut scene) = Scene::with_server(At::weak) else { return };
    scene.do_not_flush();
    loses(&scene.cut_and_check(1, Exactly::Unknown));
}

fn loses(end: &Result<Report, String>) {
    let report = match end {
        Ok(report) => report,
        Err(damage) => return println!("everything is lost: {damage}"),
    };
    let lost = report.violations.iter().filter(|violation| violation.invariant == Invariant::Lost).count();
    println!("{lost} of {} accepted jobs are lost (at most 100 are counted)", report.accepted);
    assert!(lost > 0, "a cut loses nothing, so these tests show nothing: {report}");
}

fn is_full() -> bool {
    std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full")
}

/// How often what jobs have paid is there.
#[derive(PartialEq)]
enum Exactly {
    Once,
    Unknown,
}

/// A disk with a store on it, and all that must not be on it: what the processes wrote down.
struct Scene {
    crew: Crew,
    chance: Chance,
    server: Option<Server>,
    disk: Disk,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(at: impl FnOnce(&Disk) -> At) -> Option<Self> {
        let (dir, disk) = disk()?;
        let at = at(&disk);
        Some(Self::of(dir, disk, at, None))
    }

    fn with_server(at: impl FnOnce(At) -> At) -> Option<Self> {
        let (dir, disk) = disk()?;
        let Some(bin) = Server::find() else {
            println!("SKIPPED: there is no `postgres` here; `cargo xtask test` installs one");
            return None;
        };
        // The server runs as somebody else.
        for folder in [dir.path(), disk.path()] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let server = Server::start_in(&bin, disk.path()).expect("the server starts");
        let at = at(At::postgres_at(server.url()));
        Some(Self::of(dir, disk, at, Some(server)))
    }

    fn of(dir: tempfile::TempDir, disk: Disk, at: At, server: Option<Server>) -> Self {
        let orders = Orders {
            at,
            history: dir.path().join("history"),
            lease_for: LEASE,
            grace: Duration::from_secs(5),
            concurrency: 16,
            schedules: Vec::new(),
            makes: None,
            limits: Vec::new(),
        };
        let crew = Crew::new(env!("CARGO_BIN_EXE_fleet_worker"), orders);
        Self { crew, chance: Chance::new(seed()), server, disk, _dir: dir }
    }

    /// The server only says that it has flushed.
    fn do_not_flush(&mut self) {
        let At::Postgres { url, .. } = &self.crew.orders().at else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
        });
        let server = self.server.as_mut().unwrap();
        server.stop();
        server.run().expect("the server starts");
    }

    /// Cuts the power again and again, has everything performed that is there, and checks it.
    fn cut_and_check(mut self, cuts: usize, exactly: Exactly) -> Result<Report, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let start = Instant::now();
        runtime.block_on(async {
            let (store, ledger) = self.crew.orders().at.open_with_ledger().await.unwrap();
            ledger.make().await.unwrap();
            drop(store);
        });
        // Of the tables, and of all that `initdb` has left unflushed.
        self.disk.flush();
        for _ in 0..cuts {
            self.cut()?;
        }
        let cut = start.elapsed();
        let report = runtime.block_on(self.drain_and_check(exactly));
        let said = report.to_string();
        // What a store with weak settings breaks is a long list.
        said.lines().take(20).for_each(|line| println!("{line}"));
        println!("{cuts} cuts in {cut:.1?}, drained and checked after {:.1?}", start.elapsed());
        Ok(report)
    }

    fn cut(&mut self) -> Result<(), String> {
        let makers: Vec<Member> =
            (0..PROCESSES).map(|_| self.crew.start_maker(self.chance.below(u64::from(u32::MAX)))).collect();
        std::thread::sleep(self.chance.between(SOONEST, LATEST));
        self.crew.kill_all(makers, || self.disk.cut());
        if let Some(server) = &mut self.server {
            server.stop();
        }
        self.disk.power_on();
        if let Some(server) = &mut self.server {
            return server.run();
        }
        let file = self.file();
        if file.exists() && !is_intact(&file) { Err("the file is damaged".to_owned()) } else { Ok(()) }
    }

    fn file(&self) -> std::path::PathBuf {
        match &self.crew.orders().at {
            At::Sqlite { path, .. } => path.clone(),
            At::Postgres { .. } => Path::new("none").to_owned(),
        }
    }

    async fn drain_and_check(&self, exactly: Exactly) -> Report {
        let member = self.crew.start();
        let (store, ledger) = self.crew.orders().at.open_with_ledger().await.unwrap();
        let start = Instant::now();
        loop {
            let open = store.counts(JobFilter::all()).await.unwrap().open();
            if open == 0 {
                break;
            }
            assert!(start.elapsed() < DRAIN, "{open} jobs have not ended:\n{}", self.crew.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        member.stop();
        if exactly == Exactly::Once {
            println!("{} jobs have paid, each once", self.crew.have_paid(&*store, &ledger).await);
        }
        self.crew.check(&*store).await.1
    }
}

/// A folder, and a disk in it.
fn disk() -> Option<(tempfile::TempDir, Disk)> {
    let dir = tempfile::tempdir().unwrap();
    match Disk::new(dir.path()) {
        Ok(disk) => Some((dir, disk)),
        Err(why) => {
            println!("SKIPPED: no power can be cut here: {why}");
            None
        }
    }
}
