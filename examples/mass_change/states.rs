use std::time::Duration;

use work_core::limit::Gcra;
use work_core::{Backoff, Classified, Classify, State};
use work_workflow::{Item, Next, Overall, Step, Workflow};

use crate::App;
use crate::change::{self, File, Mode, Plan};

work_workflow::states! {
    /// What happens to a file.
    pub(crate) enum Change: File {
        /// A folder: its files and folders are items of their own.
        Scan = "scan",
        /// A file is read, and the change is worked out.
        Edit = "edit",
        /// The change is looked at once more, as a slow service would.
        Check = "check",
        /// The file is replaced.
        Commit = "commit",
        /// A folder was read.
        Listed = "listed",
        /// A file has nothing to change.
        Skipped = "skipped",
        /// A file was changed.
        Changed = "changed",
        /// A file that could not be.
        Failed = "failed",
    }
}

pub(crate) fn workflow(app: App, checks: u32) -> anyhow::Result<Workflow<Change>> {
    let backoff = Backoff::exponential(Duration::from_millis(50), 2.0);
    let scan = Step::new(scan).to([Change::Listed]).kicks([Change::Scan, Change::Edit]).concurrency(4);
    let edit = Step::new(edit).to([Change::Check, Change::Skipped]).concurrency(16);
    let check = Step::new(check)
        .to([Change::Commit, Change::Edit])
        .concurrency(8)
        .limit(Gcra::new(checks, Duration::from_secs(1))?);
    // One after the other, as commits are.
    let commit = Step::new(commit).to([Change::Changed, Change::Edit]).concurrency(1);
    let give_up = |step: Step<Change, App>| step.dead(Change::Failed).max_attempts(3).backoff(backoff.clone());
    Ok(Workflow::builder("change")
        .start(Change::Scan)
        .state(Change::Scan, give_up(scan))
        .state(Change::Edit, give_up(edit))
        .state(Change::Check, give_up(check))
        .state(Change::Commit, give_up(commit))
        .terminal(Change::Listed)
        .terminal(Change::Skipped)
        .terminal(Change::Changed)
        .terminal(Change::Failed)
        .build(app)?)
}

type Tried = Result<Next<Change>, Classified>;

async fn scan(Item(folder): Item<Change>, State(app): State<App>) -> Tried {
    let entries = blocking({
        let (root, folder) = (app.root.clone(), folder.clone());
        move || change::entries(&root, &folder)
    })
    .await?;
    let kick =
        |next: Next<Change>, (entry, is_folder)| next.kick(if is_folder { Change::Scan } else { Change::Edit }, entry);
    Ok(entries.into_iter().fold(Next::to(Change::Listed, folder), kick))
}

async fn edit(Item(file): Item<Change>, State(app): State<App>) -> Tried {
    let edited = blocking(move || change::edit(&app.root, file)).await?;
    let to = if edited.lines == 0 { Change::Skipped } else { Change::Check };
    Ok(Next::to(to, edited))
}

async fn check(Item(file): Item<Change>, State(app): State<App>) -> Tried {
    let (file, is_current) = blocking(move || change::check(&app.root, file)).await?;
    Ok(Next::to(if is_current { Change::Commit } else { Change::Edit }, file))
}

async fn commit(Item(file): Item<Change>, Overall(plan): Overall<Plan>, State(app): State<App>) -> Tried {
    if plan.mode == Mode::DryRun {
        return Ok(Next::to(Change::Changed, file));
    }
    let (file, is_done) = blocking(move || change::commit(&app.root, file)).await?;
    Ok(Next::to(if is_done { Change::Changed } else { Change::Edit }, file))
}

/// Files block: they are read on threads for that. What is wrong with a file itself will not change by itself.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, change::Failed> + Send + 'static,
) -> Result<T, Classified> {
    match tokio::task::spawn_blocking(work).await.retryable()? {
        Err(failed @ change::Failed::NotText { .. }) => Err(failed).discard(),
        other => other.retryable(),
    }
}
