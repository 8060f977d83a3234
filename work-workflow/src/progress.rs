//! One progress bar for each state, on a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Engine, StateStatus, States, Status};

/// Shows the states of an engine until its future is dropped, ten times a second. It draws on standard error, and
/// nothing if that is no terminal.
///
/// ```
/// # async fn shown<S: work_workflow::States>(engine: work_workflow::Engine<S>, run: work_workflow::Run<S>) {
/// tokio::select! {
///     () = work_workflow::progress::bars(&engine) => {}
///     _ = engine.run_until(run.done()) => {}
/// }
/// # }
/// ```
pub async fn bars<S: States>(engine: &Engine<S>) {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let bars: Vec<ProgressBar> = engine.status().states.iter().map(|state| all.add(bar(state))).collect();
    let _clear = Clear(&bars);
    loop {
        for (bar, state) in bars.iter().zip(&engine.status().states) {
            show(bar, state);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The last picture stays.
struct Clear<'b>(&'b [ProgressBar]);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::abandon);
    }
}

fn bar(state: &StateStatus) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>12} {bar:30} {pos:>7}/{len:<7} {msg}");
    let bar = ProgressBar::new(0).with_prefix(state.name);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, state: &StateStatus) {
    let ended = state.completed + state.failed + state.cancelled;
    bar.set_length(ended + state.waiting + state.executing);
    bar.set_position(ended);
    let mut text = format!("{} waiting, {} executing, {:.0}/s", state.waiting, state.executing, state.rate);
    if state.failed > 0 {
        let _ = write!(text, ", {} failed", state.failed);
    }
    bar.set_message(if state.terminal { String::new() } else { text });
}

/// The same as one line of text, for where there is no terminal.
#[must_use]
pub fn line(status: &Status) -> String {
    let mut text = String::new();
    for state in &status.states {
        let sep = if text.is_empty() { "" } else { " · " };
        let ended = state.completed + state.failed + state.cancelled;
        let _ = write!(text, "{sep}{} {ended}/{}", state.name, ended + state.waiting + state.executing);
        if state.failed > 0 {
            let _ = write!(text, " ({} failed)", state.failed);
        }
    }
    text
}
