//! A run that dies right before and right after each of its steps is recorded: the step that was not recorded runs again,
//! the one that was never does.

use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use work_core::State;
use work_core::store::{BoxFuture, Inserted, Inspect, LeaseKey, Leased, NewJob, Settle, Settled, Store, Want};
use work_core::{Queue, StoreError};
use work_workflow::{Engine, Item, Next, Step, Workflow};

use crate::place::{Place, Starts, block_on};

const STEPS: u32 = 20;

/// When the child dies: `before` or `after` its first settlement, or never.
const DIES: &str = "WORK_WORKFLOW_DIES";

work_workflow::states! { enum Stairs: u32 { Up = "up", Top = "top" } }

async fn up(Item(n): Item<Stairs>, State(starts): State<Starts>) -> Next<Stairs> {
    starts.note(n);
    if n + 1 < STEPS { Next::to(Stairs::Up, n + 1) } else { Next::to(Stairs::Top, n) }
}

fn stairs(starts: Starts) -> Workflow<Stairs> {
    let workflow = Workflow::builder("stairs").start(Stairs::Up);
    let workflow = workflow.state(Stairs::Up, Step::new(up).to([Stairs::Up, Stairs::Top])).terminal(Stairs::Top);
    workflow.build(starts).unwrap()
}

/// A store with whose settlement the process ends, as by SIGKILL.
struct Deadly {
    store: Arc<dyn Inspect>,
    dies: String,
    starts: Starts,
}

/// What is noted, among the starts of handlers, when a step was recorded.
const RECORDED: &str = "recorded";

impl Store for Deadly {
    work_core::forward_upkeep!(self => self.store);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.store.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.store.lease(want)
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.store.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move {
            if self.dies == "before" {
                std::process::abort();
            }
            let answers = self.store.settle(done).await?;
            // On a busy machine a lease may end before its step does: that step was not recorded, and runs again.
            if answers.contains(&Settled::Done) {
                self.starts.note(RECORDED);
                if self.dies == "after" {
                    std::process::abort();
                }
            }
            Ok(answers)
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl Inspect for Deadly {
    work_core::forward_inspect!(self => self.store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_dies() {
    let (Some(place), Ok(dies)) = (Place::of_child(), std::env::var(DIES)) else { return };
    let store = Deadly { store: place.open().await, dies, starts: place.starts() };
    let builder = Engine::builder(store, stairs(place.starts())).lease_for(Duration::from_millis(200));
    let engine = builder.max_crashes(10_000).build();
    let run = engine.create_or_open("r", &()).await.unwrap();
    run.seed(Stairs::Up, [0]).await.unwrap();
    engine.run_until(run.done()).await.unwrap();
}

fn ends(mut child: Child) -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait().unwrap().success()
}

fn each_step_is_recorded_once(place: &Place) {
    let start = |dies: &str| ends(place.start("steps::child_that_dies", &[(DIES, dies.to_owned())]));
    for _ in 0..STEPS {
        assert!(!start("before") && !start("after"), "they die");
    }
    assert!(start("never"));
    let noted = place.noted();
    let starts: Vec<&[String]> = noted.split(|line| line == RECORDED).collect();
    assert_eq!(
        starts.len(),
        STEPS as usize + 1,
        "each step was recorded once, and after the last nothing began: {noted:?}"
    );
    for (n, starts) in (0..STEPS).zip(&starts) {
        // Once for the process that died before its settlement, and once for the one that died after it.
        assert!(starts.len() >= 2 && starts.iter().all(|start| *start == n.to_string()), "step {n}: {noted:?}");
    }
    assert!(starts[STEPS as usize].is_empty(), "{noted:?}");
    block_on(async {
        let engine = Engine::new(place.open().await, stairs(place.starts()));
        let report = engine.open("r").await.unwrap().report().await.unwrap();
        assert_eq!((report.open(), report.state("top").completed), (0, 1), "{report:?}");
    });
}

#[test]
fn killed_before_and_after_each_step_on_sqlite() {
    each_step_is_recorded_once(&Place::on_sqlite());
}

#[test]
fn killed_before_and_after_each_step_on_postgres() {
    if let Some(place) = Place::on_postgres() {
        each_step_is_recorded_once(&place);
    }
}
