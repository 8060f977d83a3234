//! What people do with runs: look, pause, cancel, move, export, import, and change the code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use work_core::store::{Inspect, JobFilter, MemoryStore, Retention};
use work_core::{State, Status};
use work_workflow::{Engine, Export, Item, Next, Phase, Step, Workflow, replace_file};

use crate::stores::{Anyhow, drain, engine, on_every_store, within};

on_every_store!(
    a_report_says_where_items_are_at_any_time,
    failed_items_are_moved_to_another_state_once_with_their_context,
    items_that_ended_or_wait_are_moved_too,
    a_paused_run_starts_nothing_until_it_is_resumed_also_after_a_restart,
    a_cancelled_run_ends_and_its_name_stays_taken,
    an_export_is_edited_and_goes_on_in_another_store,
    a_run_that_is_over_can_be_closed,
    what_other_runners_forget_by_age_is_no_step_of_a_run,
    an_item_in_a_state_that_the_code_lacks_waits_and_is_named,
    an_engine_that_is_told_to_stop_before_it_starts_returns_at_once_and_can_be_used_again,
    stopped_at_50_random_moments_it_goes_on_and_every_step_is_settled_once,
);

work_workflow::states! {
    pub enum Page: u32 { Get = "get", Parse = "parse", Done = "done", Bad = "bad" }
}

#[derive(Clone, Default)]
struct Site {
    down: Arc<AtomicBool>,
    gets: Arc<AtomicUsize>,
    parses: Arc<AtomicUsize>,
}

async fn get(Item(n): Item<Page>, State(site): State<Site>) -> Anyhow<Next<Page>> {
    site.gets.fetch_add(1, Ordering::SeqCst);
    if n % 2 == 1 && site.down.load(Ordering::SeqCst) { Err("down".into()) } else { Ok(Next::to(Page::Parse, n)) }
}

async fn parse(Item(n): Item<Page>, State(site): State<Site>) -> Next<Page> {
    site.parses.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1)).await;
    Next::to(Page::Done, n + 1000)
}

fn pages(site: &Site) -> Workflow<Page> {
    Workflow::builder("pages")
        .start(Page::Get)
        .state(Page::Get, Step::new(get).to([Page::Parse]).max_attempts(1))
        .state(Page::Parse, Step::new(parse).to([Page::Done, Page::Bad]))
        .terminal(Page::Done)
        .terminal(Page::Bad)
        .build(site.clone())
        .unwrap()
}

fn down() -> Site {
    let site = Site::default();
    site.down.store(true, Ordering::SeqCst);
    site
}

async fn a_report_says_where_items_are_at_any_time<S: Inspect>(store: S) {
    let site = down();
    let engine = engine(store, pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..100).await.unwrap();
    let report = run.report().await.unwrap();
    assert_eq!((report.state("get").waiting, report.open(), report.items), (100, 100, 100));
    let watch = async {
        loop {
            let report = run.report().await.unwrap();
            let sum: u64 = report.states.iter().map(|s| s.waiting + s.executing + s.failed + s.cancelled).sum();
            // Pages are read one after the other: an item that moves meanwhile may be seen where it was or where it is.
            assert!(sum + report.state("done").completed <= 100 && report.items == 100, "{report:?}");
            if report.open() == 0 {
                return report;
            }
        }
    };
    let (_, report) = tokio::join!(drain(&engine, &run), watch);
    assert_eq!((report.state("get").failed, report.state("done").completed), (50, 50));
    let status = engine.status();
    let counts =
        |name: &str| status.state(name).map(|state| (state.waiting, state.executing, state.failed, state.completed));
    assert_eq!((counts("get"), counts("done")), (Some((0, 0, 50, 50)), Some((0, 0, 0, 50))));
    assert!(
        status.state("parse").unwrap().rate > 0.0 && status.state("parse").unwrap().mean >= Duration::from_millis(1)
    );
}

async fn failed_items_are_moved_to_another_state_once_with_their_context<S: Inspect>(store: S) {
    let site = down();
    let engine = engine(store, pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..100).await.unwrap();
    drain(&engine, &run).await;
    // Straight on, without the page, and not a second time.
    assert_eq!(run.redrive(Page::Get, Page::Parse).await.unwrap(), 50);
    assert_eq!(run.redrive(Page::Get, Page::Parse).await.unwrap(), 0);
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.state("done").completed, report.items, site.parses.load(Ordering::SeqCst)), (100, 100, 100));
    let items = run.items().await.unwrap();
    let sum: u64 = items.iter().filter_map(|item| item.context.as_u64()).sum();
    assert_eq!(sum, 4950 + 100_000);
    assert_eq!(items.iter().filter(|item| item.errors.get("get").is_some_and(|e| *e == ["down"])).count(), 50);
    assert_eq!(engine.status().state("done").unwrap().completed, 100);
}

