//! Long lines, and sinks that fail.

#![cfg(feature = "log")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::Written;
use tracing_subscriber::layer::SubscriberExt;
use work_adapters::log::{AggregateLogBuilder, MIN_MAX_BYTES};
use work_adapters::{AggregateLog, LogLayer};
use work_core::{Args, Context, Handler, Job, LocalWorker, Router, Status, Worker};

/// Performs one job for each of these args.
async fn perform<H: Handler<M, ()>, M: 'static>(log: &AggregateLog, handler: H, args: &[u32]) {
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.subscriber_layer()));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(LogLayer::new(log.clone())));
    for n in args {
        let handle = worker.perform(Job::new("handler", *n)).await.unwrap();
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS, "whatever the log does");
    }
}

fn builder(written: &Written) -> AggregateLogBuilder {
    AggregateLog::builder().writer(written.clone())
}

#[tokio::test]
async fn a_line_over_100_000_bytes_is_truncated_with_a_marker_and_valid() {
    async fn handler(Args(entries): Args<u32>) {
        for n in 0..entries {
            tracing::info!(n, text = "\"quoted\"\n".repeat(10), "an entry");
        }
    }
    let written = Written::default();
    perform(&builder(&written).build(), handler, &[10, 2_000, 20_000]).await;
    let lines = written.lines();
    assert_eq!((lines[0]["entries"].as_array().unwrap().len(), &lines[0]["truncated"]), (10, &json!(null)));
    for (line, given) in [(1, 2_000), (2, 20_000)] {
        let length = written.text().lines().nth(line).unwrap().len() + 1;
        assert!((99_500..=100_000).contains(&length), "{length} bytes");
        let kept = lines[line]["entries"].as_array().unwrap();
        let left_out = lines[line]["truncated"]["left_out"].as_u64().unwrap();
        assert_eq!(kept.len() as u64 + left_out, given, "every entry is kept or counted");
        let cut = kept.iter().filter(|entry| entry["truncated"] == true).count();
        assert_eq!(lines[line]["truncated"]["cut"], cut);
        let whole = kept.iter().take_while(|entry| entry["truncated"] == json!(null));
        assert!(whole.enumerate().all(|(n, entry)| entry["fields"]["n"] == n), "from the beginning, in order");
    }
}

/// Writes for ever, unless it is told to stop.
struct Endless(Arc<AtomicUsize>);
impl std::fmt::Debug for Endless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        loop {
            f.write_str("and on ")?;
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn a_value_without_end_is_stopped_and_what_comes_after_it_is_kept() {
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = rounds.clone();
    let handler = move || {
        let rounds = counted.clone();
        async move {
            tracing::info!("begin {:?}", Endless(rounds));
            tracing::info!("after");
        }
    };
    let written = Written::default();
    perform(&builder(&written).build(), handler, &[1]).await;
    assert!(rounds.load(Ordering::SeqCst) * "and on ".len() <= 100_000, "no more than a line is read of it");
    let line = &written.lines()[0];
    assert!(line["entries"][0]["message"].as_str().unwrap().starts_with("begin and on and on"));
    assert_eq!((&line["entries"][0]["truncated"], &line["entries"][1]["message"]), (&json!(true), &json!("after")));
    assert_eq!(line["truncated"], json!({"left_out": 0, "cut": 1}));
}

#[tokio::test]
async fn the_smallest_line_still_has_its_summary() {
    async fn handler(context: Context) {
        context.set("comment", "\u{1}".repeat(1_000_000));
        for _ in 0..1_000 {
            tracing::info!("\u{1}\u{1}\u{1}\u{1}");
        }
    }
    let written = Written::default();
    perform(&builder(&written).max_bytes(0).build(), handler, &[1]).await;
    assert!(written.text().len() <= MIN_MAX_BYTES, "{} bytes", written.text().len());
    let line = &written.lines()[0];
    assert_eq!(line["summary"]["status"], 200);
    assert!(line["summary"]["comment"].as_str().unwrap().starts_with("\u{1}\u{1}"), "the comment is cut");
    assert!(line["truncated"]["left_out"].as_u64().unwrap() > 900);
}

/// A disk that gets full and has room again: takes so many bytes at once, and fails after so many.
struct Disk {
    data: Vec<u8>,
    room: usize,
}
impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.room).min(100);
        self.data.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A `Mutex` behind an `Arc`, as a test needs it to look inside.
#[derive(Clone)]
struct Shared(Arc<Mutex<Disk>>);
impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_breaks_no_job_and_no_later_line() {
    let disk = Shared(Arc::new(Mutex::new(Disk { data: Vec::new(), room: 300 })));
    let sink = disk.clone();
    let log = AggregateLog::builder().writer(move || sink.clone()).build();
    perform(&log, async || {}, &[1, 2, 3]).await;
    assert_eq!((log.written_lines(), log.dropped_lines()), (1, 2), "the second is torn, the third refused");
    disk.0.lock().unwrap().room = usize::MAX;
    perform(&log, async || {}, &[4, 5]).await;
    assert_eq!((log.written_lines(), log.dropped_lines()), (3, 2));
    let text = String::from_utf8(disk.0.lock().unwrap().data.clone()).unwrap();
    let valid = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
    assert_eq!((text.lines().count(), valid), (4, 3), "only the torn one is lost: {text}");
}

#[tokio::test]
async fn a_closed_pipe_breaks_no_job() {
    let (reader, writer) = io::pipe().unwrap();
    let log = AggregateLog::builder().writer(Mutex::new(writer)).build();
    perform(&log, async || {}, &[1]).await;
    drop(reader);
    perform(&log, async || {}, &[2, 3]).await;
    assert_eq!((log.written_lines(), log.dropped_lines()), (1, 2));
}

#[tokio::test]
async fn a_sink_that_panics_breaks_no_job() {
    let log = AggregateLog::builder().writer(|| -> io::Sink { panic!("a broken sink") }).build();
    perform(&log, async || {}, &[1, 2]).await;
    assert_eq!((log.written_lines(), log.dropped_lines()), (0, 2));
}

#[tokio::test]
async fn a_real_file_has_whole_lines_from_eight_threads() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = AggregateLog::builder().writer(Arc::new(file.reopen().unwrap())).build();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(perform(&log, async || tracing::info!("{}", "x".repeat(5_000)), &[0; 50]));
            });
        }
    });
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!((text.lines().count(), log.written_lines()), (400, 400));
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["entries"][0]["message"].as_str().unwrap().len(), 5_000);
    }
}
