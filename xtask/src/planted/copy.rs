use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A copy of the sources, with a target folder of its own, which stays for the next run.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) sources: PathBuf,
    pub(super) target: PathBuf,
    pub(super) log: PathBuf,
}

impl Copy {
    /// Brings the copy up to date. Files that are as they were keep their time, so that nothing is built again for them.
    pub(super) fn make(place: &Path) -> Result<Self, String> {
        let make = || -> io::Result<Self> {
            let place = std::path::absolute(place)?;
            let copy = Self { sources: place.join("sources"), target: place.join("build"), log: place.join("log") };
            fs::create_dir_all(&copy.sources)?;
            fs::create_dir_all(&copy.log)?;
            let mut files = Vec::new();
            list(Path::new("."), Path::new(""), &mut files)?;
            files.iter().try_for_each(|file| copy.restore(file))?;
            let (wanted, mut there) = (files.into_iter().collect::<HashSet<_>>(), Vec::new());
            list(&copy.sources, Path::new(""), &mut there)?;
            there
                .iter()
                .filter(|file| !wanted.contains(*file))
                .try_for_each(|file| fs::remove_file(copy.sources.join(file)))?;
            Ok(copy)
        };
        make().map_err(|error| format!("no copy in {}: {error}", place.display()))
    }

    /// Makes one file as it is in the repository.
    pub(super) fn restore(&self, file: &Path) -> io::Result<()> {
        let (content, to) = (fs::read(file)?, self.sources.join(file));
        if fs::read(&to).is_ok_and(|there| there == content) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(to, content)
    }
}

/// The files below a folder, without what is built and what git keeps.
fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && !matches!(entry.file_name().to_str(), Some("target" | ".git" | "node_modules")) {
            list(root, &path, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
