use std::future::{Future, pending};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use super::faults::Faults;
use crate::StoreError;
use crate::testing::Dice;
use crate::testing::history::{Recorder, What};

/// What happens to one call, decided before it begins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    /// Others go on so often before the call, and after it.
    yields: [u64; 2],
    before: Duration,
    after: Duration,
    is_hung: bool,
    is_refused: bool,
    is_lost: bool,
}

impl Fate {
    pub(super) fn of(faults: &Faults, dice: &mut Dice) -> Self {
        let mut fate = Self { yields: [dice.roll(4), dice.roll(3)], ..Self::default() };
        let up_to = |(share, most): (f64, Duration), dice: &mut Dice| {
            let happens = dice.happens(share);
            let part = dice.roll(1 + u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1));
            if happens { Duration::from_micros(part) } else { Duration::ZERO }
        };
        fate.before = up_to(faults.delayed, dice);
        let hung = up_to(faults.hung, dice);
        fate.is_hung = !hung.is_zero();
        if dice.roll(2) == 0 {
            fate.before += hung;
        } else {
            fate.after += hung;
        }
        fate.is_refused = dice.happens(faults.refused);
        fate.is_lost = dice.happens(faults.lost);
        fate
    }

    /// True if it excuses what a worker does again. To wait a little is none.
    const fn is_a_fault(&self) -> bool {
        self.is_refused || self.is_lost || self.is_hung
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost && !self.is_refused
    }

    /// Does a call, or not. One of a worker that is dead is never answered.
    pub(super) async fn meet<T>(
        self,
        recorder: Option<&Recorder>,
        is_dead: impl Fn() -> bool,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if is_dead() {
            return pending().await;
        }
        let _stalled = recorder.filter(|_| self.is_a_fault()).map(|recorder| Stalled::new(recorder, &is_dead));
        rest(self.yields[0], self.before).await;
        if is_dead() {
            return pending().await;
        }
        if self.is_refused {
            return Err(StoreError::rejected("the store is away", "by the seed"));
        }
        let answer = call.await;
        rest(self.yields[1], self.after).await;
        if is_dead() {
            return pending().await;
        }
        if self.is_lost { Err(StoreError::unknown("the answer was lost", "by the seed")) } else { answer }
    }
}

async fn rest(yields: u64, time: Duration) {
    for _ in 0..yields {
        yield_now().await;
    }
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Tells the checker that the process could do nothing meanwhile.
struct Stalled<'r, D: Fn() -> bool> {
    recorder: &'r Recorder,
    is_dead: &'r D,
}

impl<'r, D: Fn() -> bool> Stalled<'r, D> {
    fn new(recorder: &'r Recorder, is_dead: &'r D) -> Self {
        note(recorder, What::Stalled { victim: recorder.pid() });
        Self { recorder, is_dead }
    }
}

impl<D: Fn() -> bool> Drop for Stalled<'_, D> {
    fn drop(&mut self) {
        if !(self.is_dead)() {
            note(self.recorder, What::Resumed { victim: self.recorder.pid() });
        }
    }
}

pub(super) fn note(recorder: &Recorder, what: What) {
    if let Err(error) = recorder.note(what) {
        tracing::error!(%error, "the history has a gap");
    }
}
