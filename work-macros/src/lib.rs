//! The macros of `work-core`, which re-exports them: use them from there.

mod debug_handler;
mod function;
mod job;
mod job_args;
mod options;

use proc_macro::TokenStream;
use syn::ItemFn;
use syn::parse::Parse;

/// Makes an async function a job: keeps it as it is, and puts its kind and a constructor of jobs beside it.
///
/// The options are all optional: `kind = "…"` (by default the function's name), `queue = "…"`, `max_attempts = 5`,
/// `timeout = "30s"` (an integer and `ms`, `s`, `m`, `h` or `d`), `priority = 2`, `unique = "sync:{args}"` (a key in which
/// `{args}` stands for the arguments, as in [`format!`]; keys are those of all kinds, so begin it with a word of its own),
/// `unique_for = "1h"` (how long the key is held at least). They are checked when it is compiled.
///
/// What stands beside the function is a type of its name and visibility, with `KIND` and `job(args)`; it works inside of
/// functions too, but not in an `impl`. The arguments are those of the parameter whose type is written `Args<T>`, `()` if
/// there is none; an alias of `Args` is not recognised. Type parameters, lifetimes and `self` are refused.
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
///
/// #[job(unique = "sync:{args}", unique_for = "1h")]
/// async fn sync(Args(account): Args<u64>) {
///     println!("account {account}");
/// }
///
/// assert_eq!(sync::job(7).parts().unique.as_ref().map(|unique| unique.key()), Some("sync:7"));
/// ```
#[proc_macro_attribute]
pub fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_attribute(options, item, job::expand)
}

/// Implements `JobArgs`: the kind is the type's name in snake case, or `#[job(kind = "…")]`.
///
/// `#[job(…)]` takes all options that it takes on a [function](macro@job): every job that its method `job` makes of such
/// arguments has them, so a job goes to the queue of its kind by default. In `unique`, fields are written by their names.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use work_core::JobArgs;
///
/// #[derive(Serialize, Deserialize, JobArgs)]
/// struct SendInvoice { number: u32 }
///
/// #[derive(Serialize, Deserialize, JobArgs)]
/// #[job(kind = "mail.welcome", queue = "mail", timeout = "30s", unique = "welcome:{user}")]
/// struct Welcome { user: u64 }
///
/// assert_eq!(SendInvoice { number: 7 }.job().kind().as_str(), "send_invoice");
/// assert_eq!(Welcome::KIND, "mail.welcome");
/// let job = Welcome { user: 7 }.job();
/// assert_eq!(job.parts().queue.as_str(), "mail");
/// assert_eq!(job.parts().unique.as_ref().map(|unique| unique.key()), Some("welcome:7"));
/// ```
#[proc_macro_derive(JobArgs, attributes(job))]
pub fn derive_job_args(item: TokenStream) -> TokenStream {
    let expanded = syn::parse(item).and_then(|input| job_args::expand(&input));
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Says why a function is no handler: each argument, the result and the future are checked where they stand.
///
/// Only in builds with debug assertions; otherwise it leaves no trace. The state of the router is taken from a `State<T>`
/// argument; give it with `#[debug_handler(state = T)]` if that is only a part of it, or if an extractor needs another.
/// A function with type parameters is not checked, since its types are not known.
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
    expand_attribute(options, item, debug_handler::expand)
}

/// What is wrong is said beside the item, which stays: its uses must not become further errors.
fn expand_attribute<O: Parse>(
    options: TokenStream,
    item: TokenStream,
    expand: impl FnOnce(&O, &ItemFn) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let expanded = syn::parse(options).and_then(|options| expand(&options, &syn::parse(item.clone())?));
    expanded.map_or_else(
        |error| item.into_iter().chain(TokenStream::from(error.into_compile_error())).collect(),
        TokenStream::from,
    )
}
