//! What is done with one file, without a word of workflows.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the run is to do: the same for all its items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) root: String,
    pub(crate) mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    DryRun,
    Apply,
}

/// An item: a file or a folder below the root, and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) path: String,
    /// Lines that change.
    pub(crate) lines: usize,
    /// Of the content that the change was worked out for.
    hash: u64,
}

/// Folders.
pub(crate) struct Scan;

impl Scan {
    /// The root itself.
    pub(crate) const ROOT: &str = "";
}

/// Why a file was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{path} is not text: byte {at} is not UTF-8")]
    NotText { path: String, at: usize },
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path} would lose words")]
    Words { path: String },
}

impl File {
    pub(crate) fn folder(path: &str) -> Self {
        Self { path: path.to_owned(), lines: 0, hash: 0 }
    }

    fn failed(&self) -> impl Fn(io::Error) -> Failed {
        let path = self.path.clone();
        move |source| Failed::Io { path: path.clone(), source }
    }
}

/// The files and folders in a folder. Links are left alone, and so is what is hidden or built, and names that are no
/// text.
pub(crate) fn entries(root: &Path, folder: &File) -> Result<Vec<(File, bool)>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(&folder.path)).map_err(folder.failed())? {
        let entry = entry.map_err(folder.failed())?;
        let kind = entry.file_type().map_err(folder.failed())?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.') && *name != "target") else { continue };
        let path = if folder.path.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.path) };
        if kind.is_dir() || kind.is_file() && is_text(name) {
            found.push((File::folder(&path), kind.is_dir()));
        }
    }
    found.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    Ok(found)
}

fn is_text(name: &str) -> bool {
    let known = ["rs", "toml", "md", "lock", "txt", "stderr", "yml", "yaml", "sh"];
    Path::new(name).extension().and_then(OsStr::to_str).is_none_or(|extension| known.contains(&extension))
}

fn read(root: &Path, file: &File) -> Result<String, Failed> {
    let bytes = fs::read(root.join(&file.path)).map_err(file.failed())?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failed::NotText { path: file.path.clone(), at }
    })
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The text without blanks at the ends of lines.
fn tidied(text: &str) -> String {
    let mut tidy: String = text.split_inclusive('\n').map(tidied_line).collect();
    if !tidy.is_empty() && !tidy.ends_with('\n') {
        tidy.push('\n');
    }
    tidy
}

fn tidied_line(line: &str) -> String {
    let end = if line.ends_with('\n') { "\n" } else { "" };
    format!("{}{end}", line.trim_end())
}

/// Works out the change.
pub(crate) fn edit(root: &Path, mut file: File) -> Result<File, Failed> {
    let text = read(root, &file)?;
    let tidy = tidied(&text);
    file.hash = hash(&text);
    file.lines = text.split_inclusive('\n').zip(tidy.split_inclusive('\n')).filter(|(old, new)| old != new).count();
    Ok(file)
}

/// Looks at the change again: no word may be lost. False if the file is another one by now.
pub(crate) fn check(root: &Path, file: File) -> Result<(File, bool), Failed> {
    let text = read(root, &file)?;
    if hash(&text) != file.hash {
        return Ok((file, false));
    }
    if !text.split_whitespace().eq(tidied(&text).split_whitespace()) {
        return Err(Failed::Words { path: file.path });
    }
    Ok((file, true))
}

/// Replaces the file. False if it is another one by now. One that is tidy already was replaced by an attempt that was
/// cut off.
pub(crate) fn commit(root: &Path, file: File) -> Result<(File, bool), Failed> {
    let text = read(root, &file)?;
    let tidy = tidied(&text);
    if hash(&text) != file.hash {
        return Ok((file, text == tidy));
    }
    let path = root.join(&file.path);
    let mode = fs::metadata(&path).map_err(file.failed())?.permissions();
    work_workflow::replace_file(&path, tidy.as_bytes()).map_err(file.failed())?;
    fs::set_permissions(&path, mode).map_err(file.failed())?;
    Ok((file, true))
}
