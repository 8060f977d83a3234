use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use work_core::{JobId, Kind, Queue, Status};

use super::buffer::Entries;

/// What a line says about its execution, for [`silent_if`](super::AggregateLogBuilder::silent_if).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// The trace id of the job's header `traceparent`, if it has a valid one.
    pub trace_id: Option<String>,
    /// Which job.
    pub job_id: JobId,
    /// What it does.
    pub kind: Kind,
    /// Where it waited.
    pub queue: Queue,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// From the call to the end.
    pub latency: Duration,
    /// When it ended.
    pub time: DateTime<Utc>,
    /// Which of the worker's slots it ran in, from 0.
    pub worker: u32,
    /// The text that was put into the context under `comment`.
    pub comment: Option<String>,
    /// The text of what went wrong.
    pub error: Option<String>,
    /// How many events were collected.
    pub entries: usize,
}

#[derive(Serialize)]
struct Json<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'s str>,
    job_id: JobId,
    kind: &'s str,
    queue: &'s str,
    attempt: u32,
    status: u16,
    status_name: &'static str,
    latency_ms: f64,
    time: String,
    worker: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'s str>,
}

impl Summary {
    fn json(&self, max_text: usize) -> serde_json::Result<String> {
        serde_json::to_string(&Json {
            trace_id: self.trace_id.as_deref(),
            job_id: self.job_id,
            kind: self.kind.as_str(),
            queue: self.queue.as_str(),
            attempt: self.attempt,
            status: self.status.code(),
            status_name: self.status.name(),
            latency_ms: self.latency.as_micros() as f64 / 1_000.0,
            time: self.time.to_rfc3339_opts(SecondsFormat::Millis, true),
            worker: self.worker,
            comment: self.comment.as_deref().map(|text| cut_json(text, max_text)),
            error: self.error.as_deref().map(|text| cut_json(text, max_text)),
        })
    }
}

/// The longest `,"truncated":{"left_out":…,"cut":…}` that there is.
const MARKER: usize = 80;

/// The line, with its line break, in at most so many bytes.
pub(super) fn line(summary: &Summary, mut entries: Entries, max_bytes: usize) -> serde_json::Result<String> {
    let summary = summary.json(max_bytes / 8)?;
    let frame = summary.len() + r#"{"summary":,"entries":[]}"#.len() + "\n".len() + MARKER;
    let mut length = frame + entries.lines.iter().map(|entry| entry.json.len() + 1).sum::<usize>();
    while length > max_bytes
        && let Some(last) = entries.lines.pop()
    {
        length -= last.json.len() + 1;
        entries.left_out += 1;
    }
    let mut line = String::with_capacity(length);
    line.push_str(r#"{"summary":"#);
    line.push_str(&summary);
    line.push_str(r#","entries":["#);
    for (n, entry) in entries.lines.iter().enumerate() {
        line.push_str(if n == 0 { "" } else { "," });
        line.push_str(&entry.json);
    }
    line.push(']');
    let (left_out, cut) = (entries.left_out, entries.lines.iter().filter(|entry| entry.is_cut).count());
    if left_out > 0 || cut > 0 {
        line.push_str(&format!(r#","truncated":{{"left_out":{left_out},"cut":{cut}}}"#));
    }
    line.push_str("}\n");
    Ok(line)
}

/// As much of the text as has at most so many bytes in JSON.
pub(super) fn cut_json(text: &str, max_bytes: usize) -> &str {
    let mut length = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        length += match c {
            '"' | '\\' => 2,
            c if c.is_ascii_control() => 6,
            c => c.len_utf8(),
        };
        (length > max_bytes).then_some(at)
    });
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_its_length_in_json() {
        for text in ["plain", "\"\"\"\"", "\u{1}\u{2}\u{3}", "äöü", "a\"b\nc\\d", ""] {
            for max in 0..20 {
                let cut = cut_json(text, max);
                assert!(serde_json::to_string(cut).unwrap().len() <= max + 2, "{text:?} at {max}: {cut:?}");
            }
            assert_eq!(cut_json(text, 100), text);
        }
    }
}
