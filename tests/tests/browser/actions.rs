//! What people do, by pressing what they see, on both kinds of store.

use work_core::JobState;
use work_core::store::JobFilter;

use crate::fill::{Filled, fill};
use crate::flow::{RUN, flow};
use crate::site::{Kind, Site};
use crate::tab::Tab;

/// A filled site, and a tab of this width.
pub(crate) fn ready(kind: Kind, width: u32) -> Option<(Site, Tab, Filled)> {
    let site = Site::open(kind)?;
    let mut tab = Tab::open(&site.origin)?;
    let filled = site.wait(fill(&*site.store, &site.clock));
    tab.resize(width);
    Some((site, tab, filled))
}

fn count(site: &Site, filter: JobFilter) -> u64 {
    site.wait(site.store.counts(filter)).unwrap().total()
}

fn dead() -> JobFilter {
    JobFilter::all().state(JobState::Discarded)
}

/// The page says so, and nothing went wrong on the way.
fn noticed(tab: &mut Tab, text: &str) {
    assert_eq!(tab.text(".notice"), text, "{}", tab.text("main"));
    assert_eq!(tab.status, 200);
    tab.check(text);
}

fn with_one_job(site: &Site, tab: &mut Tab, filled: Filled) {
    tab.goto(&format!("/jobs/{}", filled.declined));
    tab.press("Retry");
    noticed(tab, "The job will be tried again.");
    assert_eq!(site.state(filled.declined), Some(JobState::Available));

    tab.goto(&format!("/jobs/{}", filled.later));
    tab.press("Run now");
    noticed(tab, "The job is due now.");
    let due = site.wait(site.store.get(filled.later)).unwrap().unwrap().job.parts.scheduled_at;
    assert!(due.is_none_or(|at| at <= site.clock.now()), "{due:?}");
    tab.press("Cancel");
    noticed(tab, "The job is cancelled, or was asked to stop.");
    assert_eq!(site.state(filled.later), Some(JobState::Cancelled));
    tab.press("Delete");
    noticed(tab, "The job is deleted.");
    assert_eq!(site.state(filled.later), None);

    tab.goto(&format!("/jobs/{}", filled.running));
    tab.press("Cancel");
    noticed(tab, "The job is cancelled, or was asked to stop.");
    assert!(tab.text("main").contains("asked to stop"));
}

