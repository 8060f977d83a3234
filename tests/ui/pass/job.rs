//! `#[job]` works at every place where a function does.

use work_core::{Args, BoxError, Context, FromRef, JobId, Json, Router, State, job};

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
        .with_state(App { mailer: Mailer });
    assert_eq!(router.kinds().len(), 3);
    let job = welcome::job(inner::User("ann".into()));
    assert_eq!((job.kind().as_str(), job.parts().priority), ("mail.welcome", 2));
    assert_eq!(no_args::job(()).kind().as_str(), "no_args");
    assert_eq!(local::job(Local(1)).kind().as_str(), "local");
}
