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
