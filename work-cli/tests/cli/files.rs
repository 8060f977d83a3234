//! What `work doctor` finds in a file that something is wrong with.

use work_core::Job;

use crate::place::Place;

#[tokio::test]
async fn doctor_names_what_is_wrong_and_what_to_do() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "x").await;
    let runs = place.insert(vec![Job::new("k", ()).queue("a")]).await[0];
    place.lease(runs).await;
    let waits = place.insert(vec![Job::new("k", ()).queue("b")]).await[0];
    let sql = rusqlite::Connection::open(place.file()).unwrap();
    let ago = |table: &str, column: &str, id: work_core::JobId, by: i64| {
        let change = format!("UPDATE {table} SET {column} = {column} + ?1 WHERE id = ?2");
        assert_eq!(sql.execute(&change, (by, id.as_uuid().as_bytes().as_slice())).unwrap(), 1);
    };
    ago("jobs", "lease_until", runs, -3_600_000);
    ago("jobs", "scheduled_at", waits, -3_600_000);
    let said = place.work(&["doctor"]).ok();
    for part in [
        "[warn] leases: 1 lease expired, of 1 job running",
        "[warn] ready: the oldest job that is due waits 1h",
        "[warn] dead letters: 1 job; see `work jobs list --state discarded`",
        "[warn] workers: none was heard of in the last minute; start",
    ] {
        assert!(said.out.contains(part), "{} lacks {part}", said.out);
    }
    ago("jobs", "created_at", waits, 3_600_000);
    assert!(place.work(&["doctor"]).refused(1, "failed").out.contains("[fail] clock: "));
    ago("jobs", "created_at", waits, -3_600_000);
    sql.pragma_update(None, "journal_mode", "delete").unwrap();
    // Opening sets it again, so there is nothing to see by then.
    assert!(place.work(&["doctor"]).ok().out.contains("[ok] durability"));
}

#[tokio::test]
async fn doctor_finds_a_damaged_database() {
    let Some(place) = Place::new() else { return };
    place.insert((0..2_000).map(|n| Job::new("k", n)).collect()).await;
    let sql = rusqlite::Connection::open(place.file()).unwrap();
    sql.execute_batch(
        "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_leases')
            WHERE name = 'jobs_ready';",
    )
    .unwrap();
    drop(sql);
    let said = place.work(&["doctor"]);
    assert!(said.code == 1 || said.code == 4, "{said:?}");
    assert!(said.out.contains("[fail]"), "{said:?}");
}
