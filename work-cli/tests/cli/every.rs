//! A call of each command.

use crate::place::Place;

/// A call of every command that needs a store.
pub(crate) const CALLS: &[&[&str]] = &[
    &["jobs", "list"],
    &["jobs", "show", ID],
    &["jobs", "retry", ID],
    &["jobs", "cancel", "--all", "--yes"],
    &["jobs", "delete", "--all", "--yes"],
    &["jobs", "run-now", ID],
    &["jobs", "edit", ID, "--args", "1"],
    &["jobs", "enqueue", "k"],
    &["queues", "list"],
    &["queues", "pause", "q"],
    &["queues", "resume", "q"],
    &["queues", "limit", "q", "1"],
    &["queues", "bound", "q", "1"],
    &["schedules", "list"],
    &["schedules", "run", "s"],
    &["schedules", "pause", "s"],
    &["schedules", "resume", "s"],
    &["schedules", "remove", "s"],
    &["workers", "list"],
    &["workflows", "list"],
    &["workflows", "show", "a.b"],
    &["workflows", "pause", "a.b"],
    &["workflows", "resume", "a.b"],
    &["workflows", "retry", "a.b", "--yes"],
    &["workflows", "cancel", "a.b", "--yes"],
    &["workflows", "export", "a.b"],
    &["workflows", "import", "-"],
    &["dashboard", "--port", "0"],
    &["stats"],
    &["top"],
    &["prune", "--yes"],
    &["doctor"],
];

const ID: &str = "01a1fd86-b4d0-7000-8d1e-9f8a93f2ed17";

pub(crate) fn all_are_refused(place: &Place, why: &str) {
    for call in CALLS {
        let said = place.work(call);
        assert_eq!(said.code, 4, "{call:?}: {said:?}");
        let text = format!("{}{}", said.out, said.err);
        assert!(text.contains(why), "{call:?}: {text} lacks {why:?}");
    }
}
