//! What the command lists, what the API answers and what the page shows are the same jobs, after each action of each of them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use work_core::{Job, JobId};

use crate::dashboard::listening;
use crate::place::Place;

/// A job as all three have it: id, state, kind, queue, attempts.
type Line = [String; 5];

struct Three {
    place: Place,
    port: u16,
    child: std::process::Child,
}

impl Drop for Three {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Three {
    fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!([200, 303].contains(&status), "{method} {path}: {answer}");
        body.to_owned()
    }

    fn api(&self, method: &str, path: &str, body: &str) -> Value {
        serde_json::from_str(&self.send(method, path, "application/json", body)).unwrap()
    }

    /// Posts a form as the page would.
    fn form(&self, path: &str, fields: &str) {
        let page = self.send("GET", "/jobs/bulk?all=1&action=delete", "text/plain", "");
        let secret = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        self.send("POST", path, "application/x-www-form-urlencoded", &format!("csrf={secret}&{fields}"));
    }

    fn listed(&self, filter: &[&str]) -> Vec<Line> {
        let said = self.place.work(&[&["jobs", "list", "--json"], filter].concat()).ok();
        said.json().iter().map(line).collect()
    }

    fn answered(&self, query: &str) -> Vec<Line> {
        let answer = self.api("GET", &format!("/api/v1/jobs?limit=500&{query}"), "");
        assert_eq!(answer["next"], Value::Null);
        answer["jobs"].as_array().unwrap().iter().map(line).collect()
    }

    /// The rows of the page, from its links, labels and cells.
    fn shown(&self, query: &str) -> Vec<Line> {
        let page = self.send("GET", &format!("/jobs?limit=500&{query}"), "text/plain", "");
        let body = page.split("<tbody>").nth(1).map_or("", |body| body.split("</tbody>").next().unwrap());
        let part = |row: &str, from: &str, to: &str| {
            row.split(from).nth(1).unwrap_or_else(|| panic!("{row} lacks {from}")).split(to).next().unwrap().to_owned()
        };
        let row = |row: &str| {
            let label = part(row, "class=\"state ", "\"");
            let state =
                if ["scheduled", "retrying"].contains(&label.as_str()) { "available".to_owned() } else { label };
            let state = if state == "stopping" { "running".to_owned() } else { state };
            let kind = part(&part(row, "<td class=\"what\">", "</a>"), "\">", "<");
            let queue = part(row, "/jobs?queue=", "\"");
            [part(row, "href=\"/jobs/", "\""), state, kind, queue, part(row, "<td class=\"number\">", "<")]
        };
        body.split("<tr>").skip(1).map(row).collect()
    }

    fn agree(&self, after: &str) -> usize {
        let mut jobs = 0;
        for (filter, query) in [
            (&[][..], ""),
            (&["--state", "discarded"], "state=discarded"),
            (&["--state", "available,cancelled", "--queue", "mail"], "state=available&state=cancelled&queue=mail"),
            (&["--kind", "note", "--tag", "eu"], "kind=note&tag=eu"),
            (&["--error", "PAPER"], "error=PAPER"),
            (&["--arg", "n=3"], "arg=n=3"),
            (&["--since", "1h", "--oldest"], "created_from=1h&order=oldest"),
        ] {
            let (listed, answered, shown) = (self.listed(filter), self.answered(query), self.shown(query));
            assert_eq!(listed, answered, "command and API after {after}: {query}");
            assert_eq!(answered, shown, "API and page after {after}: {query}");
            jobs = jobs.max(listed.len());
        }
        // And one job, with its args and errors.
        for [id, ..] in self.listed(&["--state", "discarded"]) {
            let said = self.place.work(&["jobs", "show", "--json", &id]).ok().json().remove(0);
            let answer = self.api("GET", &format!("/api/v1/jobs/{id}"), "");
            assert_eq!((&said["args"], &said["priority"]), (&answer["args"]["value"], &answer["priority"]), "{after}");
            let errors =
                |job: &Value| job["attempts"].as_array().unwrap().iter().map(|one| one["error"].clone()).collect();
            let (command, api): (Vec<Value>, Vec<Value>) = (errors(&said), errors(&answer));
            assert_eq!(command, api, "{after}");
        }
        jobs
    }
}

