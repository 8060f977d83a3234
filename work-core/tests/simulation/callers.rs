use std::time::Duration;

use tokio::time::sleep;
use work_core::store::{BoxFuture, NewJob, Store, StoredSchedule};
use work_core::testing::Dice;
use work_core::testing::history::{When, expects};
use work_core::{CatchUp, Clock, DEFAULT_MAX_ARGS, Job, JobId, Overlap, Queue, Schedule, StoreError, Unique};

use crate::handlers::Work;
use crate::limited::{KEYED, KEYS, NARROW};
use crate::world::Seen;

/// Asks until there is an answer, as a caller does who wants to be sure.
pub(crate) async fn until_done<'s, T>(call: impl Fn() -> BoxFuture<'s, Result<T, StoreError>>) -> T {
    loop {
        if let Ok(done) = call().await {
            return done;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Jobs of all sorts, one batch after the other.
pub(crate) async fn insert(store: Seen, clock: Clock, mut dice: Dice, batches: u64) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..batches {
        let jobs: Vec<NewJob> = (0..1 + dice.roll(4)).map(|_| job(&clock, &mut dice)).collect();
        ids.extend(jobs.iter().map(|job| job.parts.id));
        until_done(|| store.insert(jobs.clone())).await;
        sleep(Duration::from_millis(dice.roll(800))).await;
    }
    ids
}

fn job(clock: &Clock, dice: &mut Dice) -> NewJob {
    let has_next = dice.happens(0.2);
    let work = Work { seed: dice.roll(u64::MAX), has_next };
    let attempts = u32::try_from(1 + dice.roll(5)).unwrap();
    let mut job = Job::new("work", work).max_attempts(attempts).priority(u8::try_from(dice.roll(10)).unwrap());
    if has_next {
        job = expects(job, "next", When::Completed);
    }
    if dice.happens(0.3) {
        job = job.queue(NARROW);
    } else if dice.happens(0.2) {
        job = job.queue(Queue::of_key(KEYED, dice.roll(KEYS)));
    }
    if dice.happens(0.2) {
        job = job.scheduled_at(clock.now() + Duration::from_millis(dice.roll(5_000)));
    }
    if dice.happens(0.2) {
        job = job.unique(Unique::new(format!("key {}", dice.roll(3))));
    }
    job.into_stored(DEFAULT_MAX_ARGS).unwrap()
}

/// The name of the only schedule.
pub(crate) const SCHEDULE: &str = "often";

/// Makes a schedule.
pub(crate) async fn schedule(store: Seen, mut dice: Dice) {
    let overlap = [Overlap::Skip, Overlap::Allow, Overlap::Cancel][usize::try_from(dice.roll(3)).unwrap()];
    let catch_up = [CatchUp::None, CatchUp::One, CatchUp::All { max: 3 }][usize::try_from(dice.roll(3)).unwrap()];
    let every = Schedule::every(Duration::from_millis(500 + dice.roll(5_000))).unwrap();
    let job = Job::new("work", Work { seed: dice.roll(u64::MAX), has_next: false }).into_stored(DEFAULT_MAX_ARGS);
    let stored = StoredSchedule::of(SCHEDULE, job.unwrap(), &every.overlap(overlap).catch_up(catch_up));
    until_done(|| store.put_schedule(stored.clone())).await;
}
