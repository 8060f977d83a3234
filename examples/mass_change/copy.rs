use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

/// A copy of this repository's sources in a folder that goes away with the program, with a few untidy lines and a file
/// that is no text: so that there is something to change, and something that fails.
pub(crate) fn sources() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), folder.path().join("tree"));
    copy(&from, &to).context("the sources of this repository")?;
    for n in 0..300 {
        let ends = if n % 3 == 0 { "  " } else { "" };
        fs::write(to.join(format!("examples/untidy-{n}.md")), format!("line one{ends}\nline two\t{ends}\n"))?;
    }
    for n in 0..3 {
        fs::write(to.join(format!("examples/picture-{n}.txt")), b"\x89PNG\xff\n")?;
    }
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if name == "target" || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
