//! What moves while a page is open, what keys do, who gets in, and what strangers write.

use serde_json::json;
use work_core::store::{Inspect, Settle, Settlement};
use work_core::{Job, Status};

use crate::actions::ready;
use crate::fill::{kept, lease};
use crate::site::{Kind, Site};
use crate::tab::Tab;

fn arrives(kind: Kind) {
    let Some((site, mut tab, filled)) = ready(kind, 1280) else { return };
    let number = |state: &str| format!("document.querySelector('.stat.{state} strong').innerText");
    tab.goto("/");
    tab.until("document.querySelector('#live').innerText === 'live'");
    let before: u64 = tab.eval(&number("available")).as_str().unwrap().parse().unwrap();
    let loads = tab.loads;
    site.wait(site.store.insert((0..3).map(|n| kept(Job::new("new", json!(n)))).collect())).unwrap();
    tab.until(&format!("{} === '{}'", number("available"), before + 3));
    assert_eq!(tab.loads, loads, "the page was not loaded again");

    tab.goto("/jobs?kind=new");
    tab.until("document.querySelector('#live').innerText === 'live'");
    site.wait(site.store.insert(vec![kept(Job::new("new", json!(4)))])).unwrap();
    tab.until("document.querySelectorAll('tbody tr').length === 4");

    // A job that runs gets on, and ends.
    tab.goto(&format!("/jobs/{}", filled.running));
    tab.until("document.querySelector('#live').innerText === 'live'");
    let key = lease_of(&site, filled.running);
    site.wait(site.store.set_progress(vec![(key, 0.9)])).unwrap();
    tab.until("document.querySelector('.progress')?.innerText.includes('90 %') ?? false");
    let (status, settlement) = (Status::SUCCESS, Settlement::Complete { output: None });
    let done = Settle { key, status, settlement, error: None, then: Vec::new() };
    site.wait(site.store.settle(vec![done])).unwrap();
    tab.until("document.querySelector('h1 .state').innerText === 'completed'");
    tab.check("live");
}

fn lease_of(site: &Site, id: work_core::JobId) -> work_core::store::LeaseKey {
    // Its lease has ended, so it is leased again.
    site.clock.advance(std::time::Duration::from_secs(40));
    site.wait(site.store.rescue(100, 5)).unwrap();
    site.wait(lease(&*site.store, 1000)).into_iter().find(|lease| lease.key.id == id).unwrap().key
}

#[test]
fn an_open_page_follows_the_store() {
    arrives(Kind::Sqlite);
    arrives(Kind::Postgres);
}

/// What has the focus: its tag, and its name.
const FOCUS: &str = "(() => { const one = document.activeElement;
    return one.tagName + ' ' + (one.name || one.getAttribute('aria-label') || one.innerText || '').trim().split('\\n')[0]; })()";

/// True if people see where the focus is.
const SEEN: &str = "(() => { const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
        && box.width > 0 && box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight; })()";

#[test]
fn the_filter_is_used_by_keys_alone() {
    let Some((_site, mut tab, _)) = ready(Kind::Sqlite, 1280) else { return };
    tab.goto("/jobs");
    let mut order = Vec::new();
    for _ in 0..30 {
        tab.key("Tab");
        let place = tab.eval(FOCUS).as_str().unwrap().to_owned();
        assert_eq!(tab.eval(SEEN), true, "the focus is not seen on {place}");
        order.push(place);
    }
    let place = |name: &str| order.iter().position(|one| one == name).unwrap_or_else(|| panic!("{name}: {order:?}"));
    let wanted = [
        "A Skip to content",
        "A Overview",
        "A Workers",
        "A All",
        "INPUT kind",
        "INPUT queue",
        "INPUT error",
        "SUMMARY More filters",
        "BUTTON Filter",
        "A Clear",
        "INPUT Select all on this page",
        "INPUT id",
    ];
    let places: Vec<_> = wanted.iter().map(|name| place(name)).collect();
    assert!(places.is_sorted(), "{order:?}");

    // Past the navigation.
    tab.goto("/jobs");
    tab.key("Tab");
    tab.key("Enter");
    assert_eq!(tab.eval("document.activeElement.id"), "content");
    // To the search, which is filled in and sent.
    tab.key("/");
    assert_eq!(tab.eval("document.activeElement.name"), "kind");
    tab.call("Input.insertText", json!({ "text": "charge_card" }));
    tab.enter();
    assert!(tab.eval("location.search").as_str().unwrap().contains("kind=charge_card"));
    assert_eq!(
        tab.eval(
            "[...document.querySelectorAll('.what > a:first-child')].every((one) => one.innerText === 'charge_card')"
        ),
        true
    );
    // More fields, by keys too.
    tab.eval("document.querySelector('summary').focus()");
    tab.key("Enter");
    tab.until("document.querySelector('.search details').open");
    tab.key("Tab");
    assert_eq!(tab.eval("document.activeElement.name"), "tag");
    tab.check("keys");
}

const TOKEN: &str = "the-full-token-of-this-test";
const READER: &str = "the-token-that-may-look";