async fn items_that_ended_or_wait_are_moved_too<S: Inspect>(store: S) {
    let site = Site::default();
    let engine = engine(store, pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..10).await.unwrap();
    // None of these has run: to a terminal state.
    assert_eq!(run.redrive(Page::Get, Page::Bad).await.unwrap(), 10);
    assert_eq!(run.report().await.unwrap().state("bad").completed, 10);
    assert_eq!(run.redrive(Page::Bad, Page::Get).await.unwrap(), 10);
    drain(&engine, &run).await;
    let report = run.report().await.unwrap();
    assert_eq!((report.state("bad").completed, report.state("done").completed, report.items), (0, 10, 10));
    assert_eq!(site.gets.load(Ordering::SeqCst), 10);
}

async fn a_paused_run_starts_nothing_until_it_is_resumed_also_after_a_restart<S: Inspect + Clone>(store: S) {
    let site = Site::default();
    let first = engine(store.clone(), pages(&site));
    let (run, other) = (first.create("r", &()).await.unwrap(), first.create("other", &()).await.unwrap());
    run.add_all(Page::Get, 0..10).await.unwrap();
    other.add_all(Page::Get, 0..5).await.unwrap();
    run.pause().await.unwrap();
    run.pause().await.unwrap();
    drain(&first, &other).await;
    assert_eq!((site.gets.load(Ordering::SeqCst), run.report().await.unwrap().open()), (5, 10));

    let second = engine(store, pages(&site));
    let run = second.open("r").await.unwrap();
    assert!(run.is_paused());
    within(second.run_until(tokio::time::sleep(Duration::from_millis(100)))).await.unwrap();
    assert_eq!(site.gets.load(Ordering::SeqCst), 5);
    run.resume().await.unwrap();
    drain(&second, &run).await;
    assert_eq!(run.report().await.unwrap().state("done").completed, 10);
    assert!(!run.is_paused());
}

async fn a_cancelled_run_ends_and_its_name_stays_taken<S: Inspect>(store: S) {
    async fn slow(Item(n): Item<Page>, State(site): State<Site>) -> Next<Page> {
        site.gets.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(600)).await;
        Next::to(Page::Parse, n)
    }
    let site = Site::default();
    let flow = Workflow::builder("pages")
        .start(Page::Get)
        .state(Page::Get, Step::new(slow).to([Page::Parse]).concurrency(3))
        .state(Page::Parse, Step::new(parse).to([Page::Done, Page::Bad]))
        .terminal(Page::Done)
        .terminal(Page::Bad)
        .build(site.clone())
        .unwrap();
    let engine = Engine::builder(store, flow).lease_for(Duration::from_millis(600)).build();
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..10).await.unwrap();
    let cancel = async {
        while site.gets.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(run.cancel().await.unwrap(), 10);
        run.done().await;
    };
    within(engine.run_until(cancel)).await.unwrap();
    let report = run.report().await.unwrap();
    assert_eq!((report.state("get").cancelled, report.open(), site.gets.load(Ordering::SeqCst)), (10, 0, 3));
    assert!(engine.create("r", &()).await.unwrap_err().to_string().contains("already"));
    let error = self::engine(MemoryStore::new(), pages(&site)).open("r").await.unwrap_err().to_string();
    assert_eq!(error, "workflow \"pages\" has no run \"r\", or it was cancelled");
}

async fn a_run_that_is_over_can_be_closed<S: Inspect + Clone>(store: S) {
    let site = Site::default();
    let engine = engine(store.clone(), pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..3).await.unwrap();
    assert!(!run.close().await.unwrap());
    drain(&engine, &run).await;
    assert_eq!(run.status().state("done").unwrap().completed, 3);
    assert!(run.close().await.unwrap());
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().open(), 0);
    assert!(engine.open("r").await.is_err());
    assert_eq!(run.report().await.unwrap().state("done").completed, 3);
}

