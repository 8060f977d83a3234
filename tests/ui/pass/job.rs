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
}