#[test]
fn people_log_in_look_act_and_leave() {
    let set = |builder: work_dashboard::DashboardBuilder| builder.token(TOKEN).read_only_token(READER);
    let Some(site) = Site::with(Kind::Sqlite, set) else { return };
    let Some(mut tab) = Tab::open(&site.origin) else { return };
    let filled = site.wait(crate::fill::fill(&*site.store, &site.clock));
    for (token, acts) in [(READER, false), (TOKEN, true)] {
        let path = format!("/jobs/{}", filled.declined);
        tab.goto(&path);
        assert_eq!(tab.status, 401);
        tab.forgive("status of 401");
        for scheme in ["light", "dark"] {
            tab.prefer(scheme);
            crate::looks::look(&mut tab, &format!("login-{scheme}"));
        }
        tab.write("#token", "a-wrong-token-of-somebody");
        tab.enter();
        tab.forgive("status of 401");
        assert_eq!(tab.text("[role=alert]"), "This token is not right.");
        tab.write("#token", token);
        tab.enter();
        assert_eq!(tab.eval("location.pathname"), "/", "a token that was wrong first leads to the overview");
        tab.goto(&path);
        let buttons = tab.text("main").contains("Edit and retry");
        assert_eq!(buttons, acts, "only who may act sees buttons");
        assert!(tab.text("main").contains("Hidden."), "args are hidden unless the program shows them");
        assert_eq!(tab.eval("document.cookie"), "", "no script reads the session");
        tab.press("Log out");
        tab.forgive("status of 401");
        assert!(tab.text("main").contains("asks for a token"));
        tab.check("log in");
    }
}

/// Marks that would run or break out, if a page took them for its own.
const STRANGE: [&str; 12] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"><svg onload=alert(3)>",
    "' autofocus onfocus='alert(4)",
    "\" onmouseover=\"alert(5)",
    "javascript:alert(6)",
    "</textarea><script>alert(7)</script>",
    "</title><script>alert(8)</script>",
    "</style><iframe src=//evil.example>",
    "{{constructor.constructor('alert(9)')()}}",
    "<a href=//evil.example/?",
    "\u{202e}<base href=//evil.example/>&lt;script&gt;",
];

#[test]
fn what_strangers_write_is_text_on_every_page() {
    let Some(site) = Site::open(Kind::Memory) else { return };
    let Some(mut tab) = Tab::open(&site.origin) else { return };
    let mut ids = Vec::new();
    for text in STRANGE {
        // Names that stores refuse now; a program of another version may have written them.
        let mut job = kept(Job::new("k", json!({ text: text })).header("h", text));
        job.parts.kind = text.to_owned().into();
        job.parts.queue = text.to_owned().into();
        job.parts.tags = [text.to_owned()].into();
        ids.push((job.parts.id, text));
        let queue = job.parts.queue.clone();
        site.wait(fail(&*site.store, job, queue, text));
        let mut worker = work_core::store::WorkerInfo::new(text);
        (worker.host, worker.version, worker.queues) = (text.into(), text.into(), vec![text.to_owned().into()]);
        site.wait(site.store.beat(worker)).unwrap();
        let schedule = work_core::Schedule::cron("30 2 * * *", "UTC").unwrap();
        let stored = work_core::store::StoredSchedule::of(text, kept(Job::new("k", json!({}))), &schedule);
        site.wait(site.store.put_schedule(stored)).unwrap();
    }
    let mut paths: Vec<String> = ["/", "/jobs", "/queues", "/schedules", "/workers", "/dead"].map(Into::into).into();
    for (id, text) in &ids {
        let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        paths.extend([
            format!("/jobs/{id}"),
            format!("/jobs/{id}/edit"),
            format!("/jobs?kind={text}&error={text}&tag={text}"),
        ]);
    }
    for path in &paths {
        tab.goto(path);
        assert_eq!(tab.status, 200, "{path}");
        tab.check(path);
        let foreign = "document.querySelectorAll('main script, main iframe, main img, main base, main svg:not(.chart), [onload], [onerror], [onfocus], [onmouseover]').length";
        assert_eq!(tab.eval(foreign), 0, "{path}");
        let links = "[...document.links].filter((one) => one.origin !== location.origin).length";
        assert_eq!(tab.eval(links), 0, "{path}");
    }
    println!("{} texts on {} pages", STRANGE.len(), paths.len());
    // Links to such names lead to them.
    tab.goto("/queues");
    tab.press_to_load("tbody", STRANGE[0]);
    assert_eq!(tab.eval("document.querySelectorAll('tbody tr').length"), 1);
    tab.check("a queue");
}

async fn fail(store: &dyn Inspect, job: work_core::store::NewJob, queue: work_core::Queue, text: &str) {
    let id = job.parts.id;
    store.insert(vec![job]).await.unwrap();
    let lease_for = std::time::Duration::from_secs(30);
    let want = work_core::store::Want {
        queues: vec![queue],
        limit: 10,
        lease_for,
        worker: text.into(),
        ..work_core::store::Want::default()
    };
    let leased = store.lease(want).await.unwrap().jobs;
    let key = leased.iter().find(|lease| lease.key.id == id).unwrap().key;
    let error = Some(work_core::store::ErrorRecord::new(text).with_backtrace(text));
    let settle =
        Settle { key, status: Status::INTERNAL_ERROR, settlement: Settlement::Discard, error, then: Vec::new() };
    store.settle(vec![settle]).await.unwrap();
}
