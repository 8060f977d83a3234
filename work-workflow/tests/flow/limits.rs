//! Limits of states: an item that finds no permit is not started. Time is paused, but for the last tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use tokio::time::Instant;
use work_core::limit::{Adaptive, Adapts, Aimd, FixedWindow, Gcra, Gradient, Limit, SlidingWindow};
use work_core::store::{Inspect, MemoryStore};
use work_core::{Attempt, Classified, Classify, Clock, State, Status};
use work_workflow::{Engine, Item, Next, Run, Step, Workflow};

use crate::stores::{drain, on_every_store, within};

on_every_store!(a_limited_state_starts_at_its_rate_on_every_store);

work_workflow::states! {
    pub enum Call: u64 { One = "one", Two = "two", Done = "done" }
}

/// When handlers were called.
#[derive(Clone)]
struct Calls {
    start: Instant,
    at: Arc<Mutex<Vec<Duration>>>,
    takes: Duration,
}

impl Calls {
    fn taking(takes: Duration) -> Self {
        Self { start: Instant::now(), at: Arc::default(), takes }
    }

    fn note(&self) {
        self.at.lock().unwrap().push(self.start.elapsed());
    }

    fn at(&self) -> Vec<Duration> {
        self.at.lock().unwrap().clone()
    }

    /// Calls from one second to another.
    fn between(&self, from: f64, to: f64) -> usize {
        self.at().iter().filter(|at| (from..to).contains(&at.as_secs_f64())).count()
    }
}

async fn one(Item(n): Item<Call>, State(calls): State<Calls>) -> Next<Call> {
    calls.note();
    tokio::time::sleep(calls.takes).await;
    Next::to(Call::Two, n)
}

async fn two(Item(n): Item<Call>, State(calls): State<Calls>) -> Next<Call> {
    tokio::time::sleep(calls.takes).await;
    Next::to(Call::Done, n)
}

fn flow(one: Step<Call, Calls>, two: Step<Call, Calls>, calls: &Calls) -> Workflow<Call> {
    let flow = Workflow::builder("call").start(Call::One).state(Call::One, one.to([Call::Two]));
    flow.state(Call::Two, two.to([Call::Done])).terminal(Call::Done).build(calls.clone()).unwrap()
}

/// An engine in memory whose time is tokio's.
async fn paused(flow: Workflow<Call>, items: u64) -> (Engine<Call>, Run<Call>) {
    let clock = Clock::tokio(DateTime::UNIX_EPOCH);
    let engine = Engine::builder(MemoryStore::with_clock(clock.clone()), flow).clock(clock).build();
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Call::One, 0..items).await.unwrap();
    (engine, run)
}

/// How long it takes with one limited state.
async fn run_limited(limit: impl Limit + 'static, items: u64) -> Calls {
    let calls = Calls::taking(Duration::ZERO);
    let (engine, run) = paused(flow(Step::new(one).limit(limit), Step::new(two), &calls), items).await;
    engine.run_until(run.done()).await.unwrap();
    assert_eq!(calls.at().len() as u64, items);
    calls
}

const SECOND: Duration = Duration::from_secs(1);

fn bucket(count: u32) -> Gcra {
    Gcra::new(count, SECOND).unwrap().burst(1).unwrap()
}

/// Takes 50 ms, and with more than 20 calls at once, as many times longer as there are too many.
async fn crowded(Item(n): Item<Call>, State(calls): State<Calls>) -> Next<Call> {
    calls.note();
    let under_way = Arc::strong_count(&calls.at);
    // Beside those of the calls, the engine and the test have some.
    let over = (under_way as f64 / 20.0).max(1.0);
    tokio::time::sleep(Duration::from_millis(50).mul_f64(over)).await;
    Next::to(Call::Two, n)
}

#[tokio::test(start_paused = true)]
async fn a_state_runs_as_many_at_once_as_its_server_takes_before_it_gets_slower() {
    let (calls, slots) = (Calls::taking(Duration::ZERO), Gradient::new(2, 60).unwrap());
    let one = Step::new(crowded).concurrency_by_latency(slots.clone());
    let (engine, run) = paused(flow(one, Step::new(two), &calls), 6_000).await;
    let idle = Arc::strong_count(&calls.at);
    let watch = async {
        tokio::time::sleep(10 * SECOND).await;
        let mut sum = 0;
        for _ in 0..50 {
            tokio::time::sleep(SECOND / 10).await;
            sum += engine.status().state("one").unwrap().concurrency;
        }
        sum as f64 / 50.0
    };
    let mut mean = 0.0;
    engine.run_until(async { mean = watch.await }).await.unwrap();
    drop(run);
    let knee = 20.0 - idle as f64;
    println!("{mean:.1} slots at a knee of {knee}");
    assert!((0.75..=1.25).contains(&(mean / knee)) && calls.at().len() > 3_000, "{mean} slots at a knee of {knee}");
}

