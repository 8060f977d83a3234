//! Stores that cannot be used: exit code 4, what to do, and nothing changed.

use rusqlite::Connection;

use crate::every::all_are_refused;
use crate::place::{Place, said};

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let Some(place) = Place::without_store() else { return };
    all_are_refused(&place, "`work migrate`");
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    let dry = place.work(&["migrate", "--dry-run"]).ok();
    assert!(dry.out.contains("would be made"));
    assert!(!place.file().exists());
    place.work(&["--store", "sqlite:/no/such/folder/jobs.db", "migrate"]).refused(4, "create it first");
}

#[test]
fn a_file_that_is_no_database_stays_as_it_is() {
    let Some(place) = Place::without_store() else { return };
    let text = "this is a text, and much longer than the head of a database ".repeat(20);
    std::fs::write(place.file(), &text).unwrap();
    all_are_refused(&place, "not an SQLite database");
    place.work(&["migrate"]).refused(4, "not an SQLite database");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn a_database_of_another_program_stays_as_it_is() {
    let Some(place) = Place::without_store() else { return };
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("CREATE TABLE invoices (id INTEGER)").unwrap();
    drop(other);
    let before = std::fs::read(place.file()).unwrap();
    all_are_refused(&place, "no tables of jobs");
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("CREATE TABLE jobs (id INTEGER)").unwrap();
    place.work(&["migrate"]).refused(4, "table `jobs` of another program");
}

#[test]
fn a_store_of_a_newer_program_stays_as_it_is() {
    let Some(place) = Place::new() else { return };
    let sql = Connection::open(place.file()).unwrap();
    sql.execute_batch("UPDATE work_schema SET version = 99; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(sql);
    let before = std::fs::read(place.file()).unwrap();
    all_are_refused(&place, "run a newer `work`");
    place.work(&["migrate"]).refused(4, "version 99");
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}

#[test]
fn a_store_of_an_older_program_is_changed_by_migrate_alone() {
    let Some(place) = Place::without_store() else { return };
    let old = Connection::open(place.file()).unwrap();
    old.execute_batch(include_str!("../../../work-sqlite/src/sql/1_jobs.sql")).unwrap();
    old.execute_batch(
        "CREATE TABLE work_schema (version INTEGER NOT NULL) STRICT; INSERT INTO work_schema VALUES (1);
        INSERT INTO jobs (kind, args) VALUES ('waits', '1');",
    )
    .unwrap();
    drop(old);
    let before = std::fs::read(place.file()).unwrap();
    all_are_refused(&place, "`work migrate`");
    assert!(place.work(&["migrate", "--dry-run"]).ok().out.contains("would be brought from version 1"));
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
    let done = place.work(&["migrate", "--json"]).ok().json();
    assert_eq!((&done[0]["from"], &done[0]["dry_run"]), (&1.into(), &false.into()));
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().json()[0]["kind"], "waits");
    assert!(place.work(&["migrate"]).ok().out.contains("nothing to do"));
}

#[test]
fn a_folder_and_a_lock_that_is_held_are_named() {
    let Some(place) = Place::without_store() else { return };
    std::fs::create_dir(place.file()).unwrap();
    all_are_refused(&place, "folder");
}

#[test]
fn which_store_is_asked_for_and_a_bad_url_names_what_is_accepted() {
    let Some(place) = Place::new() else { return };
    let with = |url: Option<&str>, name: &str| {
        let mut command = place.command(&["stats"]);
        command.env_remove("WORK_STORE");
        url.map(|url| command.env(name, url));
        said(command)
    };
    with(None, "").refused(2, "WORK_STORE or DATABASE_URL; use sqlite:jobs.db");
    with(Some("jobs.db"), "DATABASE_URL").refused(2, "DATABASE_URL: ").refused(2, "did you mean sqlite:jobs.db?");
    with(Some("mysql://ann:s3cret@host/db"), "WORK_STORE").refused(2, "`mysql:` is no kind of store");
    with(Some("sqlite:jobs.db"), "DATABASE_URL").ok();
    place.work(&["--store", "sqlite::memory:", "stats"]).refused(2, "needs a file");
}

#[test]
fn no_password_is_printed() {
    let Some(place) = Place::new() else { return };
    let url = "postgres://ann:s3cret@127.0.0.1:1/db?password=s3cret";
    for args in [
        &["--store", url, "stats"][..],
        &["--store", url, "doctor"],
        &["--store", url, "migrate"],
        &["--store", url, "bench"],
        &["--store", url, "--help"],
        &["--store", "ann:s3cret@host", "stats"],
        &["--store", "s3cret@host", "stats"],
        &[url, "stats"],
        &["stats", url],
        &["jobs", "show", url],
    ] {
        let mut command = place.command(args);
        command.env("DATABASE_URL", url);
        let said = said(command);
        assert!(!format!("{}{}", said.out, said.err).contains("s3cret"), "{args:?}: {said:?}");
        assert!(said.code != 0 || args.contains(&"--help"), "{args:?}: {said:?}");
    }
    let said = place.work(&["--store", url, "stats"]);
    assert_eq!(said.code, if cfg!(feature = "postgres") { 4 } else { 2 }, "{said:?}");
}
