//! `work dashboard`: where it listens, for whom, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Place, said};

/// A dashboard that listens, and its port.
pub(crate) fn listening(mut command: Command) -> (Child, u16) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let port = url.trim().rsplit(':').next().unwrap().parse();
    (child, port.unwrap_or_else(|_| panic!("{url:?} has no port")))
}

fn get(port: u16, path: &str, token: Option<&str>) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{token}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn it_shows_the_store_and_stops_gracefully_when_told_to() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "no paper").await;
    for signal in ["-TERM", "-INT"] {
        let (mut child, port) = listening(place.command(&["dashboard", "--port", "0"]));
        let page = get(port, "/jobs", None);
        assert!(status(&page) == "200" && page.contains("no paper"), "{page}");
        // A page that is kept up to date holds up nobody.
        let mut live = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(live, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n").unwrap();
        live.read_exact(&mut [0; 8]).unwrap();
        let start = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(20));
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(told.contains("until Ctrl-C") && told.contains("stopped"), "{told}");
    }
}

#[tokio::test]
async fn its_address_is_this_machine_unless_there_is_a_token() {
    let Some(place) = Place::new() else { return };
    place.work(&["dashboard", "--port", "0", "--address", "0.0.0.0"]).refused(2, "give a token by --token");
    place.work(&["dashboard", "--port", "0", "--address", "::"]).refused(2, "give a token by --token");
    place.work(&["dashboard", "--address", "example.org"]).refused(2, "--address");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    place.work(&["dashboard", "--port", &port]).refused(1, "is in use by another program");
    let mut command = place.command(&["dashboard", "--port", "0", "--address", "0.0.0.0"]);
    command.env("WORK_DASHBOARD_TOKEN", "a-token-of-the-environment");
    let (mut child, port) = listening(command);
    assert_eq!(status(&get(port, "/api/v1/jobs", None)), "401");
    assert_eq!(status(&get(port, "/api/v1/jobs", Some("a-token-of-the-environment"))), "200");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn tokens_come_from_files_too_and_one_that_is_none_is_refused() {
    let Some(place) = Place::new() else { return };
    let file = |name: &str, text: &str| {
        let path = place.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (full, reading) = (file("full", "the-token-for-acting\n"), file("reading", "the-token-for-looking\n"));
    let (short, empty) = (file("short", "1234"), file("empty", "\n"));
    let args = ["dashboard", "--port", "0", "--token", &full, "--read-only-token", &reading];
    let (mut child, port) = listening(place.command(&args));
    assert_eq!(status(&get(port, "/jobs", Some("wrong"))), "401");
    assert_eq!(status(&get(port, "/jobs", Some("the-token-for-looking"))), "200");
    assert_eq!(status(&get(port, "/jobs", Some("the-token-for-acting"))), "200");
    child.kill().unwrap();
    child.wait().unwrap();
    place.work(&["dashboard", "--token", &short]).refused(2, "use at least 16");
    place.work(&["dashboard", "--token", &empty]).refused(2, "is empty");
    place.work(&["dashboard", "--token", &full, "--read-only-token", &full]).refused(2, "are the same");
    let typed = place.work(&["dashboard", "--token", "my-secret-token-itself"]).refused(2, "give a file");
    assert!(!typed.err.contains("my-secret-token-itself"), "{typed:?}");
    let mut command = place.command(&["dashboard"]);
    command.env("WORK_DASHBOARD_TOKEN", "");
    said(command).refused(2, "is empty");
    place.work(&["dashboard", "--host", "http://a"]).refused(2, "is no name of a host");
}
