//! On a terminal, which `script` of util-linux makes.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::place::Place;

/// What is seen on a terminal in which the command runs, with these keys pressed. `None` if there is no `script` here.
fn seen(place: &Place, call: &str, keys: &str) -> Option<(i32, String)> {
    let line = format!("stty cols 120; {} {call}", env!("CARGO_BIN_EXE_work"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("WORK_STORE", place.url());
    command.env_remove("NO_COLOR").env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("left out: there is no `script` on this machine");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    for key in keys.split_inclusive(['\n', '\x03']) {
        // When the command has begun: a key that comes earlier is the shell's.
        std::thread::sleep(Duration::from_millis(1_500));
        stdin.write_all(key.as_bytes()).unwrap();
    }
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    drop(stdin);
    Some((child.wait().unwrap().code().unwrap(), text))
}

#[tokio::test]
async fn a_bulk_change_is_asked_for_and_done_only_after_a_yes() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "x").await;
    let Some((code, text)) = seen(&place, "jobs delete --all", "n\n") else { return };
    assert!(text.contains("This will delete 1 job (1 discarded). Go on? [y/N]"), "{text}");
    assert!(text.contains("nothing was done"), "{text}");
    assert_eq!((code, place.work(&["jobs", "list", "--json"]).json().len()), (1, 1));
    let Some((code, text)) = seen(&place, "jobs delete --all", "y\n") else { return };
    assert!(text.contains("1 job deleted"), "{text}");
    assert_eq!((code, place.work(&["jobs", "list", "--json"]).json().len()), (0, 0));
}

#[tokio::test]
async fn top_goes_on_until_ctrl_c_and_tables_have_colours() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "x").await;
    let Some((code, text)) = seen(&place, "top --every 100ms", "\x03") else { return };
    assert!(text.matches("Ctrl-C ends").count() > 2, "{text}");
    assert!(text.contains("completed a second"), "{text}");
    assert_eq!(code, 130, "{text}");
    let Some((code, text)) = seen(&place, "jobs list", "") else { return };
    assert!(code == 0 && text.contains("\x1b["), "{text}");
}
