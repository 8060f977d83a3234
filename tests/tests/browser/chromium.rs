//! Chromium by its debugging protocol, over two pipes: no driver and no port in between.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the program is. `cargo xtask test browser` installs it and says so.
const VARIABLE: &str = "WORK_TEST_CHROMIUM";

/// No answer takes longer, however busy the machine is.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Chromium reads commands from descriptor 3 and answers on 4.
const PIPES: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";

const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser that runs; it ends with this.
pub(crate) struct Chromium {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    last: u64,
    /// What came without being asked for.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts one with a profile of its own; nothing where the variable is not set.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            let text = format!("SKIPPED: {VARIABLE} is not set; `cargo xtask test browser` sets it\n");
            // Not by a macro, whose output is kept back.
            drop(std::io::stderr().write_all(text.as_bytes()));
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", PIPES, "sh"]).arg(program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = sync_channel(1000);
        std::thread::spawn(move || {
            for part in output.split(0) {
                let Ok(message) = part.map(|part| serde_json::from_slice(&part).unwrap()) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Some(Self { child, input, messages, last: 0, events: Vec::new(), _profile: profile })
    }

    /// Sends a command, to a tab if there is a session, and waits for its answer.
    pub(crate) fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.input.as_mut().expect("it runs").write_all(&text).expect("Chromium reads commands");
        loop {
            let answer = self.messages.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no answer to {method}"));
            if answer["id"] == self.last {
                return if answer["error"].is_null() {
                    Ok(answer["result"].clone())
                } else {
                    Err(answer["error"].clone())
                };
            }
            self.events.push(answer);
        }
    }

    /// What came since the last time, after waiting this long for something if there is nothing.
    pub(crate) fn events(&mut self, wait: Duration) -> Vec<Value> {
        if self.events.is_empty() {
            self.events.extend(self.messages.recv_timeout(wait).ok());
        }
        self.events.extend(self.messages.try_iter());
        std::mem::take(&mut self.events)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends when nobody is there to command it.
        drop(self.input.take());
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            self.messages.try_iter().for_each(drop);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
