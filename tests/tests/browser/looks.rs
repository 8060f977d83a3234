//! Every page in both schemes and both widths: nothing goes wrong, nobody is shut out, nothing sticks out.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;

use crate::fill::{Filled, fill};
use crate::flow::{RUN, flow};
use crate::site::{Kind, Site};
use crate::tab::Tab;

/// The file of axe-core, which finds what shuts people out.
const AXE: &str = "WORK_TEST_AXE";

/// Set to renew the pictures of the documentation.
const IMAGES: &str = "WORK_TEST_IMAGES";

fn axe() -> Option<&'static str> {
    static SCRIPT: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::env::var_os(AXE).map(|path| std::fs::read_to_string(path).unwrap());
    SCRIPT.get_or_init(read).as_deref()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Pages of a route, with a name for each picture.
fn pages(path: &str, filled: Filled) -> Vec<(&'static str, String)> {
    let job = |id| format!("/jobs/{id}");
    match path {
        "/" => vec![("overview", path.into())],
        "/jobs" => vec![
            ("jobs", path.into()),
            ("jobs-filtered", "/jobs?state=discarded&tag=eu&created_from=2h&limit=10".into()),
            ("jobs-none", "/jobs?kind=nothing".into()),
        ],
        "/jobs/bulk" => vec![
            ("bulk", "/jobs/bulk?state=discarded&kind=send_mail&action=retry".into()),
            ("bulk-delete", "/jobs/bulk?all=1&action=delete".into()),
        ],
        "/jobs/{id}" => vec![
            ("job-dead", job(filled.timed_out)),
            ("job-running", job(filled.running)),
            ("job-completed", job(filled.completed)),
            ("job-retrying", job(filled.retrying)),
            ("job-later", format!("{}?done=edit", job(filled.later))),
        ],
        "/jobs/{id}/edit" => vec![("edit", format!("{}/edit", job(filled.declined)))],
        "/login" => Vec::new(),
        "/queues" => vec![("queues", path.into())],
        "/schedules" => vec![("schedules", path.into())],
        "/workers" => vec![("workers", path.into())],
        "/workflows" => vec![("workflows", path.into())],
        "/workflows/{run}" => vec![("workflow", RUN.into()), ("workflow-paused", "/workflows/orders.tuesday".into())],
        "/dead" => vec![("dead", path.into())],
        _ => panic!("{path} is a page that no test goes to"),
    }
}

/// Every address of a page, from the table of routes.
fn all_pages(filled: Filled) -> Vec<(&'static str, String)> {
    let no_page = ["/api/", "/assets/", "/events", "/livez", "/readyz", "/metrics"];
    let routes = work_dashboard::routes()
        .filter(|(method, path, _)| *method == "GET" && !no_page.iter().any(|start| path.starts_with(start)));
    routes.flat_map(|(_, path, _)| pages(path, filled)).collect()
}

/// What is true of a good page, and a picture of it.
pub(crate) fn look(tab: &mut Tab, name: &str) {
    tab.check(name);
    let wide = tab.eval("document.documentElement.scrollWidth - innerWidth");
    assert!(wide.as_i64() <= Some(0), "{name} is {wide} px too wide");
    let headings = tab.eval("document.querySelectorAll('h1').length");
    assert_eq!(headings, 1, "{name} has one heading");
    if let Some(axe) = axe() {
        tab.eval(&format!("{axe}; true"));
        let found = tab.eval(
            "axe.run(document, { resultTypes: ['violations'] }).then((all) => all.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 200) + node.failureSummary).join('; ')))",
        );
        assert_eq!(found, json!([]), "{name}");
    }
    tab.picture(&root().join(format!("target/browser/{name}.png")), true);
}

#[test]
fn every_page_is_sound_in_light_and_dark_and_on_a_phone() {
    let Some(site) = Site::open(Kind::Sqlite) else { return };
    let Some(mut tab) = Tab::open(&site.origin) else { return };
    let filled = site.wait(fill(&*site.store, &site.clock));
    site.wait(site.store.pause("reports".into())).unwrap();
    site.wait(flow(std::sync::Arc::clone(&site.store), &site.clock));
    let pages = all_pages(filled);
    let mut count = 0;
    for width in [1280, 390] {
        tab.resize(width);
        for scheme in ["light", "dark"] {
            tab.prefer(scheme);
            for (name, path) in &pages {
                tab.goto(path);
                assert_eq!(tab.status, 200, "{path}");
                look(&mut tab, &format!("{name}-{width}-{scheme}"));
                count += 1;
            }
        }
    }
    println!("{count} looks at {} pages, {} requests", pages.len(), tab.requests);
    if std::env::var_os(IMAGES).is_some() {
        images(&mut tab, filled);
    }
}

/// The pictures of the documentation.
fn images(tab: &mut Tab, filled: Filled) {
    for (name, path, width, scheme) in [
        ("overview", "/".to_owned(), 1280, "light"),
        ("overview-dark", "/".to_owned(), 1280, "dark"),
        ("jobs", "/jobs?state=discarded".to_owned(), 1280, "light"),
        ("job", format!("/jobs/{}", filled.timed_out), 1280, "light"),
        ("dead", "/dead".to_owned(), 1280, "light"),
        ("workflow", RUN.to_owned(), 1280, "light"),
        ("phone", "/jobs".to_owned(), 390, "light"),
    ] {
        tab.resize(width);
        tab.prefer(scheme);
        tab.goto(&path);
        tab.picture(&root().join(format!("docs/images/dashboard-{name}.png")), false);
    }
}

#[test]
fn empty_pages_and_refusals_are_sound_too() {
    let Some(site) = Site::open(Kind::Sqlite) else { return };
    let Some(mut tab) = Tab::open(&site.origin) else { return };
    for width in [1280, 390] {
        tab.resize(width);
        for path in
            ["/", "/jobs", "/queues", "/schedules", "/workers", "/workflows", "/dead", "/nothing", "/jobs?state=flying"]
        {
            tab.goto(path);
            let status = if path == "/nothing" {
                404
            } else if path.ends_with("flying") {
                400
            } else {
                200
            };
            assert_eq!(tab.status, status, "{path}");
            if status != 200 {
                tab.forgive("Failed to load resource");
            }
            let name = path.trim_matches('/').replace(|sign: char| !sign.is_alphanumeric(), "-");
            look(&mut tab, &format!("empty-{name}-{width}"));
        }
    }
}
