use std::time::Duration;

use super::board::Board;
use crate::compose::Plan;
use crate::store::Lease;
use crate::{Context, Outcome, Status};

/// Between two looks at a group: an eighth of its age, within these.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(5);

/// How long a store that fails is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// Performs the job that watches over a group: it is snoozed until all the others have ended, and completed together with the
/// insert of the callback.
///
/// Jobs can end without any runner (cancelled, expired, deleted, given up after crashes), so nothing that a runner does at
/// the end of a job would see all of it. A look at the jobs themselves does, and the fence of the one that looks makes
/// the callback exactly one.
pub(super) async fn look(board: &Board, lease: &Lease, context: &Context) -> Outcome {
    let Some(plan) = Plan::of(&lease.job) else { return Outcome::discard("the args are not those of a group") };
    let Some(store) = board.inspect.as_deref() else {
        // A runner without a worker cannot look; that of a worker will.
        return Outcome::snooze(AGAIN);
    };
    let looked =
        async { if plan.is_open(store).await? { Ok(None) } else { plan.status(lease.key.id, store).await.map(Some) } };
    let looked = looked.await;
    if context.is_cancelled() {
        return Outcome::new(Status::CANCELLED);
    }
    match looked {
        Ok(Some(status)) if status.has_ended() => plan.end(&status),
        Ok(_) => {
            let age = (board.settings.clock.now() - lease.created_at).to_std().unwrap_or_default();
            Outcome::snooze((age / 8).clamp(SOONEST, LATEST))
        }
        Err(error) => {
            tracing::warn!(job.id = %lease.key.id, %error, "the jobs of a group could not be looked at");
            Outcome::snooze(AGAIN)
        }
    }
}
