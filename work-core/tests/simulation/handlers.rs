use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use work_core::testing::Dice;
use work_core::testing::history::{Recorder, What, follow_up};
use work_core::{Args, Context, Job, JobId, Outcome, Router, State, Status};

use crate::world::Seen;

/// What a job is to do, so far as that is not the dice's to say.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) seed: u64,
    /// Somebody waits for what comes after it.
    pub(crate) has_next: bool,
}

/// What the handlers of one worker write with.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) recorder: Recorder,
    pub(crate) store: Seen,
}

impl Hands {
    /// What a dead worker would do is not done.
    fn note(&self, what: What) {
        if !self.store.is_dead() {
            self.recorder.note(what).unwrap();
        }
    }
}

/// Notes that a handler ended, also if it was dropped.
struct AtWork<'h> {
    hands: &'h Hands,
    job: JobId,
    fence: u64,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.hands.note(What::Returned { job: self.job, fence: self.fence });
    }
}

async fn work(context: Context, Args(work): Args<Work>, State(hands): State<Hands>) -> Outcome {
    let (job, fence, attempt) = (context.job_id().unwrap(), context.fence().unwrap().0, context.attempt());
    hands.note(What::Started { job, fence, attempt });
    let _at_work = AtWork { hands: &hands, job, fence };
    let mut dice = Dice::new(work.seed ^ fence << 32);
    // Most are short, some take several leases.
    let most = [0, 5, 100, 1_000, 9_000][usize::try_from(dice.roll(5)).unwrap()];
    sleep(Duration::from_millis(dice.roll(most + 1))).await;
    hands.note(What::Effect { job, fence });
    match dice.roll(20) {
        0..=2 => Outcome::new(Status::UNAVAILABLE),
        3 => Outcome::new(Status::BAD_REQUEST),
        4 => Outcome::snooze(Duration::from_millis(dice.roll(2_000))),
        _ if work.has_next => {
            let next = Work { seed: work.seed.rotate_left(7), has_next: false };
            Outcome::done().then(follow_up(Job::new("work", next), job, "next"))
        }
        _ => Outcome::done(),
    }
}

pub(crate) fn router(hands: Hands) -> Router {
    Router::new().route("work", work).with_state(hands)
}