/// Until it is closed.
async fn what_other_runners_forget_by_age_is_no_step_of_a_run<S: Inspect + Clone>(store: S) {
    let site = Site::default();
    let engine = engine(store.clone(), pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..5).await.unwrap();
    drain(&engine, &run).await;
    let at_once = Retention::default().completed(Duration::ZERO).discarded(Duration::ZERO).cancelled(Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.prune(at_once, 100).await.unwrap(), 0);
    assert_eq!(run.report().await.unwrap().state("done").completed, 5);
    // Nor of one that another process knows of.
    let other = self::engine(store.clone(), pages(&site));
    assert!(other.open("r").await.unwrap().close().await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(store.prune(at_once, 100).await.unwrap() >= 10);
}

async fn an_export_is_edited_and_goes_on_in_another_store<S: Inspect>(store: S) {
    let site = down();
    let first = engine(store, pages(&site));
    let run = first.create("r", &"overall").await.unwrap();
    run.add_all(Page::Get, 0..20).await.unwrap();
    drain(&first, &run).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    replace_file(&file, run.export().await.unwrap().to_json().unwrap().as_bytes()).unwrap();

    // The failed ones go straight on; one that ended is sent back.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut edited = Export::from_json(&text).unwrap();
    for item in edited.items.iter_mut().filter(|item| item.phase == Phase::Failed) {
        item.state = "parse".into();
    }
    let ended = edited.items.iter_mut().find(|item| item.phase == Phase::Completed).unwrap();
    (ended.state, ended.context) = ("get".into(), 500.into());
    replace_file(&file, edited.to_json().unwrap().as_bytes()).unwrap();

    let edited = Export::from_json(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let second = engine(MemoryStore::new(), pages(&site));
    let run = second.import(&edited).await.unwrap();
    second.import(&edited).await.unwrap();
    let gets = site.gets.load(Ordering::SeqCst);
    drain(&second, &run).await;
    let after = run.export().await.unwrap();
    assert!(after.items.iter().all(|item| item.state == "done" && item.phase == Phase::Completed), "{after:?}");
    let ids = |export: &Export| export.items.iter().map(|item| item.id).collect::<Vec<_>>();
    assert_eq!((ids(&after), after.overall), (ids(&edited), "overall".into()));
    assert_eq!(site.gets.load(Ordering::SeqCst) - gets, 1, "what had ended is not run again");
    let errors = after.items.iter().filter(|item| item.errors.get("get").is_some_and(|errors| *errors == ["down"]));
    assert_eq!(errors.count(), 10);

    let mut other = edited.clone();
    other.items[0].state = "nowhere".into();
    let error = second.import(&other).await.unwrap_err().to_string();
    assert_eq!(error, "workflow \"pages\" has no state \"nowhere\"; it has: get, parse, done, bad");
    other.workflow = "others".into();
    assert!(second.import(&other).await.unwrap_err().to_string().contains("of workflow \"others\", not of \"pages\""));
}

work_workflow::states! {
    /// A later version: parse is split in two.
    pub enum Later: u32 { Get = "get", Read = "read", Done = "done", Bad = "bad" }
}

async fn an_item_in_a_state_that_the_code_lacks_waits_and_is_named<S: Inspect + Clone>(store: S) {
    async fn read(Item(n): Item<Later>) -> Next<Later> {
        Next::to(Later::Done, n)
    }
    let site = Site::default();
    let old = engine(store.clone(), pages(&site));
    let run = old.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..3).await.unwrap();
    run.redrive(Page::Get, Page::Parse).await.unwrap();
    drop((run, old));

    let flow = Workflow::builder("pages")
        .start(Later::Get)
        .state(Later::Get, Step::new(read).to([Later::Read, Later::Done]))
        .state(Later::Read, Step::new(read).to([Later::Done, Later::Bad]))
        .terminal(Later::Done)
        .terminal(Later::Bad);
    let new = engine(store.clone(), flow.build(()).unwrap());
    let run = new.open("r").await.unwrap();
    run.add(Later::Get, 7).await.unwrap();
    within(new.run_until(tokio::time::sleep(Duration::from_millis(300)))).await.unwrap();
    let report = run.report().await.unwrap();
    assert_eq!(report.unknown(), [("parse", 3)]);
    assert_eq!((report.open(), report.state("done").completed, report.state("parse").failed), (3, 1, 0));
    let error = run.redrive_unknown("prase", Later::Read).await.unwrap_err().to_string();
    assert_eq!(error, "workflow \"pages\" has no state \"prase\"; it has: parse");
    assert_eq!(run.redrive_unknown("parse", Later::Read).await.unwrap(), 3);
    drain(&new, &run).await;
    assert_eq!(run.report().await.unwrap().state("done").completed, 4);

    // And the old code is told of the state that the new one added.
    let old = engine(store, pages(&site));
    let run = old.open("r").await.unwrap();
    assert!(run.redrive_unknown("read", Page::Parse).await.is_ok());
}

async fn an_engine_that_is_told_to_stop_before_it_starts_returns_at_once_and_can_be_used_again<S: Inspect>(store: S) {
    let site = Site::default();
    let engine = engine(store, pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, 0..10).await.unwrap();
    for _ in 0..20 {
        let start = Instant::now();
        engine.run_until(std::future::ready(())).await.unwrap();
        // 100 ms, and room for a busy machine.
        assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    }
    drain(&engine, &run).await;
    assert_eq!(run.report().await.unwrap().state("done").completed, 10);
}

async fn stopped_at_50_random_moments_it_goes_on_and_every_step_is_settled_once<S: Inspect>(store: S) {
    let site = Site::default();
    let engine = engine(store, pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Page::Get, (0..400).map(|n| n * 2)).await.unwrap();
    let (mut performed, mut seed) = (0, 7_u64);
    for _ in 0..50 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = tokio::time::sleep(Duration::from_micros((seed >> 33) % 6_000));
        let report = within(engine.run_until(moment)).await.unwrap();
        assert!(report.left.is_empty() && report.interrupted.is_empty());
        performed += report.performed;
    }
    performed += within(engine.run_until(run.done())).await.unwrap().performed;
    assert_eq!((performed, site.parses.load(Ordering::SeqCst)), (800, 400));
    assert_eq!(run.report().await.unwrap().state("done").completed, 400);
    assert_eq!(engine.status().state("done").unwrap().completed, 400);
}

