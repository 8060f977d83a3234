//! The commands of this repository. `cargo xtask` alone lists them.

mod browser;
mod examples;
mod faults;
mod lane;
mod packages;
mod planted;
mod postgres;
mod server;
mod tools;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use lane::{LANES, Lane, Outcome};

const HELP: &str = "\
cargo xtask test [LANE...]           run every lane, or these; install what they need
cargo xtask test --list              name the lanes
cargo xtask bench [NAME...] [--json] print speed as ratios to a raw limit, see work-bench
cargo xtask faults [--full] [--only NAME...] [--again] [--release]
                                     break processes, disks, networks and servers, group by group; what has passed is
                                     not repeated; target/faults/report.md says what came of it; --list names the groups
cargo xtask planted [NAME...]        plant every bug of xtask/planted, or these, and see that a test finds it";

fn main() -> ExitCode {
    // Every path below is relative to the root of the repository. Cargo says at run time where that is: `env!` would keep
    // the folder of the first build, and cargo does not build again in a copy of the repository.
    if let Some(root) = env::var_os("CARGO_MANIFEST_DIR").as_deref().and_then(|xtask| Path::new(xtask).parent())
        && let Err(error) = env::set_current_dir(root)
    {
        eprintln!("{}: {error}", root.display());
        return ExitCode::FAILURE;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((command, rest)) if command == "test" => test(rest),
        Some((command, rest)) if command == "bench" => bench(rest),
        Some((command, rest)) if command == "faults" => faults::faults(rest),
        Some((command, rest)) if command == "planted" => planted::command(rest),
        Some((command, _)) if !matches!(command.as_str(), "help" | "--help" | "-h") => {
            eprintln!("unknown command {command:?}\n{HELP}");
            ExitCode::from(2)
        }
        _ => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
    }
}

/// The speeds, and then the memory: counting allocations would slow the others down.
const MEMORY: [&str; 6] = [
    "local_allocations",
    "local_delayed_bytes",
    "sqlite_running_bytes",
    "sqlite_drain_memory",
    "sqlite_life_memory",
    "postgres_life_memory",
];

fn bench(args: &[String]) -> ExitCode {
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let of_memory = |name: &&String| MEMORY.contains(&name.as_str());
    let mut code = ExitCode::SUCCESS;
    if names.is_empty() || !names.iter().all(of_memory) {
        let speeds: Vec<&String> = args.iter().filter(|arg| !of_memory(arg)).collect();
        code = run_bench("work-bench", &speeds);
    }
    if code == ExitCode::SUCCESS
        && !args.iter().any(|arg| arg == "--list")
        && (names.is_empty() || names.iter().any(of_memory))
    {
        code = run_bench("memory", &args.iter().collect::<Vec<_>>());
    }
    code
}

fn run_bench(bin: &str, args: &[&String]) -> ExitCode {
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "-p", "work-bench", "--bin", bin, "--"]).args(args);
    // Kept until the end. Without one, the benchmarks that need it say so.
    let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    let wanted = names.peek().is_none() || names.any(|name| name.contains("postgres"));
    let _server = if wanted { postgres::server_for(&mut command).ok() } else { None };
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test(names: &[String]) -> ExitCode {
    if names.iter().any(|name| name == "--list") {
        LANES.iter().for_each(|lane| println!("{:10} {}", lane.name, lane.about));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = names.iter().find(|name| !LANES.iter().any(|lane| lane.name == **name)) {
        let known: Vec<&str> = LANES.iter().map(|lane| lane.name).collect();
        eprintln!("unknown lane {unknown:?}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let chosen = LANES.iter().filter(|lane| names.is_empty() || names.iter().any(|name| name == lane.name));
    let results: Vec<(&Lane, Outcome, u64)> = chosen.map(run).collect();
    summary(&results)
}

fn run(lane: &Lane) -> (&Lane, Outcome, u64) {
    println!("\n== {}: {}", lane.name, lane.about);
    let start = Instant::now();
    let outcome = (lane.run)();
    (lane, outcome, start.elapsed().as_secs())
}

fn summary(results: &[(&Lane, Outcome, u64)]) -> ExitCode {
    println!("\n{:10} | {:7} | result", "lane", "seconds");
    for (lane, outcome, seconds) in results {
        println!("{:10} | {seconds:7} | {outcome}", lane.name);
    }
    let count = |wanted: fn(&Outcome) -> bool| results.iter().filter(|(_, outcome, _)| wanted(outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let strict = env::var("CI").is_ok_and(|value| value == "true");
    if strict && skipped > 0 {
        println!("a skipped lane is a failure here, since CI=true");
    }
    println!();
    match skipped {
        0 => println!("{passed} passed, {failed} failed"),
        _ => println!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
    if failed > 0 || (strict && skipped > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
