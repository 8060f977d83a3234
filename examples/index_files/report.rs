use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use work_core::store::{Inspect, JobFilter, StoredJob};
use work_core::{Args, Classify, IntoOutcome, JobState, Json, Kind, Outcome, Queue, State};

use crate::file::Facts;
use crate::path_text::to_path;
use crate::run::Plan;
use crate::{App, file};

pub(crate) const KIND: &str = "report";

/// Counts of a group of files.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Totals {
    files: u64,
    lines: u64,
    words: u64,
    bytes: u64,
}

/// A file that could not be indexed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dead {
    path: String,
    status: u16,
    reason: String,
}

/// What the run found; kept as the output of the job that made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    totals: Totals,
    languages: BTreeMap<String, Totals>,
    /// Files of the same content, without empty ones: the largest groups in bytes first.
    duplicates: Vec<Vec<String>>,
    duplicate_bytes: u64,
    dead_letters: Vec<Dead>,
}

/// The whole of it, for `--json`.
#[derive(Debug, Serialize)]
struct Everything<'r> {
    #[serde(flatten)]
    report: &'r Report,
    files: &'r [Facts],
}

/// Waits until every file has ended, and reports on all of them.
pub(crate) async fn report(Args(plan): Args<Plan>, State(app): State<App>) -> Outcome {
    match make(&plan, &app).await {
        Ok(Some(report)) => Json(report).into_outcome(),
        // Files that are read right now, or tried again later.
        Ok(None) => Outcome::snooze(Duration::from_millis(100)),
        Err(error) => Err::<(), _>(error).retryable().into_outcome(),
    }
}

async fn make(plan: &Plan, app: &App) -> anyhow::Result<Option<Report>> {
    let filter = JobFilter {
        queue: Some(Queue::from(plan.queue())),
        kind: Some(Kind::from_static(file::KIND)),
        ..JobFilter::default()
    };
    if app.store.counts(filter.clone()).await?.open() > 0 {
        return Ok(None);
    }
    let (mut files, mut dead, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = app.store.list(filter.clone(), after, 5_000).await?;
        for job in &page.jobs {
            match &job.output {
                Some(facts) if job.state == JobState::Completed => files.push(serde_json::from_slice(facts)?),
                _ => dead.push(dead_letter(job)),
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // The jobs arrived in the order of the walk, which is the file system's.
    files.sort_by(|a: &Facts, b| a.path.cmp(&b.path));
    dead.sort_by(|a: &Dead, b| a.path.cmp(&b.path));
    let report = Report::new(&files, dead);
    if let Some(json) = &plan.json {
        write_json(json, &Everything { report: &report, files: &files })?;
    }
    Ok(Some(report))
}

fn dead_letter(job: &StoredJob) -> Dead {
    let reason = job.last_error().map_or("no reason was recorded", |error| &error.message);
    Dead {
        path: serde_json::from_slice(&job.job.args).unwrap_or_default(),
        status: job.status.map_or(0, work_core::Status::code),
        reason: reason.to_owned(),
    }
}

/// Whole or not at all: the file appears under its name when it is complete.
fn write_json(path: &str, everything: &Everything<'_>) -> anyhow::Result<()> {
    let path = to_path(path);
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&part)?);
    serde_json::to_writer_pretty(&mut file, everything)?;
    file.into_inner()?.sync_all()?;
    Ok(std::fs::rename(&part, &path)?)
}

impl Totals {
    fn add(&mut self, file: &Facts) {
        self.files += 1;
        self.lines += file.lines;
        self.words += file.words;
        self.bytes += file.bytes;
    }
}

impl Report {
    fn new(files: &[Facts], dead_letters: Vec<Dead>) -> Self {
        let (mut totals, mut languages) = (Totals::default(), BTreeMap::<String, Totals>::new());
        let mut same = BTreeMap::<(u64, &str), Vec<String>>::new();
        for file in files {
            totals.add(file);
            languages.entry(file.language.clone()).or_default().add(file);
            if file.bytes > 0 {
                same.entry((file.bytes, &file.sha256)).or_default().push(file.path.clone());
            }
        }
        let groups = || same.iter().rev().filter(|(_, paths)| paths.len() > 1);
        let duplicate_bytes = groups().map(|((bytes, _), paths)| bytes * (paths.len() as u64 - 1)).sum();
        let duplicates = groups().map(|(_, paths)| paths.clone()).collect();
        Self { totals, languages, duplicates, duplicate_bytes, dead_letters }
    }

    pub(crate) const fn files(&self) -> u64 {
        self.totals.files
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Writes the table to stdout. A reader that has seen enough is no error.
    pub(crate) fn print(&self) -> anyhow::Result<ExitCode> {
        match std::io::stdout().lock().write_all(self.table().as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        Ok(ExitCode::from(u8::from(!self.dead_letters.is_empty())))
    }

    fn table(&self) -> String {
        let line = |name: &str, totals: &Totals| {
            let Totals { files, lines, words, bytes } = totals;
            format!("{name:14} {files:>9} {lines:>12} {words:>12} {bytes:>15}\n")
        };
        let mut text = format!("{:14} {:>9} {:>12} {:>12} {:>15}\n", "language", "files", "lines", "words", "bytes");
        let mut languages: Vec<_> = self.languages.iter().collect();
        languages.sort_by_key(|(name, totals)| (std::cmp::Reverse(totals.files), (*name).clone()));
        languages.iter().for_each(|(name, totals)| text.push_str(&line(name, totals)));
        text.push_str(&line("total", &self.totals));
        let groups = self.duplicates.len();
        text.push_str(&format!("\nduplicates: {groups} groups, {} bytes that are there twice\n", self.duplicate_bytes));
        for group in self.duplicates.iter().take(5) {
            text.push_str(&format!("  {} x {}\n", group.len(), group.first().map_or("", String::as_str)));
        }
        let dead = self.dead_letters.len();
        text.push_str(&format!("\njobs: {} completed, {dead} dead letters\n", self.totals.files));
        for Dead { path, status, reason } in &self.dead_letters {
            text.push_str(&format!("  {status} {path}: {reason}\n"));
        }
        text
    }
}
