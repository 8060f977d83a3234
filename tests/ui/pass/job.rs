//! `#[job]` works at every place where a function does.

use work_core::{Args, BoxError, Context, FromRef, JobArgs, JobId, Json, Router, State, debug_handler, job};

#[derive(Clone)]
struct Mailer;

#[derive(Clone)]
struct App {
    mailer: Mailer,
}

impl FromRef<App> for Mailer {
    fn from_ref(app: &App) -> Self {
        app.mailer.clone()
    }
}

mod inner {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct User(pub String);
}

#[job(kind = "mail.welcome", queue = "mail", max_attempts = 5, timeout = "30s", priority = 2)]
async fn welcome(Args(user): Args<inner::User>, State(_): State<Mailer>, _: Context) -> Result<(), BoxError> {
    println!("{}", user.0);
    Ok(())
}

#[job]
async fn no_args(id: JobId) -> Json<String> {
    Json(id.to_string())
}

#[job]
async fn r#match(Args(_): Args<Vec<crate::inner::User>>) {}

#[job]
#[debug_handler(state = App)]
async fn two_states(State(_): State<Mailer>, State(_): State<App>) {}

#[debug_handler]
#[job]
async fn other_order(Args(_): Args<String>, State(_): State<Mailer>) {}

mod deep {
    #[work_core::job]
    pub(super) async fn parent(work_core::Args(_): work_core::Args<super::inner::User>) {}
}

#[derive(serde::Serialize, serde::Deserialize, JobArgs)]
enum SendHTTPMail {
    Now,
}

#[derive(serde::Serialize, serde::Deserialize, JobArgs)]
#[job(queue = "mail", max_attempts = 5, timeout = "30s", priority = 2, unique = "sync:{account}@{of:?}", unique_for = "1h")]
struct Sync {
    account: u64,
    of: Option<String>,
    other: (),
}

#[job(unique = "once:{args:?}")]
async fn once(Args(_): Args<(u8, String)>) {}

#[allow(non_camel_case_types)]
#[derive(serde::Serialize, serde::Deserialize, JobArgs)]
struct r#type;

fn main() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Local(u8);

    #[job]
    async fn local(Args(Local(n)): Args<Local>) {
        println!("{n}");
    }

    let router: Router = Router::new()
        .route(welcome::KIND, welcome)
        .route(no_args::KIND, no_args)
        .route(local::KIND, local)
        .route(r#match::KIND, r#match)
        .route(two_states::KIND, two_states)
        .route(other_order::KIND, other_order)
        .route(deep::parent::KIND, deep::parent)
        .with_state(App { mailer: Mailer });
    assert_eq!(router.kinds().len(), 7);
    let job = welcome::job(inner::User("ann".into()));
    assert_eq!((job.kind().as_str(), job.parts().priority), ("mail.welcome", 2));
    assert_eq!(no_args::job(()).kind().as_str(), "no_args");
    assert_eq!(local::job(Local(1)).kind().as_str(), "local");
    assert_eq!(r#match::job(Vec::new()).kind().as_str(), "match");
    assert_eq!(SendHTTPMail::Now.job().kind().as_str(), "send_http_mail");
    assert_eq!(r#type::KIND, "type");
    let job = Sync { account: 7, of: None, other: () }.job();
    let (parts, unique) = (job.parts(), job.parts().unique.clone().unwrap());
    assert_eq!((parts.queue.as_str(), parts.max_attempts, parts.priority), ("mail", Some(5), 2));
    assert_eq!((parts.kind.as_str(), parts.timeout), ("sync", Some(std::time::Duration::from_secs(30))));
    assert_eq!((unique.key(), unique.window()), ("sync:7@None", Some(std::time::Duration::from_secs(3_600))));
    let once = once::job((1, "a".into()));
    assert_eq!(once.parts().unique.as_ref().map(|unique| unique.key()), Some("once:(1, \"a\")"));
}
