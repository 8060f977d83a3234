use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use work_core::{Args, BoxError, Classify, Context, Json, Status};

use crate::path_text::to_path;
use crate::walk::hex;

pub(crate) const KIND: &str = "index";

/// What is known of one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    /// Newlines, as `wc -l` counts them.
    pub(crate) lines: u64,
    /// Words, as `wc -w` counts them in the C locale.
    pub(crate) words: u64,
    pub(crate) language: String,
}

/// Reads one file on a thread that may block.
pub(crate) async fn index(Args(path): Args<String>, context: Context) -> Result<Json<Facts>, BoxError> {
    let stop = context.cancellation().child_token();
    // If the job is dropped, so is its thread's reason to go on.
    let _stop = stop.clone().drop_guard();
    let read = tokio::task::spawn_blocking(move || read(path, &stop)).await.retryable()?;
    match read {
        Ok(facts) => Ok(Json(facts)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(Err(error).status(Status::NOT_FOUND)?),
            ErrorKind::PermissionDenied => Ok(Err(error).status(Status::FORBIDDEN)?),
            ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidInput => {
                Ok(Err(error).status(Status::CONFLICT)?)
            }
            _ => Ok(Err(error).retryable()?),
        },
    }
}

fn read(path: String, stop: &CancellationToken) -> std::io::Result<Facts> {
    let file = to_path(&path);
    let language = language(&file);
    // What has become a pipe since the walk would block, and what has become a link is no file of this folder.
    let kind = std::fs::symlink_metadata(&file)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is no longer a regular file"));
    }
    let mut source = File::open(&file)?;
    let (mut hash, mut counter, mut bytes) = (Sha256::new(), Counter::default(), 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        if stop.is_cancelled() {
            return Err(std::io::Error::other("cancelled"));
        }
        let length = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..length]);
        counter.count(&buffer[..length]);
        bytes += length as u64;
    }
    let sha256 = hex(&hash.finalize());
    Ok(Facts { path, sha256, bytes, lines: counter.lines, words: counter.words, language })
}

/// Counts lines and words across the pieces of a file.
#[derive(Default)]
struct Counter {
    lines: u64,
    words: u64,
    in_word: bool,
}

impl Counter {
    /// A word begins with a printable sign of ASCII and ends with white space; other bytes do neither.
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.lines += 1;
                    self.in_word = false;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.in_word = false,
                0x21..=0x7e if !self.in_word => {
                    self.in_word = true;
                    self.words += 1;
                }
                _ => {}
            }
        }
    }
}

/// The language that the end of the name stands for.
fn language(path: &Path) -> String {
    let known = match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
        "rs" => "Rust",
        "toml" => "TOML",
        "md" | "markdown" => "Markdown",
        "json" => "JSON",
        "yml" | "yaml" => "YAML",
        "c" | "h" => "C",
        "cc" | "cpp" | "hpp" | "cxx" => "C++",
        "s" | "asm" | "S" => "Assembly",
        "py" => "Python",
        "js" | "mjs" => "JavaScript",
        "ts" => "TypeScript",
        "go" => "Go",
        "sh" | "bash" => "Shell",
        "sql" => "SQL",
        "html" | "htm" => "HTML",
        "css" => "CSS",
        "txt" => "Text",
        "lock" => "Lock file",
        "stderr" | "stdout" | "snap" => "Test output",
        _ => "Other",
    };
    known.to_owned()
}
