use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `EXT4_IOC_SHUTDOWN`, which drops everything that was not flushed, and the journal with it.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// How long a disk may stay busy after a cut.
const PATIENCE: Duration = Duration::from_secs(20);

/// A disk whose power can be cut: a file system of its own, in a file. What was written and not flushed is gone then, for
/// everybody and at once.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Makes one in a folder.
    ///
    /// # Errors
    ///
    /// Why this machine, or this user, cannot have one.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let disk = Self { image: dir.join("disk.img"), mounted: dir.join("disk") };
        fs::create_dir(&disk.mounted).map_err(|error| error.to_string())?;
        // It takes no more room than what is written.
        let image = fs::File::create(&disk.image).and_then(|image| image.set_len(4 << 30));
        image.map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        disk.mount()?;
        // Does it lose what it must lose?
        let probe = disk.mounted.join("probe");
        fs::write(&probe, "not flushed").map_err(|error| error.to_string())?;
        disk.cut();
        disk.power_on();
        if probe.exists() { Err("a cut loses nothing here".to_owned()) } else { Ok(disk) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Cuts the power.
    ///
    /// # Panics
    ///
    /// If it cannot be cut.
    pub fn cut(&self) {
        run(Command::new("python3").args(["-c", CUT]).arg(&self.mounted)).expect("a cut");
    }

    /// Flushes everything.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn flush(&self) {
        run(Command::new("sync").arg("--file-system").arg(&self.mounted)).expect("flushed");
    }

    /// As a machine does when it starts again. Nobody may use the disk any more.
    ///
    /// # Panics
    ///
    /// If it cannot be mounted.
    pub fn power_on(&self) {
        let start = Instant::now();
        while let Err(error) = run(Command::new("umount").arg(&self.mounted)) {
            assert!(start.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.mount().expect("mounted");
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(run(Command::new("umount").arg("--lazy").arg(&self.mounted)));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    let said = || format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    if output.status.success() { Ok(()) } else { Err(said()) }
}
