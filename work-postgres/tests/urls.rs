//! URLs of databases, at random: one that is none is refused at once, and its password is not shown.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use work_core::testing::fuzz::{Fuzz, Random, check_message};
use work_postgres::PostgresStore;

const SECRET: &str = "s3cret";

fn url(random: &mut Random) -> String {
    let corpus = [
        "postgres://ann:s3cret@host:5432/db?sslmode=require&connect_timeout=10&application_name=x",
        "postgresql://ann:s3cret@[::1]:5432,other:1/db?target_session_attrs=read-write",
        "host=localhost port=5432 user=ann password='s3cret' dbname=db options='-c a=b' keepalives=1 channel_binding=disable",
        "postgres://%2Fvar%2Frun/db",
        "host=/tmp hostaddr=127.0.0.1 load_balance_hosts=random",
    ];
    random.text(&corpus)
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_and_its_password_is_not_shown() {
    let mut fuzz = Fuzz::new("URLs of databases");
    while let Some(mut random) = fuzz.next_case() {
        let url = url(&mut random);
        fuzz.about(&url);
        // Nobody is to be called.
        if url.parse::<tokio_postgres::Config>().is_ok() {
            continue;
        }
        let error = PostgresStore::builder(&url).connect().await.unwrap_err();
        check_message(&error);
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
}

#[tokio::test]
async fn a_scheme_with_a_slip_shows_no_password() {
    let refused =
        PostgresStore::builder("postgres:://ann:s3cret@host:5432/db?sslmode=require").connect().await.unwrap_err();
    assert!(refused.to_string().contains("it has an option that there is not"), "{refused}");
    let refused = PostgresStore::builder("postgres://host/db?sslmod=require").connect().await.unwrap_err();
    assert!(refused.to_string().contains("it has an option that there is not"), "{refused}");
}

#[tokio::test]
async fn a_schema_of_any_name_is_refused_unless_it_is_one() {
    let names = ["work", "work_2", "pg_work", "a\"b", "x; DROP SCHEMA work"];
    let mut fuzz = Fuzz::new("names of schemas");
    while let Some(mut random) = fuzz.next_case() {
        let name = random.text(&names);
        fuzz.about(&name);
        if !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            continue;
        }
        check_message(
            PostgresStore::builder("postgres://nobody@127.0.0.1:1/db").schema(&name).connect().await.unwrap_err(),
        );
    }
}
