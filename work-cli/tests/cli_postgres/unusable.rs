//! Servers and schemas that cannot be used: exit code 4, what to do, and nothing changed.

use tokio_postgres::{Client, NoTls};

use crate::every::{CALLS, all_are_refused};
use crate::place::{Place, Server, said};

async fn client(place: &Place) -> (Client, String) {
    let Server { url, schema } = place.server().unwrap();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    (client, schema.clone())
}

async fn tables(client: &Client, schema: &str) -> i64 {
    let count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = $1";
    client.query_one(count, &[&schema]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_schema_without_tables_stays_as_it_is() {
    let Some(place) = Place::without_store() else { return };
    all_are_refused(&place, "`work migrate`");
    assert!(place.work(&["migrate", "--dry-run"]).ok().out.contains("would be made"));
    let (client, schema) = client(&place).await;
    assert_eq!(tables(&client, &schema).await, 0);
    place.work(&["migrate"]).ok();
    assert!(tables(&client, &schema).await > 3);
    place.work(&["stats"]).ok();
}

#[tokio::test]
async fn a_schema_of_a_newer_program_stays_as_it_is() {
    let Some(place) = Place::new() else { return };
    let (client, schema) = client(&place).await;
    client.execute(&format!("UPDATE \"{schema}\".work_schema SET version = 99"), &[]).await.unwrap();
    let before = tables(&client, &schema).await;
    all_are_refused(&place, "run a newer `work`");
    place.work(&["migrate"]).refused(4, "version 99");
    assert_eq!(tables(&client, &schema).await, before);
}

#[test]
fn a_server_that_cannot_be_reached_is_4_for_every_command() {
    let Some(place) = Place::without_store() else { return };
    for call in CALLS {
        let mut command = place.command(call);
        command.env("WORK_STORE", "postgres://ann:s3cret@127.0.0.1:1/db");
        let said = said(command);
        let text = format!("{}{}", said.out, said.err);
        assert_eq!(said.code, 4, "{call:?}: {said:?}");
        assert!(text.contains("is the server up") && !text.contains("s3cret"), "{call:?}: {text}");
    }
}

#[test]
fn a_name_that_is_no_schema_or_no_database_is_refused() {
    let Some(place) = Place::without_store() else { return };
    let server = place.server().unwrap();
    place.work(&["stats"]).refused(4, "no tables of jobs");
    let call = |url: &str, schema: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_work"));
        command.args(["--store", url, "--schema", schema, "stats"]);
        said(command)
    };
    call(&server.url, "a-b").refused(2, "use 1 to 48 of a-z 0-9 _");
    call(&server.url, "x\"; DROP TABLE jobs; --").refused(2, "no name of a schema");
    call("postgres://work@127.0.0.1:1/no", "work").refused(4, "is the server up");
    call(&server.url.replace("/postgres", "/no_such_database"), "work").refused(4, "no_such_database");
}
