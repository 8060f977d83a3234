//! Run with: `cargo run --example mass_change`
//!
//! Changes many files with care: takes blanks off the ends of lines in every file of a tree, as items that go through
//! states. Without a folder it works on a copy of this repository's sources, and without `--apply` it only looks.
//!
//! `mass_change PATH --store change.db --apply` changes the files of PATH. Stop it at any moment, even with `kill -9`:
//! the same command goes on where it was, and no file is changed twice.

mod change;
mod copy;
mod report;
mod states;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use work_sqlite::SqliteStore;
use work_workflow::{Engine, Run};

use crate::change::{Mode, Plan, Scan};
use crate::states::Change;

/// Takes blanks off the ends of lines, in every file of a folder.
#[derive(Debug, Parser)]
struct Options {
    /// The folder; by default a copy of this repository's sources, made for this run.
    path: Option<PathBuf>,
    /// Where the state of the run is kept; by default beside the copy, so that it is gone with it.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Writes the changed files. Without it, they are only counted.
    #[arg(long)]
    apply: bool,
    /// Prints the graph of the states in Mermaid's language, and does nothing else.
    #[arg(long)]
    graph: bool,
    /// How many files are checked a second, at most.
    #[arg(long, default_value_t = 2_000)]
    checks: u32,
}

/// What the handlers share in this process.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) root: Arc<Path>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match change(options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mass_change: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn change(options: Options) -> anyhow::Result<ExitCode> {
    let copy = if options.path.is_none() { Some(copy::sources()?) } else { None };
    let root = match (&options.path, &copy) {
        (Some(path), _) => path.canonicalize().with_context(|| format!("{}", path.display()))?,
        (None, Some(copy)) => copy.path().join("tree"),
        (None, None) => bail!("no folder"),
    };
    let workflow = states::workflow(App { root: root.clone().into() }, options.checks)?;
    if options.graph {
        print!("{}", workflow.mermaid());
        return Ok(ExitCode::SUCCESS);
    }
    let store = match (&options.store, &copy) {
        (Some(store), _) => store.clone(),
        (None, Some(copy)) => copy.path().join("change.db"),
        (None, None) => PathBuf::from("mass_change.db"),
    };
    // A killed run goes on two seconds after its end.
    let engine = Engine::builder(SqliteStore::open(&store).await?, workflow).lease_for(Duration::from_secs(2)).build();
    let run = open(&engine, &root, &options).await?;
    run.seed(Change::Scan, [change::File::folder(Scan::ROOT)]).await?;

    let stop = async {
        tokio::select! {
            () = run.done() => {}
            () = interrupted() => {}
        }
    };
    let ended = {
        let shown = show(&engine);
        tokio::pin!(shown);
        tokio::select! {
            ended = engine.run_until(stop) => ended,
            () = &mut shown => bail!("the display ended"),
        }
    };
    ended?;
    let report = run.report().await?;
    if report.open() > 0 {
        eprintln!("stopped; {} items are open: the same command goes on", report.open());
        return Ok(ExitCode::from(130));
    }
    report::print(&run.items().await?, &report, options.apply);
    Ok(ExitCode::SUCCESS)
}

/// The run of this store: a new one, or the one that was cut off.
async fn open(engine: &Engine<Change>, root: &Path, options: &Options) -> anyhow::Result<Run<Change>> {
    let mode = if options.apply { Mode::Apply } else { Mode::DryRun };
    let plan = Plan { root: root.display().to_string(), mode };
    let run = engine.create_or_open("run", &plan).await?;
    let before: Plan = serde_json::from_value(run.export().await?.overall)?;
    if before != plan {
        bail!("the store has a run of {} ({:?}); give another --store", before.root, before.mode);
    }
    Ok(run)
}

/// A bar for each state on a terminal, else a line now and then.
async fn show(engine: &Engine<Change>) {
    let is_terminal = !MultiProgress::with_draw_target(ProgressDrawTarget::stderr()).is_hidden();
    if is_terminal {
        return work_workflow::progress::bars(engine).await;
    }
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        eprintln!("{}", work_workflow::progress::line(&engine.status()));
    }
}

/// Control-C or a polite kill.
async fn interrupted() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
