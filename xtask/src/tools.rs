use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version that is installed where none is.
const CARGO_DENY: &str = "0.20.2";

/// True if a program of this name answers `--version`.
pub(crate) fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where promtool is; if it is nowhere, Debian's package of Prometheus is fetched and unpacked into the target directory.
pub(crate) fn promtool() -> Result<PathBuf, String> {
    if has("promtool") {
        return Ok("promtool".into());
    }
    let root = std::path::absolute("target/tools").map_err(|error| error.to_string())?;
    let program = root.join("promtool");
    if !program.exists() {
        let unpacked = root.join("prometheus");
        std::fs::create_dir_all(&unpacked).map_err(|error| error.to_string())?;
        let script = "apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; } \
            && dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool ..";
        let fetched = Command::new("sh").args(["-c", script]).current_dir(&unpacked).stdin(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&unpacked);
        if !fetched.is_ok_and(|status| status.success()) {
            return Err("promtool is not here, and Debian's package `prometheus` could not be fetched".into());
        }
    }
    Ok(program)
}

/// Sees that there is strace; only root may install it, where apt is.
pub(crate) fn strace() -> Result<(), String> {
    let apt = |line: &str| {
        let mut command = Command::new("apt-get");
        command.args(line.split(' ')).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let install = "install -y -qq --no-install-recommends strace";
    if has("strace") || (apt("update -qq") && apt(install) && has("strace")) {
        return Ok(());
    }
    Err("strace is not here, and could not be installed by apt-get".into())
}

/// Where cargo-deny is; it is built into the target directory if it is nowhere.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    if has("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let root = Path::new("target/tools");
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        println!("installing cargo-deny {CARGO_DENY} into {}: this takes some minutes, once", root.display());
        let mut install = Command::new("cargo");
        install.args([
            "install",
            "cargo-deny",
            "--locked",
            "--no-default-features",
            "--quiet",
            "--version",
            CARGO_DENY,
        ]);
        install
            .arg("--root")
            .arg(root)
            .env("CARGO_TARGET_DIR", root.join("build"))
            .env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").stdin(Stdio::null());
        if !install.status().is_ok_and(|status| status.success()) {
            return Err(format!("cargo-deny {CARGO_DENY} could not be installed"));
        }
        let _ = std::fs::remove_dir_all(root.join("build"));
    }
    Ok(program)
}