/// Two processes: each has the file open for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_share_a_run_that_one_of_them_made_and_each_step_runs_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let (here, there) = (Site::default(), Site::default());
    let open = async |site: &Site| {
        let store = work_sqlite::SqliteStore::open(&file).await.unwrap();
        Engine::builder(store, pages(site)).discover_every(Duration::from_millis(50)).build()
    };
    let (first, second) = (open(&here).await, open(&there).await);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let other = tokio::spawn(async move { second.run_until(async { drop(stopped.await) }).await });
    let run = first.create("r", &()).await.unwrap();
    run.add_all(Page::Get, (0..1_000).map(|n| n * 2)).await.unwrap();
    while there.parses.load(Ordering::SeqCst) < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mine = within(first.run_until(run.done())).await.unwrap();
    drop(stop);
    let theirs = other.await.unwrap().unwrap();
    assert_eq!(mine.performed + theirs.performed, 2_000);
    assert_eq!(here.gets.load(Ordering::SeqCst) + there.gets.load(Ordering::SeqCst), 1_000);
    assert_eq!(run.report().await.unwrap().state("done").completed, 1_000);
}

/// The time for one item of a run of this size, at best.
async fn best_of_3(items: u32) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let engine = engine(MemoryStore::new(), pages(&Site::default()));
        let run = engine.create("r", &()).await.unwrap();
        run.add_all(Page::Get, (0..items).map(|n| n * 2)).await.unwrap();
        let start = Instant::now();
        drain(&engine, &run).await;
        best = best.min(start.elapsed() / items);
    }
    best
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_an_item_does_not_grow_with_the_run() {
    let (small, large) = (best_of_3(200).await, best_of_3(4_000).await);
    // `work-bench` has the figure; this has room for a busy machine, and none for a cost that grows with the run.
    assert!(large < small * 4, "{small:?} an item of 200, {large:?} an item of 4,000");
}

#[tokio::test]
async fn a_step_that_no_one_can_read_is_a_dead_letter() {
    let (store, site) = (MemoryStore::new(), Site::default());
    let engine = engine(store.clone(), pages(&site));
    let run = engine.create("r", &()).await.unwrap();
    let job = work_core::Job::new("pages.get", "no envelope").queue("pages.r.get").into_stored(1000).unwrap();
    let id = job.parts.id;
    work_core::Store::insert(&store, vec![job]).await.unwrap();
    drain(&engine, &run).await;
    let stored = store.get(id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.status), (work_core::JobState::Discarded, Some(Status::BAD_REQUEST)));
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().open(), 1, "the record of the run");
}
