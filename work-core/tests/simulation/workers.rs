use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use work_core::runner::{Queues, Ramp, Report, Runner};
use work_core::testing::Dice;
use work_core::testing::faulty::{Faults, FaultyStore};
use work_core::testing::history::{RecordedStore, Recorder, What};
use work_core::{Backoff, Clock, InvalidJob, Queue, RetryPolicy};

use crate::handlers::{Hands, router};
use crate::limited::{AT_MOST, KEYED, Limited, NARROW};
use crate::world::Seen;

/// How long leases last.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// A worker: what would be a process of its own elsewhere.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) store: Seen,
    pub(crate) clock: Clock,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<Report, InvalidJob>>,
    clockwork: JoinHandle<()>,
}

/// What a process sees of the store.
pub(crate) fn seen(store: &Limited, recorder: &Recorder, dice: &mut Dice, faults: Faults) -> Seen {
    let recorded = RecordedStore::new(store.clone(), recorder.clone());
    FaultyStore::recorded(recorded, dice.roll(u64::MAX), faults, recorder.clone())
}

impl Process {
    pub(crate) fn start(
        (store, recorder): (&Limited, &Recorder),
        clock: &Clock,
        dice: &mut Dice,
        (pid, faults): (u32, Faults),
    ) -> Self {
        let recorder = recorder.of_process(pid);
        recorder.note(What::Began).unwrap();
        let store = seen(store, &recorder, dice, faults);
        let hands = Hands { recorder, store: store.clone() };
        let own = Clock::manual(clock.now());
        let each_key = Queue::each_key(KEYED);
        let names = [Queue::DEFAULT, NARROW.into(), each_key.clone()];
        let queues =
            if dice.happens(0.5) { Queues::strict(names) } else { Queues::weighted(names.into_iter().zip([3, 1, 2])) };
        let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(500)).jitter(0.5));
        let mut runner = Runner::new(Arc::new(store.clone()), router(hands))
            .simulated()
            .queues(queues.at_most_everywhere(NARROW, AT_MOST).at_most_everywhere(each_key, 1))
            .concurrency(usize::try_from(1 + dice.roll(6)).unwrap())
            .lease_for(LEASE)
            .grace(Duration::from_millis(dice.roll(8_000)))
            .retry(retry)
            .clock(own.clone());
        if dice.happens(0.3) {
            runner = runner.ramp(Ramp::new(Duration::from_millis(200)).unwrap());
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(runner.run_until(async { drop(stopped.await) }));
        let clockwork = tokio::spawn(goes(own.clone()));
        Self { pid, store, clock: own, stop, running, clockwork }
    }

    /// Nothing of it happens any more, and nobody is told.
    pub(crate) fn crash(self, recorder: &Recorder) {
        self.store.crash();
        recorder.note(What::Killed { victim: self.pid }).unwrap();
        self.running.abort();
        self.clockwork.abort();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> Report {
        let _ = self.stop.send(());
        let report = self.running.await.unwrap().unwrap();
        self.clockwork.abort();
        report
    }
}

/// The clock of a worker goes in small steps, between which somebody may set it.
async fn goes(clock: Clock) {
    const STEP: Duration = Duration::from_millis(200);
    loop {
        sleep(STEP).await;
        clock.advance(STEP);
    }
}
