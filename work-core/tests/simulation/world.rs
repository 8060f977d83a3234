use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{sleep, timeout};
use work_core::store::{Inspect, JobFilter, MemoryStore, Order, Store, StoredJob};
use work_core::testing::Dice;
use work_core::testing::faulty::{Faults, FaultyStore};
use work_core::testing::history::{History, RecordedStore, Recorder, What};
use work_core::{Clock, DEFAULT_MAX_ATTEMPTS, JobId, JobState, Queue, Status};

use crate::callers;
use crate::limited::{Limited, NARROW};
use crate::workers::{Process, seen};

/// A store as one process sees it.
pub(crate) type Seen = FaultyStore<RecordedStore<Limited>>;

/// Everything there is.
pub(crate) struct World {
    dice: Dice,
    clock: Clock,
    store: Limited,
    recorder: Recorder,
    workers: Vec<Process>,
    pids: u32,
    /// Who was told to stop, and has perhaps not stopped yet.
    stopping: Vec<tokio::task::JoinHandle<()>>,
}

impl World {
    /// From its beginning to its end: what was written down, and what was broken beside.
    pub(crate) async fn live(dice: Dice) -> (History, Vec<String>) {
        let clock = Clock::tokio("2026-03-29T00:30:00Z".parse().unwrap());
        let recorder = Recorder::in_memory(clock.clone());
        let store = Limited { inner: MemoryStore::with_clock(clock.clone()), broken: Arc::new(Mutex::default()) };
        let mut world = Self { dice, clock, store, recorder, workers: Vec::new(), pids: 0, stopping: Vec::new() };
        world.go_wrong().await;
        world.end().await;
        let broken = std::mem::take(&mut *world.store.broken.lock().unwrap());
        (world.recorder.history(), broken)
    }

    fn faults(&mut self) -> Faults {
        match self.dice.roll(4) {
            0 => Faults::none(),
            1 => Faults::none().delayed(0.8, Duration::from_millis(300)).deaf(0.5),
            2 => Faults::some().refused(0.3).lost(0.2),
            _ => Faults::some(),
        }
    }

    fn start(&mut self) {
        self.pids += 1;
        let faults = self.faults();
        let place = (&self.store, &self.recorder);
        let worker = Process::start(place, &self.clock, &mut self.dice, (self.pids, faults));
        self.workers.push(worker);
    }

    fn caller(&mut self) -> Seen {
        self.pids += 1;
        let (recorder, faults) = (self.recorder.of_process(self.pids), self.faults());
        seen(&self.store, &recorder, &mut self.dice, faults)
    }

    fn pick(&mut self) -> usize {
        usize::try_from(self.dice.roll(self.workers.len() as u64)).unwrap()
    }

    async fn go_wrong(&mut self) {
        for _ in 0..1 + self.dice.roll(3) {
            self.start();
        }
        let mut callers = Vec::new();
        for _ in 0..1 + self.dice.roll(3) {
            let (store, clock, dice) = (self.caller(), self.clock.clone(), self.dice.split());
            callers.push(tokio::spawn(callers::insert(store, clock, dice, 3 + self.dice.roll(8))));
        }
        let (store, dice) = (self.caller(), self.dice.split());
        let scheduler = tokio::spawn(callers::schedule(store, dice));
        for _ in 0..self.dice.roll(25) {
            sleep(Duration::from_millis(self.dice.roll(1_500))).await;
            self.event().await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
        scheduler.await.unwrap();
    }

    async fn event(&mut self) {
        let at = self.pick();
        match self.dice.roll(8) {
            0 | 1 => {
                self.workers.swap_remove(at).crash(&self.recorder);
                self.start();
            }
            2 => {
                let worker = self.workers.swap_remove(at);
                let broken = self.store.broken.clone();
                self.stopping.push(tokio::spawn(async move {
                    let (pid, report) = (worker.pid, worker.stop().await);
                    if !report.left.is_empty() {
                        broken.lock().unwrap().push(format!("worker {pid} left {:?}", report.left));
                    }
                }));
                self.start();
            }
            3 => {
                let queue = self.queue();
                self.store.pause(queue).await.unwrap();
            }
            4 => {
                let queue = self.queue();
                self.store.resume(queue).await.unwrap();
            }
            5 => {
                let clock = &self.workers[at].clock;
                clock.set(clock.now() + TimeDelta::milliseconds(self.dice.roll(40_000).cast_signed() - 20_000));
            }
            6 => {
                let faults = self.faults();
                self.workers[at].store.set_faults(faults);
            }
            _ => self.cancel().await,
        }
    }

    fn queue(&mut self) -> Queue {
        if self.dice.happens(0.5) { Queue::DEFAULT } else { NARROW.into() }
    }

    async fn cancel(&mut self) {
        let open = self.ids().await;
        if !open.is_empty() {
            let at = usize::try_from(self.dice.roll(open.len() as u64)).unwrap();
            self.store.cancel(vec![open[at]]).await.unwrap();
        }
    }

    async fn ids(&self) -> Vec<JobId> {
        let page = self.store.list(JobFilter::all(), Order::OldestFirst, None, 100_000).await.unwrap();
        page.jobs.iter().filter(|job| !job.state.is_terminal()).map(|job| job.job.parts.id).collect()
    }

    /// All is well from now on: then every job has to end, and every worker has to stop.
    async fn end(&mut self) {
        const LONG: Duration = Duration::from_secs(3_600);
        self.store.remove_schedule(callers::SCHEDULE.to_owned()).await.unwrap();
        for queue in [Queue::DEFAULT, NARROW.into()] {
            self.store.resume(queue).await.unwrap();
        }
        for worker in &self.workers {
            worker.store.set_faults(Faults::none());
        }
        let idle = async {
            while !self.ids().await.is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(LONG, idle).await.is_err() {
            self.broken(format!("these jobs do not end: {:?}", self.ids().await));
        }
        let workers = std::mem::take(&mut self.workers);
        for worker in workers {
            let pid = worker.pid;
            match timeout(LONG, worker.stop()).await {
                Ok(report) if report.left.is_empty() => {}
                Ok(report) => self.broken(format!("worker {pid} left {:?}", report.left)),
                Err(_) => self.broken(format!("worker {pid} does not stop")),
            }
        }
        for stopping in std::mem::take(&mut self.stopping) {
            if timeout(LONG, stopping).await.is_err() {
                self.broken("a worker that was told to stop does not".to_owned());
            }
        }
        let kept = self.store.list(JobFilter::all(), Order::OldestFirst, None, 100_000).await.unwrap().jobs;
        for job in kept.iter().filter(|job| job.state == JobState::Discarded && !has_a_reason(job)) {
            self.broken(format!("a dead letter without a reason: {job:?}"));
        }
        self.recorder.note(What::Listed).unwrap();
        self.recorder.note_since(self.recorder.now(), kept.iter().map(What::stored)).unwrap();
    }

    fn broken(&self, what: String) {
        self.store.broken.lock().unwrap().push(what);
    }
}

/// A job is given up if its handler said so, if its attempts are used up, or if it has crashed too often.
fn has_a_reason(job: &StoredJob) -> bool {
    let parts = &job.job.parts;
    let used_up = job.attempt >= parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS);
    match job.status {
        Some(Status::BAD_REQUEST) => true,
        Some(Status::UNAVAILABLE) => used_up,
        _ => job.crashes >= 3,
    }
}
