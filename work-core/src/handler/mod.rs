//! Handlers: async functions whose arguments are taken from the job.

mod future;
mod service;

use std::future::Future;

pub use future::HandlerFuture;
pub use service::{HandlerService, ResponseFuture};

use crate::IntoOutcome;
use crate::extract::FromJob;
use crate::{Job, Outcome};

/// An async function that performs jobs, given the router's state `S`.
///
/// Implemented for every `async fn` of up to twelve arguments that are all [`FromJob`] and that returns
/// [`IntoOutcome`]. `M` only tells these functions apart. If the compiler says that a function is no handler, put
/// `#[work_core::debug_handler]` on it: the message then points at the argument.
///
/// ```
/// use work_core::{Args, Attempt, Handler, Job, Status};
///
/// async fn greet(Args(name): Args<String>, Attempt(n): Attempt) -> Result<(), std::io::Error> {
///     println!("hello {name}, attempt {n}");
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let outcome = greet.call(Job::new("greet", "Ann"), ()).await;
/// assert_eq!(outcome.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of jobs for a router with state `{S}`",
    label = "put `#[work_core::debug_handler]` on this function to see which part does not fit",
    note = "a handler is an `async fn` of at most 12 arguments, each an extractor (`Args<T>`, `State<S>`, `Context`, `Attempt` …), whose future is `Send` and whose result is an outcome",
    note = "if the macro finds nothing, the router has another state than the function takes: name the router's, `#[work_core::debug_handler(state = …)]`"
)]
pub trait Handler<M, S>: Clone + Send + Sync + 'static {
    /// What [`call`](Self::call) returns.
    type Future: Future<Output = Outcome> + Send + 'static;

    /// Performs one job. An argument that cannot be taken ends it with the outcome that the rejection means.
    fn call(self, job: Job, state: S) -> Self::Future;
}

macro_rules! handler {
    ($($arg:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, Fut, R, S, $($arg,)*> Handler<($($arg,)*), S> for F
        where
            F: FnOnce($($arg,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoOutcome,
            S: Send + Sync + 'static,
            $($arg: FromJob<S> + Send + 'static,)*
        {
            type Future = HandlerFuture<Fut>;

            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn call(self, mut job: Job, state: S) -> HandlerFuture<Fut> {
                $(let $arg = match $arg::from_job(&mut job, &state) {
                    Ok(value) => value,
                    Err(rejection) => return HandlerFuture::rejected(rejection.into()),
                };)*
                HandlerFuture::running(self($($arg,)*))
            }
        }
    };
}

handler!();
handler!(A1);
handler!(A1 A2);
handler!(A1 A2 A3);
handler!(A1 A2 A3 A4);
handler!(A1 A2 A3 A4 A5);
handler!(A1 A2 A3 A4 A5 A6);
handler!(A1 A2 A3 A4 A5 A6 A7);
handler!(A1 A2 A3 A4 A5 A6 A7 A8);
handler!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
handler!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
handler!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
handler!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