fn line(job: &Value) -> Line {
    ["id", "state", "kind", "queue", "attempt"].map(|name| match &job[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

async fn three() -> Option<(Three, Vec<JobId>)> {
    let place = Place::new()?;
    let mut dead = Vec::new();
    for n in 0..4 {
        let job = Job::new("mail", json!({ "n": n })).queue(format!("dead{n}"));
        dead.push(place.dead(job, if n < 2 { "no paper" } else { "timed out" }).await);
    }
    let later = "2100-01-01T00:00:00Z".parse().unwrap();
    let note = |n: u32| Job::new("note", json!({ "n": n })).queue("mail").tag("eu");
    place.insert((0..6).map(note).collect()).await;
    place.insert(vec![note(7).scheduled_at(later), Job::new("alone", ()).queue("alone")]).await;
    let runs = place.insert(vec![Job::new("runs", ()).queue("runs")]).await[0];
    place.lease(runs).await;
    let (child, port) = listening(place.command(&["dashboard", "--port", "0", "--show-args"]));
    Some((Three { place, port, child }, dead))
}

#[tokio::test]
async fn command_api_and_page_agree_after_each_action_of_each_of_them() {
    let Some((three, dead)) = three().await else { return };
    let id = |n: usize| dead[n].to_string();
    assert_eq!(three.agree("nothing"), 13);
    let work = |args: &[&str]| drop(three.place.work(args).ok());
    work(&["jobs", "retry", &id(0)]);
    three.agree("a retry by the command");
    three.api("POST", &format!("/api/v1/jobs/{}/retry", id(1)), "");
    three.agree("a retry by the API");
    three.form(&format!("/jobs/{}/edit", id(2)), "args=%7B%22n%22%3A3%7D&then=retry");
    three.agree("an edit and a retry by the page");
    work(&["jobs", "edit", &id(3), "--args", r#"{"n":3,"text":"\u00e9"}"#]);
    three.agree("an edit by the command");
    three.api("PUT", &format!("/api/v1/jobs/{}/args", id(3)), r#"{"args":{"n":[1,2]}}"#);
    three.agree("an edit by the API");
    three.form(&format!("/jobs/{}/cancel", id(0)), "");
    three.agree("a cancellation by the page");
    work(&["jobs", "run-now", "--queue", "mail", "--yes"]);
    three.agree("all made due by the command");
    three.api("POST", "/api/v1/jobs/bulk?kind=note&tag=eu", r#"{"action":"cancel","expect":7}"#);
    three.agree("a bulk cancellation by the API");
    three.form("/jobs/bulk", "state=cancelled&queue=mail&action=retry&max=3");
    three.agree("a bulk retry by the page");
    work(&["jobs", "cancel", "--kind", "runs", "--yes"]);
    three.agree("one that runs was asked to stop");
    work(&["jobs", "enqueue", "note", "--args", "{\"n\":3}", "--queue", "mail", "--tag", "eu"]);
    assert_eq!(three.agree("another job"), 14);
    three.api("DELETE", &format!("/api/v1/jobs/{}", id(3)), "");
    assert_eq!(three.agree("a deletion by the API"), 13);
    work(&["jobs", "delete", "--state", "cancelled", "--yes"]);
    three.agree("a bulk deletion by the command");
    work(&["queues", "pause", "mail"]);
    let paused = |queues: &[Value]| queues.iter().find(|one| one["queue"] == "mail").unwrap()["paused_at"].is_string();
    assert!(paused(three.api("GET", "/api/v1/queues", "")["queues"].as_array().unwrap()));
    three.form("/queues/mail/resume", "");
    assert!(!paused(&three.place.work(&["queues", "list", "--json"]).ok().json()));
    work(&["jobs", "delete", "--all", "--yes"]);
    assert_eq!(three.agree("all that do not run are gone"), 1);
}
