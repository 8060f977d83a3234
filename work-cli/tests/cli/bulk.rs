//! Filters, and what is done with all that meet one.

use serde_json::{Value, json};
use work_core::Job;

use crate::place::{Place, Said};

async fn filled() -> Option<Place> {
    let place = Place::new()?;
    place.dead_letter("mail", "Connection TIMED out").await;
    place.dead_letter("fax", "no paper").await;
    let old = Job::new("old", json!({ "user": { "id": "7" }, "zip": "01234" })).tag("eu").tag("vip");
    place.insert(vec![old, Job::new("other", ()).tag("eu").queue("mail")]).await;
    Some(place)
}

fn kinds(said: &Said) -> Vec<String> {
    said.json()
        .iter()
        .map(|job| format!("{}/{}", job["queue"].as_str().unwrap(), job["kind"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn every_filter_finds_the_jobs_that_it_means() {
    let Some(place) = filled().await else { return };
    let id = place.work(&["jobs", "list", "--json", "--kind", "old"]).json()[0]["id"].as_str().unwrap().to_owned();
    for (filter, found) in [
        (vec![], vec!["mail/other", "default/old", "fax/mail", "mail/mail"]),
        (vec!["--oldest"], vec!["mail/mail", "fax/mail", "default/old", "mail/other"]),
        (vec!["--limit", "1"], vec!["mail/other"]),
        (vec!["--state", "discarded"], vec!["fax/mail", "mail/mail"]),
        (vec!["--state", "discarded,available", "--queue", "mail"], vec!["mail/other", "mail/mail"]),
        (vec!["--queue", "fax", "--queue", "default"], vec!["default/old", "fax/mail"]),
        (vec!["--kind", "old"], vec!["default/old"]),
        (vec!["--tag", "eu"], vec!["mail/other", "default/old"]),
        (vec!["--tag", "eu", "--tag", "vip"], vec!["default/old"]),
        (vec!["--id", &id], vec!["default/old"]),
        (vec!["--error", "timed OUT"], vec!["mail/mail"]),
        (vec!["--arg", "user.id=7"], vec!["fax/mail", "mail/mail"]),
        (vec!["--arg", "user.id=\"7\""], vec!["default/old"]),
        (vec!["--arg", "zip=01234"], vec!["default/old"]),
        (vec!["--arg", "user.name=Ann", "--queue", "fax"], vec!["fax/mail"]),
        (vec!["--since", "1h", "--until", "2100-01-01", "--kind", "old"], vec!["default/old"]),
        (vec!["--until", "1h"], vec![]),
    ] {
        let said = place.work(&[&["jobs", "list", "--json"], &filter[..]].concat()).ok();
        assert_eq!(kinds(&said), found, "{filter:?}");
    }
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused_and_what_is_accepted_is_named() {
    let Some(place) = filled().await else { return };
    for (filter, why) in [
        (vec!["--state", "discarde"], "a similar value exists: 'discarded'"),
        (vec!["--state", "dead"], "available, running, completed, discarded, cancelled"),
        (vec!["--queue", "a b"], "invalid queue name"),
        (vec!["--kind", ""], "invalid kind name"),
        (vec!["--tag", "'; DROP TABLE jobs"], "invalid tag name"),
        (vec!["--id", "12"], "36 characters"),
        (vec!["--since", "90"], "90s, 2h"),
        (vec!["--until", "21.11.2026"], "2026-11-21T09:30:00Z"),
        (vec!["--since", "1h", "--until", "2h"], "exchange them"),
        (vec!["--arg", "user.id"], "path=value"),
        (vec!["--arg", "a..b=1"], "path=value"),
        (vec!["--colour", "red"], "unexpected argument"),
    ] {
        for verb in ["list", "retry", "cancel", "delete", "run-now"] {
            place.work(&[&["jobs", verb], &filter[..]].concat()).refused(2, why);
        }
    }
    place.work(&["jobs", "list", "--limit", "0"]).refused(2, "--limit");
    place.work(&["jobs", "list", "--limit", "1", "--all"]).refused(2, "cannot be used with");
    assert_eq!(place.work(&["jobs", "list", "--json"]).json().len(), 4);
}

#[tokio::test]
async fn a_bulk_change_without_yes_and_without_a_terminal_does_nothing_and_says_how_many_it_would_change() {
    let Some(place) = filled().await else { return };
    let before = place.work(&["jobs", "list", "--json"]).out;
    for (verb, what) in [
        ("retry", "retry 2 jobs (2 discarded)"),
        ("cancel", "cancel 2 jobs (2 available)"),
        ("delete", "delete 4 jobs (2 available, 2 discarded)"),
        ("run-now", "run now 2 jobs (2 available)"),
    ] {
        place.work(&["jobs", verb, "--all"]).refused(2, what).refused(2, "--yes");
        place.work(&["jobs", verb]).refused(2, "or --all");
        place.work(&["jobs", verb, "--all", "--kind", "mail"]).refused(2, "either");
        let dry = place.work(&["jobs", verb, "--all", "--dry-run"]).ok();
        assert_eq!(dry.out, format!("would {what}\n"));
    }
    place.work(&["prune", "--discarded", "0s"]).refused(2, "forget 2 jobs");
    assert_eq!(place.work(&["jobs", "list", "--json"]).out, before);
}

#[tokio::test]
async fn a_bulk_change_changes_what_matches_and_nothing_else() {
    let Some(place) = filled().await else { return };
    let changed = |args: &[&str]| place.work(&[&["jobs", "--json"], args].concat()).ok().json().remove(0);
    let answer = |action: &str, matched: u64| json!({ "action": action, "matched": matched, "changed": matched, "dry_run": false });
    assert_eq!(changed(&["retry", "--error", "timed out", "--yes"]), answer("retry", 1));
    assert_eq!(changed(&["cancel", "--tag", "eu", "-y"]), answer("cancel", 2));
    assert_eq!(changed(&["delete", "--queue", "fax", "--yes"]), answer("delete", 1));
    assert_eq!(changed(&["run-now", "--kind", "mail", "--yes"]), answer("run now", 1));
    assert_eq!(changed(&["retry", "--queue", "nowhere"])["matched"], 0);
    place.work(&["jobs", "retry", "--state", "completed", "--yes"]).refused(2, "no job in such a state");
    let states: Vec<Value> =
        place.work(&["jobs", "list", "--json"]).json().iter().map(|job| job["state"].clone()).collect();
    assert_eq!(states, ["cancelled", "cancelled", "available"]);
    place.work(&["jobs", "delete", "--all", "--yes"]).ok();
    assert_eq!(place.work(&["jobs", "list"]).ok().err, "No job matches.\n");
}

#[tokio::test]
async fn prune_forgets_what_is_older_than_it_is_to_be_kept() {
    let Some(place) = filled().await else { return };
    assert_eq!(place.work(&["prune"]).ok().out, "no job is that old: nothing to do\n");
    let dry = place.work(&["prune", "--discarded", "0s", "--dry-run"]).ok();
    assert_eq!(dry.out, "would forget 2 jobs (0 completed, 2 discarded, 0 cancelled)\n");
    let done = place.work(&["prune", "--discarded", "0s", "--yes", "--json"]).ok().json();
    assert_eq!(done, [json!({ "matched": 2, "forgotten": 2, "dry_run": false })]);
    place.work(&["prune", "--completed", "forever"]).refused(2, "90s, 2h");
    assert_eq!(place.work(&["jobs", "list", "--json"]).json().len(), 2);
}
