//! The macros of `work-core`, which re-exports them: use them from there.

mod debug_handler;
mod job;
mod job_args;
mod options;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes an async function a job: keeps it as it is, and puts its kind and a constructor of jobs beside it.
///
/// The options are all optional: `kind = "…"` (by default the function's name), `queue = "…"`, `max_attempts = 5`,
/// `timeout = "30s"` (an integer and `ms`, `s`, `m`, `h` or `d`), `priority = 2`. They are checked when it is compiled.
///
/// ```
/// use work_core::{Args, Job, Router, job};
///
/// #[job(queue = "mail", max_attempts = 5, timeout = "30s")]
/// async fn welcome(Args(address): Args<String>) {
///     println!("welcome {address}");
/// }
///
/// let router: Router = Router::new().route(welcome::KIND, welcome);
/// let job: Job = welcome::job("ann@example.org".into());
/// assert_eq!(job.kind().as_str(), "welcome");
/// assert_eq!(job.parts().queue.as_str(), "mail");
/// assert_eq!(job.parts().max_attempts, Some(5));
/// ```
#[proc_macro_attribute]
pub fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as options::Options);
    let function = parse_macro_input!(item as syn::ItemFn);
    finish(job::expand(&options, &function))
}

/// Implements `JobArgs`: the kind is the type's name in snake case, or `#[job(kind = "…")]`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use work_core::JobArgs;
///
/// #[derive(Serialize, Deserialize, JobArgs)]
/// struct SendInvoice { number: u32 }
///
/// #[derive(Serialize, Deserialize, JobArgs)]
/// #[job(kind = "mail.welcome")]
/// struct Welcome;
///
/// assert_eq!(SendInvoice { number: 7 }.job().kind().as_str(), "send_invoice");
/// assert_eq!(Welcome::KIND, "mail.welcome");
/// ```
#[proc_macro_derive(JobArgs, attributes(job))]
pub fn derive_job_args(item: TokenStream) -> TokenStream {
    finish(job_args::expand(&parse_macro_input!(item as syn::DeriveInput)))
}

/// Says why a function is no handler: each argument, the result and the future are checked where they stand.
///
/// Without optimisation only; otherwise it leaves no trace. The state of the router is taken from a `State<T>` argument,
/// or from `#[debug_handler(state = T)]`.
///
/// ```
/// use work_core::{Args, State, debug_handler};
///
/// #[debug_handler]
/// async fn greet(Args(name): Args<String>, State(greeting): State<String>) {
///     println!("{greeting} {name}");
/// }
/// ```
#[proc_macro_attribute]
pub fn debug_handler(options: TokenStream, item: TokenStream) -> TokenStream {
    if !cfg!(debug_assertions) {
        return item;
    }
    let state = parse_macro_input!(options as debug_handler::StateOption);
    let function = parse_macro_input!(item as syn::ItemFn);
    finish(Ok(debug_handler::expand(state, &function)))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
