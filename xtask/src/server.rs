//! A PostgreSQL server for one run, in a folder of its own. Tests that kill servers use this file too.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that nobody else uses. It is stopped, and its folder removed, when this is dropped; it also stops when this process
/// is killed, and then only the folder stays.
#[derive(Debug)]
pub(crate) struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    user: Option<User>,
    child: Option<Child>,
}

/// Whom the server runs as, if we are root: it refuses to be.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// Where the programs may be said to be.
pub(crate) const BIN_VARIABLE: &str = "WORK_TEST_POSTGRES_BIN";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server when its standard input does, which is when whoever started it is gone.
const WATCH: &str = r#""$@" & pid=$!; read -r line; kill -QUIT $pid; wait $pid"#;

impl Server {
    /// The folder with `initdb` and `postgres`, if there is one.
    pub(crate) fn find() -> Option<PathBuf> {
        let named = std::env::var_os(BIN_VARIABLE).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        debian.sort();
        let places = named.into_iter().chain(debian.into_iter().rev()).chain(std::env::split_paths(&path));
        places.into_iter().find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
    }

    /// Makes a database and starts a server on a free port.
    pub(crate) fn start(bin: &Path) -> Result<Self, String> {
        Self::start_in(bin, &std::env::temp_dir())
    }

    /// The same, with its folder in another one.
    pub(crate) fn start_in(bin: &Path, place: &Path) -> Result<Self, String> {
        let user = user()?;
        let dir = place.join(format!("work-postgres-{}-{}", std::process::id(), free_port()?));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        // Removed from here on, whatever goes wrong.
        let mut server = Self { bin: bin.to_owned(), dir, port: 0, user, child: None };
        if let Some(User { uid, gid }) = user {
            chown(&server.dir, Some(uid), Some(gid)).map_err(|error| error.to_string())?;
        }
        let mut initdb = server.command("initdb");
        initdb.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=work", "--no-sync", "--pgdata"]);
        let output = initdb.arg(server.data()).output().map_err(|error| format!("initdb: {error}"))?;
        if !output.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let mut tries = 0;
        loop {
            // The port is free now; somebody else may take it before the server does.
            server.port = free_port()?;
            tries += 1;
            match server.run() {
                Err(why) if tries == 3 => return Err(why),
                Err(_) => {}
                Ok(()) => return Ok(server),
            }
        }
    }

    /// Starts the server on the folder and port that it had.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        // One that was cut off could not remove it, and its number may be somebody else's by now.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let log = self.dir.join("log");
        let file = File::create(&log).map_err(|error| error.to_string())?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut watch = self.command_of(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "sh"]).arg(self.bin.join("postgres")).arg("-D").arg(self.data());
        watch.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]);
        watch.args(["-c", "max_connections=200"]).stdin(Stdio::piped()).stdout(file).stderr(errors);
        self.child = Some(watch.spawn().map_err(|error| error.to_string())?);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("ready to accept connections") {
                return Ok(());
            }
            if said.contains("database system is shut down") || said.contains("could not create") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        self.stop();
        Err(format!("the server did not start: {said}"))
    }

    /// As after a crash: no checkpoint, no goodbye.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://work@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.command_of(&self.bin.join(program))
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").current_dir(&self.dir).stdin(Stdio::null());
        if let Some(User { uid, gid }) = self.user {
            command.gid(gid).uid(uid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| error.to_string())
}

fn user() -> Result<Option<User>, String> {
    // A folder that is just made is ours.
    let probe = std::env::temp_dir().join(format!("work-user-{}-{}", std::process::id(), free_port()?));
    fs::create_dir(&probe).map_err(|error| format!("{}: {error}", probe.display()))?;
    let uid = fs::metadata(&probe).map(|metadata| metadata.uid());
    let _ = fs::remove_dir(&probe);
    if uid.map_err(|error| error.to_string())? != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(User { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    };
    let found = named("postgres").or_else(|| named("nobody"));
    found.map(Some).ok_or_else(|| "there is no user `postgres` or `nobody` for the server to run as".to_owned())
}
