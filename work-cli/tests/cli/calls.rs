//! How the command is called, and how it looks.

use work_core::JobId;

use crate::place::{Place, said};

#[test]
fn commands_that_are_not_there_are_2_and_near_ones_are_named() {
    let Some(place) = Place::new() else { return };
    place.work(&[]).refused(2, "Usage: work");
    place.work(&["job", "list"]).refused(2, "'jobs'");
    place.work(&["jobs", "lst"]).refused(2, "'list'");
    place.work(&["stats", "--jsno"]).refused(2, "'--json'");
    place.work(&["completions", "tcsh"]).refused(2, "possible values");
    place.work(&["bench", "--jobs", "many"]).refused(2, "invalid");
}

#[test]
fn arguments_that_mean_nothing_are_2_and_what_is_accepted_is_named() {
    let Some(place) = Place::new() else { return };
    for (args, why) in [
        (&["jobs", "show"][..], "<ID>"),
        (&["jobs", "show", "abc"], "36 characters"),
        (&["jobs", "retry", "abc"], "36 characters"),
        (&["jobs", "list", "--limit", "-1"], "'-1'"),
        (&["jobs", "list", "--limit", "1e9"], "1e9"),
        (&["jobs", "list", "--limit", "99999999999999999999"], "99999999999999999999"),
        (&["jobs", "list", "--since", "tomorrow"], "how long ago"),
        (&["jobs", "list", "--since", "5y"], "90s, 2h or 7d"),
        (&["jobs", "list", "--since", "5"], "90s, 2h or 7d"),
        (&["jobs", "list", "--since", "-3s"], "unexpected argument"),
        (&["jobs", "list", "--since", "99999999999999999999d"], "90s, 2h or 7d"),
        (&["jobs", "list", "--since", "\u{663}s"], "90s, 2h or 7d"),
        (&["jobs", "enqueue", "k", "--args", "{"], "line 1 column 1"),
        (&["jobs", "enqueue", "k", "--timeout", "5 parsecs"], "use a number and a unit"),
        (&["jobs", "enqueue", "k", "--in", "99999w"], "at most ten years"),
        (&["jobs", "enqueue", "k", "--at", "9999-01-01"], "at most ten years"),
        (&["top", "--every", "soon"], "--every"),
        (&["dashboard", "--port", "70000"], "70000"),
        (&["dashboard", "--address", "localhost:"], "localhost:"),
    ] {
        place.work(args).refused(2, why);
    }
    place.work(&["jobs", "retry", &JobId::new().to_string()]).refused(3, "");
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().out, "");
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_no_utf_8_is_2_and_shown_without_what_a_terminal_obeys() {
    use std::os::unix::ffi::OsStrExt;
    let Some(place) = Place::new() else { return };
    for call in [&["jobs", "show"][..], &["jobs", "list", "--queue"], &["jobs", "enqueue"]] {
        let mut command = place.command(call);
        command.arg(std::ffi::OsStr::from_bytes(b"\xff\x1b[31m"));
        let said = said(command).refused(2, "");
        assert!(!said.err.contains('\u{1b}') && !said.err.contains("panicked"), "{said:?}");
    }
    let said = place.work(&["jobs", "show", "\u{1b}[31m\u{202e}"]).refused(2, "");
    assert!(!said.err.contains("\u{1b}[31m\u{202e}"), "{said:?}");
}

#[test]
fn help_and_completions_need_no_store() {
    let Some(place) = Place::without_store() else { return };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.work(&["completions", shell]).ok().out;
        assert!(script.contains("run-now") && script.contains("schedules"), "{shell}");
    }
    let help = place.work(&["--help"]).ok().out;
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    assert!(place.work(&["--version"]).ok().out.starts_with("work 0."));
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_those_who_ask() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "x").await;
    let coloured = |args: &[&str], vars: &[(&str, &str)]| {
        let mut command = place.command(args);
        command.envs(vars.iter().copied());
        said(command).ok().out.contains("\x1b[")
    };
    for args in [&["jobs", "list"][..], &["queues", "list"], &["doctor"]] {
        assert!(!coloured(args, &[]), "{args:?} in a pipe");
        assert!(coloured(args, &[("CLICOLOR_FORCE", "1")]), "{args:?} forced");
        assert!(!coloured(args, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), "{args:?} NO_COLOR");
        assert!(coloured(&[args, &["--color", "always"]].concat(), &[("NO_COLOR", "1")]), "{args:?} always");
        assert!(!coloured(&[args, &["--color", "never"]].concat(), &[("CLICOLOR_FORCE", "1")]), "{args:?} never");
        assert!(!coloured(&[args, &["--json"]].concat(), &[("CLICOLOR_FORCE", "1")]), "{args:?} JSON");
    }
}

#[test]
fn quiet_leaves_answers_and_errors() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.work(&["jobs", "list", "-q"]).ok().err, "");
    let unknown = JobId::new().to_string();
    place.work(&["jobs", "show", "-q", &unknown]).refused(3, "no job has the id");
}