fn with_other_args(site: &Site, tab: &mut Tab, filled: Filled) {
    tab.goto(&format!("/jobs/{}", filled.timed_out));
    tab.press("Edit and retry");
    tab.write("#args", "{ broken");
    tab.press("Save and retry");
    assert_eq!(tab.status, 400);
    tab.forgive("status of 400");
    assert!(tab.text("main").contains("The arguments are no JSON"), "{}", tab.text("main"));
    assert_eq!(site.state(filled.timed_out), Some(JobState::Discarded));
    tab.goto(&format!("/jobs/{}/edit", filled.timed_out));
    tab.write("#args", "{\"customer\": \"new@example.org\"}");
    tab.press("Save and retry");
    noticed(tab, "The arguments are changed, and the job will be tried again.");
    let job = site.wait(site.store.get(filled.timed_out)).unwrap().unwrap();
    assert_eq!((job.state, &job.job.args[..]), (JobState::Available, &br#"{"customer": "new@example.org"}"#[..]));
}

fn with_some(site: &Site, tab: &mut Tab) {
    let before = count(site, dead());
    for (verb, times) in [("Retry", 2), ("Delete", 1)] {
        tab.goto("/jobs?state=discarded&kind=charge_card");
        for row in 1..=times {
            let row = format!("tbody tr:nth-child({row})");
            let name = tab.eval(&format!("document.querySelector('{row} input').getAttribute('aria-label')"));
            tab.press_in(&row, name.as_str().unwrap());
        }
        let jobs = if times == 1 { "1 job".to_owned() } else { format!("{times} jobs") };
        tab.press(&format!("{verb}…"));
        assert_eq!(tab.text("h1"), format!("{verb} {jobs}?"));
        tab.press(&format!("{verb} {jobs}"));
        noticed(tab, &format!("{jobs} changed."));
    }
    assert_eq!(count(site, dead()), before - 3);
    // All on the page, by one box.
    tab.goto("/jobs?state=cancelled");
    let shown = tab.eval("document.querySelectorAll('tbody tr').length").as_u64().unwrap();
    tab.press_in("#selection", "Select all on this page");
    tab.press("Delete…");
    tab.press(&format!("Delete {shown} jobs"));
    noticed(tab, &format!("{shown} jobs changed."));
    assert_eq!(count(site, JobFilter::all().state(JobState::Cancelled)), 0);
}

/// Whether the page shows them or not.
fn with_all_that_match(site: &Site, tab: &mut Tab) {
    let available = JobFilter::all().state(JobState::Available);
    for (query, verb, filter) in [
        ("state=discarded&kind=send_mail", "Retry", dead().kind("send_mail")),
        ("state=available&kind=resize_image", "Cancel", available.kind("resize_image")),
        ("state=discarded&kind=charge_card", "Delete", dead().kind("charge_card")),
    ] {
        let meant = count(site, filter.clone());
        assert!(meant > 1, "{query}");
        tab.goto(&format!("/jobs?{query}"));
        tab.press(&format!("{verb} all…"));
        assert_eq!(tab.text("h1"), format!("{verb} {meant} jobs?"));
        tab.press(&format!("{verb} {meant} jobs"));
        noticed(tab, &format!("{meant} jobs changed."));
        assert_eq!(count(site, filter), 0, "{query}");
    }
    // Those with the same error; only one error is left.
    tab.goto("/dead");
    tab.press("Retry…");
    let left = count(site, dead());
    assert!(tab.text("h1").starts_with(&format!("Retry {left} job")), "{left}: {}", tab.text("h1"));
    tab.press("Back");
    tab.check("back");
}

fn with_queues_and_schedules(site: &Site, tab: &mut Tab) {
    tab.goto("/queues");
    let row = "tr:has(a[href='/jobs?queue=mail'])";
    let paused = || site.wait(site.store.queues()).unwrap().iter().any(|queue| queue.paused_at.is_some());
    tab.press_to_load(row, "Pause");
    noticed(tab, "Paused.");
    assert!(paused());
    tab.press_to_load(row, "Resume");
    noticed(tab, "At work again.");
    assert!(!paused());
    tab.goto("/schedules");
    let tile = "section:has(form[action^='/schedules/clean-up/'])";
    let of = || site.wait(site.store.schedules()).unwrap().into_iter().find(|one| one.name == "clean-up").unwrap();
    tab.press_to_load(tile, "Run now");
    noticed(tab, "A job of the schedule was made.");
    assert_eq!(count(site, JobFilter::all().kind("clean_up")), 1);
    tab.press_to_load(tile, "Pause");
    noticed(tab, "Paused.");
    assert!(of().paused_at.is_some());
    tab.press_to_load(tile, "Resume");
    noticed(tab, "At work again.");
    assert!(of().paused_at.is_none());
}

fn with_a_run_of_a_workflow(site: &Site, tab: &mut Tab) {
    site.wait(flow(std::sync::Arc::clone(&site.store), &site.clock));
    tab.goto("/workflows");
    tab.press("monday");
    assert!(tab.text(".crumbs").contains("orders"), "{}", tab.text("main"));
    tab.press("Pause");
    noticed(tab, "Paused.");
    assert!(tab.text("h1").contains("paused"));
    tab.press("Resume");
    noticed(tab, "At work again.");
    let failed = dead().queue("orders.monday.pack");
    let meant = count(site, failed.clone());
    assert!(meant > 1);
    tab.press("Retry failed…");
    tab.press(&format!("Retry {meant} jobs"));
    noticed(tab, &format!("{meant} jobs changed."));
    assert_eq!(count(site, failed), 0);
    tab.goto(RUN);
    tab.press_in("main", "End run…");
    tab.press("End it");
    noticed(tab, "The run has ended: what waited is cancelled, what runs is told to stop.");
    assert!(tab.text("h1").contains("ended"));
    assert_eq!(count(site, JobFilter::all().state(JobState::Available).queue("orders.monday.receive")), 0);
}

fn each_action(kind: Kind) {
    for width in [1280, 390] {
        let Some((site, mut tab, filled)) = ready(kind, width) else { return };
        with_one_job(&site, &mut tab, filled);
        with_other_args(&site, &mut tab, filled);
        with_some(&site, &mut tab);
        with_all_that_match(&site, &mut tab);
        with_queues_and_schedules(&site, &mut tab);
        with_a_run_of_a_workflow(&site, &mut tab);
        println!("{kind:?} at {width} px: {} pages, {} requests", tab.loads, tab.requests);
    }
}

#[test]
fn each_button_does_what_it_says_on_sqlite() {
    each_action(Kind::Sqlite);
}

#[test]
fn each_button_does_what_it_says_on_postgres() {
    each_action(Kind::Postgres);
}

fn without_script(kind: Kind) {
    let Some((site, mut tab, filled)) = ready(kind, 390) else { return };
    tab.without_script();
    tab.goto("/");
    assert!(tab.text("main").contains("Newest dead letters"));
    tab.press("Jobs");
    tab.press("Filter");
    tab.goto("/jobs?state=discarded");
    tab.goto(&format!("/jobs/{}", filled.declined));
    assert!(tab.text(".timeline").contains("UTC"), "times are those of UTC: {}", tab.text(".timeline"));
    assert!(!tab.text("header").contains("live"), "no script ran");
    tab.press("Retry");
    noticed(&mut tab, "The job will be tried again.");
    assert_eq!(site.state(filled.declined), Some(JobState::Available));
    tab.goto("/jobs?state=discarded&kind=send_mail");
    let meant = count(&site, dead().kind("send_mail"));
    tab.press("Retry all…");
    tab.press(&format!("Retry {meant} jobs"));
    noticed(&mut tab, &format!("{meant} jobs changed."));
}

#[test]
fn people_read_and_retry_without_script() {
    without_script(Kind::Sqlite);
    without_script(Kind::Postgres);
}