#[tokio::test(start_paused = true)]
async fn three_items_at_1_a_second_take_2_to_2_2_seconds() {
    let last = *run_limited(bucket(1), 3).await.at().last().unwrap();
    assert!((2.0..=2.2).contains(&last.as_secs_f64()), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn ten_items_at_10_a_second_in_two_states_of_a_second_take_2_8_to_3_2_seconds() {
    let calls = Calls::taking(SECOND);
    let both = flow(Step::new(one).limit(bucket(10)), Step::new(two).limit(bucket(10)), &calls);
    let (engine, run) = paused(both, 10).await;
    engine.run_until(run.done()).await.unwrap();
    let took = calls.start.elapsed().as_secs_f64();
    assert!((2.8..=3.2).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn an_item_without_a_permit_is_never_started_also_if_the_engine_stops() {
    let calls = Calls::taking(Duration::ZERO);
    let hourly = Gcra::new(1, Duration::from_secs(3600)).unwrap();
    let (engine, run) = paused(flow(Step::new(one).limit(hourly), Step::new(two), &calls), 50).await;
    for _ in 0..5 {
        engine.run_until(tokio::time::sleep(Duration::from_millis(500))).await.unwrap();
    }
    assert_eq!(calls.at().len(), 1);
    let items = run.items().await.unwrap();
    assert_eq!(items.iter().filter(|item| item.state == "one" && item.attempt == 0).count(), 49, "nor is it leased");
    assert!(Gcra::new(1, SECOND).unwrap().burst(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_window_of_5_a_second_starts_12_items_as_5_5_and_2() {
    let calls = run_limited(FixedWindow::new(5, SECOND).unwrap(), 12).await;
    assert_eq!([calls.between(0.0, 1.0), calls.between(1.0, 2.0), calls.between(2.0, 3.0)], [5, 5, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_sliding_window_of_5_a_second_never_starts_6_in_any_second() {
    let at = run_limited(SlidingWindow::new(5, SECOND).unwrap(), 40).await.at();
    assert!(at.windows(6).all(|six| six[5] - six[0] >= SECOND), "{at:?}");
    assert!(*at.last().unwrap() <= Duration::from_millis(7_300), "{at:?}");
}

async fn slow_at_first(Item(n): Item<Call>, State(calls): State<Calls>) -> Next<Call> {
    calls.note();
    tokio::time::sleep(if n < 4 { 3 * SECOND } else { Duration::ZERO }).await;
    Next::to(Call::Two, n)
}

#[tokio::test(start_paused = true)]
async fn permits_are_not_saved_up_while_all_slots_are_taken() {
    let calls = Calls::taking(Duration::ZERO);
    let step = Step::new(slow_at_first).concurrency(4).limit(SlidingWindow::new(4, SECOND).unwrap());
    let (engine, run) = paused(flow(step, Step::new(two), &calls), 40).await;
    engine.run_until(run.done()).await.unwrap();
    let at = calls.at();
    assert!(at.len() == 40 && at.windows(5).all(|five| five[4] - five[0] >= SECOND), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_second_at_100_a_second_starts_at_most_110_and_the_limit_is_used() {
    let calls = run_limited(Gcra::new(100, SECOND).unwrap(), 1_000).await;
    let first = calls.between(0.0, 1.0);
    assert!((100..=110).contains(&first), "{first}");
    let last = *calls.at().last().unwrap();
    assert!(last <= Duration::from_millis(10_200), "{last:?}");
}

async fn busy_first(
    Item(n): Item<Call>,
    Attempt(attempt): Attempt,
    State(calls): State<Calls>,
) -> Result<Next<Call>, Classified> {
    calls.note();
    if n == 0 && attempt == 1 && calls.at().len() == 1 {
        Err("busy").retry_after(2 * SECOND)?;
    }
    Ok(Next::to(Call::Two, n))
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_that_says_2_seconds_nothing_is_called_for_2_seconds() {
    for adaptive in [true, false] {
        let calls = Calls::taking(Duration::ZERO);
        let step = Step::new(busy_first).concurrency(1);
        let step = if adaptive {
            step.adaptive(Adaptive::new(100.0, 1.0, 1_000.0).unwrap())
        } else {
            step.limit(Gcra::new(100, SECOND).unwrap())
        };
        let (engine, run) = paused(flow(step, Step::new(two), &calls), 20).await;
        engine.run_until(run.done()).await.unwrap();
        let at = calls.at();
        assert_eq!(at.len(), 21);
        assert!(at[1] - at[0] >= 2 * SECOND && at[1] - at[0] < Duration::from_millis(2_100), "{at:?}");
    }
}

async fn always_429(Item(_): Item<Call>, State(calls): State<Calls>) -> Status {
    calls.note();
    Status::TOO_MANY
}

#[tokio::test(start_paused = true)]
async fn refusals_reach_the_adaptive_rule_once_a_burst() {
    let limit = Arc::new(Aimd::new(100.0, 10.0, 200.0).unwrap());
    let calls = Calls::taking(Duration::ZERO);
    let step = Step::new(always_429).to([Call::Two]).concurrency(20).adaptive(limit.clone());
    let (engine, _run) = paused(flow(step, Step::new(two), &calls), 20).await;
    engine.run_until(tokio::time::sleep(Duration::from_millis(400))).await.unwrap();
    assert_eq!((calls.at().len(), limit.rate()), (20, 50.0));
}

/// A server that takes 200 calls in each second and refuses the others, and the state that calls it.
#[derive(Clone, Default)]
struct Server {
    window: Arc<Mutex<(u64, u32)>>,
    accepted: Arc<Mutex<u32>>,
    refused: Arc<Mutex<u32>>,
}

work_workflow::states! {
    pub enum Load: u64 { Call = "call", Done = "done" }
}

async fn call_server(
    Item(n): Item<Load>,
    State((server, start)): State<(Server, Instant)>,
) -> Result<Next<Load>, Classified> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = start.elapsed().as_secs();
    let mut window = server.window.lock().unwrap();
    if window.0 != second {
        *window = (second, 0);
    }
    window.1 += 1;
    if window.1 > 200 {
        *server.refused.lock().unwrap() += 1;
        Err("too many").status(Status::TOO_MANY)?;
    }
    *server.accepted.lock().unwrap() += 1;
    Ok(Next::to(Load::Done, n))
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_200_a_second_is_used_to_85_percent_with_3_percent_refused() {
    for start_at in [20.0, 300.0] {
        let (server, start) = (Server::default(), Instant::now());
        let limit = Adaptive::new(start_at, 1.0, 10_000.0).unwrap();
        let flow = Workflow::builder("load")
            .start(Load::Call)
            .state(Load::Call, Step::new(call_server).to([Load::Done]).concurrency(100).adaptive(limit))
            .terminal(Load::Done)
            .build((server.clone(), start))
            .unwrap();
        let clock = Clock::tokio(DateTime::UNIX_EPOCH);
        let engine = Engine::builder(MemoryStore::with_clock(clock.clone()), flow).clock(clock).build();
        let run = engine.create("r", &()).await.unwrap();
        run.add_all(Load::Call, 0..20_000).await.unwrap();
        engine.run_until(tokio::time::sleep(Duration::from_secs(60))).await.unwrap();
        let (accepted, refused) = (*server.accepted.lock().unwrap(), *server.refused.lock().unwrap());
        let (used, share) = (f64::from(accepted) / 12_000.0, f64::from(refused) / f64::from(accepted + refused));
        println!("from {start_at}: used {used:.3}, refused {share:.4}");
        assert!(used >= 0.85 && share <= 0.03, "from {start_at}: used {used}, refused {share}");
    }
}

async fn a_limited_state_starts_at_its_rate_on_every_store<S: Inspect>(store: S) {
    let calls = Calls::taking(Duration::ZERO);
    let limit = SlidingWindow::new(20, SECOND).unwrap();
    let engine = Engine::new(store, flow(Step::new(one).limit(limit), Step::new(two), &calls));
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Call::One, 0..50).await.unwrap();
    drain(&engine, &run).await;
    let at = calls.at();
    let took = *at.last().unwrap();
    assert_eq!(at.len(), 50);
    // The permit is taken before the lease, so a start may come a little later than it.
    assert!(at.windows(21).all(|run| run[20] - run[0] >= Duration::from_millis(800)), "{at:?}");
    assert!(took >= Duration::from_millis(1_900) && took < 4 * SECOND, "{took:?}");
}

#[tokio::test]
async fn an_idle_limited_state_keeps_its_permits_for_what_comes() {
    let calls = Calls::taking(Duration::ZERO);
    let limit = FixedWindow::new(10, Duration::from_secs(5)).unwrap();
    let engine = Engine::new(MemoryStore::new(), flow(Step::new(one).limit(limit), Step::new(two), &calls));
    let run = engine.create("r", &()).await.unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        for n in 0..9 {
            run.add(Call::One, n).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        run.done().await;
    };
    within(engine.run_until(late)).await.unwrap();
    let last = *calls.at().last().unwrap();
    assert!(last < 2 * SECOND, "{last:?}");
}
