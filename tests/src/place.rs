use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::{finish, index_files, text};

/// A folder of its own for one test: a tree to index, a store and a report beside it. Gone at the end.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A new one, with an empty tree.
    ///
    /// # Panics
    ///
    /// If it cannot be made, as all methods here.
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a folder") };
        fs::create_dir(place.tree()).expect("a folder");
        place
    }

    /// The folder that holds all of it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder to index.
    pub fn tree(&self) -> PathBuf {
        self.dir().join("tree")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.dir().join("index.db")
    }

    /// The report.
    pub fn json(&self) -> PathBuf {
        self.dir().join("report.json")
    }

    /// Writes a file of the tree, and the folders above it.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    }

    /// The command that indexes a folder.
    pub fn command(&self, tree: &Path) -> Command {
        let mut command = Command::new(index_files());
        command.arg(tree).arg("--store").arg(self.store()).arg("--json").arg(self.json());
        command
    }

    /// Starts a command, with its output in pipes.
    pub fn start(&self, command: &mut Command) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    }

    /// Runs a command to its end.
    pub fn end(&self, command: &mut Command) -> Output {
        finish(self.start(command))
    }

    /// Indexes the tree.
    pub fn run(&self) -> (Output, Value) {
        let output = self.end(&mut self.command(&self.tree()));
        let report = self.report(&output);
        (output, report)
    }

    /// The report that a command has written.
    pub fn report(&self, output: &Output) -> Value {
        let json = fs::read(self.json()).unwrap_or_else(|error| panic!("{error}: {}", text(output)));
        serde_json::from_slice(&json).expect("JSON")
    }
}
