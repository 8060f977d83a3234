use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file so that at any moment, also after a power cut, either the old content is there or the new one.
///
/// The new content is written beside it, as `.name.new`, flushed to the disk, and then takes its name. What an attempt
/// that was killed left there is overwritten by the next one. One at a time for each file.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let file = folder.path().join("run.json");
/// work_workflow::replace_file(&file, b"{}")?;
/// work_workflow::replace_file(&file, b"{\"a\":1}")?;
/// assert_eq!(std::fs::read(&file)?, b"{\"a\":1}");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What the system says; the old content is still there.
pub fn replace_file(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = folder.join(beside);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| std::fs::rename(&beside, path)) {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    // The new name is on the disk when the folder is.
    File::open(folder)?.sync_all()
}
