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
