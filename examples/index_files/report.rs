use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use work_core::store::Inspect;
use work_core::{Args, Classify, IntoOutcome, Json, Outcome, State};

use crate::App;
use crate::file::Facts;
use crate::found::{Found, of_files};
use crate::run::Plan;

pub(crate) const KIND: &str = "report";

/// Groups of duplicates that the table shows.
const SHOWN: usize = 5;

/// Counts of a group of files.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) bytes: u64,
}

/// What a run found, in short: the output of the job that reports. Its size does not grow with the folder; what is
/// known of each file stays with the job of that file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) totals: Totals,
    pub(crate) languages: BTreeMap<String, Totals>,
    pub(crate) duplicate_groups: usize,
    /// What would be saved if each content were there once.
    pub(crate) duplicate_bytes: u64,
    largest_duplicates: Vec<Duplicate>,
    /// How many files are not indexed.
    pub(crate) not_indexed: usize,
}

/// A content that is there more than once.
#[derive(Debug, Serialize, Deserialize)]
struct Duplicate {
    files: usize,
    bytes: u64,
    first: String,
}

/// Waits until every file has ended, and reports on all of them.
pub(crate) async fn report(Args(plan): Args<Plan>, State(app): State<App>) -> Outcome {
    match summary(&plan, &app).await {
        Ok(Some(summary)) => Json(summary).into_outcome(),
        // Files that are read right now, or tried again later.
        Ok(None) => Outcome::snooze(Duration::from_millis(100)),
        Err(error) => Err::<(), _>(error).retryable().into_outcome(),
    }
}

async fn summary(plan: &Plan, app: &App) -> anyhow::Result<Option<Summary>> {
    if app.store.counts(of_files(plan)).await?.open() > 0 {
        return Ok(None);
    }
    Ok(Some(Summary::of(&Found::read(&app.store, plan).await?)))
}

impl Totals {
    fn add(&mut self, file: &Facts) {
        self.files += 1;
        self.lines += file.lines;
        self.words += file.words;
        self.bytes += file.bytes;
    }

    fn line(&self, name: &str) -> String {
        let Self { files, lines, words, bytes } = self;
        format!("{name:14} {files:>9} {lines:>12} {words:>12} {bytes:>15}\n")
    }
}

impl Summary {
    fn of(found: &Found) -> Self {
        let (mut totals, mut languages) = (Totals::default(), BTreeMap::<String, Totals>::new());
        for file in &found.files {
            totals.add(file);
            languages.entry(file.language.clone()).or_default().add(file);
        }
        let groups = found.duplicates();
        let shown = groups.iter().take(SHOWN);
        let largest = shown.map(|(bytes, paths)| Duplicate {
            files: paths.len(),
            bytes: *bytes,
            first: paths.first().map_or_else(String::new, |path| (*path).to_owned()),
        });
        Self {
            totals,
            languages,
            duplicate_groups: groups.len(),
            duplicate_bytes: groups.iter().map(|(bytes, paths)| bytes * (paths.len() as u64 - 1)).sum(),
            largest_duplicates: largest.collect(),
            not_indexed: found.dead_letters.len() + found.cancelled.len(),
        }
    }

    /// Writes the table to stdout. A reader that has seen enough is no error.
    pub(crate) fn print(&self, found: &Found) -> anyhow::Result<ExitCode> {
        match std::io::stdout().lock().write_all(self.table(found).as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        Ok(ExitCode::from(u8::from(self.not_indexed > 0)))
    }

    fn table(&self, found: &Found) -> String {
        let mut text = format!("{:14} {:>9} {:>12} {:>12} {:>15}\n", "language", "files", "lines", "words", "bytes");
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(name, totals)| (std::cmp::Reverse(totals.files), (*name).clone()));
        languages.iter().for_each(|(name, totals)| text.push_str(&totals.line(name)));
        text.push_str(&self.totals.line("total"));
        let (groups, wasted) = (self.duplicate_groups, self.duplicate_bytes);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\nduplicates: {groups} groups, {wasted} bytes more than needed");
        for Duplicate { files, bytes, first } in &self.largest_duplicates {
            let _ = writeln!(text, "  {files} x {bytes} bytes: {first}");
        }
        let (dead, cancelled) = (&found.dead_letters, &found.cancelled);
        let (done, letters, stopped) = (self.totals.files, dead.len(), cancelled.len());
        let _ = writeln!(text, "\njobs: {done} completed, {letters} dead letters, {stopped} cancelled");
        for file in dead.iter().chain(cancelled) {
            let _ = writeln!(text, "  {} {}: {}", file.status, file.path, file.reason);
        }
        text
    }
}
