use work_workflow::{ItemReport, RunReport, States};

use crate::change::File;
use crate::states::Change;

/// Failures that are listed one by one.
const LISTED: usize = 10;

/// The end of a run, in words.
pub(crate) fn print(items: &[ItemReport], report: &RunReport, applied: bool) {
    let ended = |state: Change| report.state(state.name()).completed;
    let of = |state: Change| items.iter().filter(move |item| item.state == state.name());
    let files = |state| of(state).filter_map(|item| serde_json::from_value::<File>(item.context.clone()).ok());
    let lines: usize = files(Change::Changed).map(|file| file.lines).sum();
    println!("{} folders read, {} items in all", ended(Change::Listed), report.items);
    let did = if applied { "changed" } else { "would be changed (dry run)" };
    println!("{} files {did}, {lines} lines", ended(Change::Changed));
    println!("{} files had nothing to change", ended(Change::Skipped));
    println!("{} files failed", ended(Change::Failed));
    for item in of(Change::Failed).take(LISTED) {
        let why = item.errors.values().flatten().next_back().map_or("", String::as_str);
        println!("  {why}");
    }
}
