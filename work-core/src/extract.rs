//! Extractors: what a handler may take as an argument.

use std::any::type_name;
use std::convert::Infallible;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::args::ArgsError;
use crate::store::Fence;
use crate::{BoxError, Context, Job, JobId, Parts};

/// Takes a value out of a job, given the router's state `S`.
///
/// ```
/// use work_core::{Context, FromJob, Job};
///
/// struct Tenant(String);
///
/// impl<S> FromJob<S> for Tenant {
///     type Rejection = std::io::Error;
///
///     fn from_job(job: &mut Job, _: &S) -> Result<Self, Self::Rejection> {
///         let tenant = job.parts().headers.get("tenant").cloned();
///         tenant.map(Tenant).ok_or_else(|| std::io::Error::other("the job has no header `tenant`"))
///     }
/// }
///
/// let mut job = Job::new("k", ()).header("tenant", "a");
/// assert_eq!(Tenant::from_job(&mut job, &())?.0, "a");
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}` as an argument from a router with state `{S}`",
    label = "not an extractor: write `Args<{Self}>` for the job's arguments, `State<{Self}>` for the router's state",
    note = "there are also `Context`, `Extension<T>`, `Attempt`, `JobId`, and what implements `FromJob<{S}>`"
)]
pub trait FromJob<S>: Sized {
    /// Why there is no such value; the [table](crate::status_of) turns it into a status.
    type Rejection: Into<BoxError>;

    /// Takes the value.
    ///
    /// # Errors
    ///
    /// The rejection: the handler is not called, and the job ends with the status that it means.
    fn from_job(job: &mut Job, state: &S) -> Result<Self, Self::Rejection>;
}

/// The arguments of the job, typed. At most one in a handler.
///
/// What does not decode ends as 400: a dead letter that says which field, and that an operator can retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args<T>(pub T);

impl<S, T: DeserializeOwned + Send + Sync + 'static> FromJob<S> for Args<T> {
    type Rejection = ArgsError;

    fn from_job(job: &mut Job, _: &S) -> Result<Self, ArgsError> {
        job.take_args().map(Self)
    }
}

/// The state of the router, or a part of it that implements [`FromRef`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<T>(pub T);

/// How a part of the router's state is taken from the whole.
///
/// ```
/// use work_core::FromRef;
///
/// #[derive(Clone)]
/// struct Mailer;
///
/// #[derive(Clone)]
/// struct App { mailer: Mailer }
///
/// impl FromRef<App> for Mailer {
///     fn from_ref(app: &App) -> Self {
///         app.mailer.clone()
///     }
/// }
///
/// let app = App { mailer: Mailer };
/// let Mailer = FromRef::from_ref(&app);
/// ```
#[diagnostic::on_unimplemented(
    message = "the router's state `{S}` has no `{Self}`",
    label = "taken from the router's state: give it a `{Self}` with `.with_state(…)`",
    note = "a router has one state: if it has several parts, make it a struct and implement `FromRef<TheStruct> for {Self}`"
)]
pub trait FromRef<S> {
    /// Takes the part.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

impl<S, T: FromRef<S>> FromJob<S> for State<T> {
    type Rejection = Infallible;

    fn from_job(_: &mut Job, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}

/// A value that a layer put into the context, see [`Context::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<T>(pub T);

/// The context has no value of the type that an [`Extension`] asks for.
#[derive(Debug)]
pub struct MissingExtension(&'static str);

impl fmt::Display for MissingExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no extension of type {}: a layer must put it there with `Context::insert`", self.0)
    }
}

impl std::error::Error for MissingExtension {}

impl<S, T: Clone + Send + Sync + 'static> FromJob<S> for Extension<T> {
    type Rejection = MissingExtension;

    fn from_job(job: &mut Job, _: &S) -> Result<Self, MissingExtension> {
        job.context().extension().map(Self).ok_or(MissingExtension(type_name::<T>()))
    }
}

/// Which attempt this is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u32);

macro_rules! infallible {
    ($($type:ty: $job:ident => $value:expr;)*) => {
        $(impl<S> FromJob<S> for $type {
            type Rejection = Infallible;

            fn from_job($job: &mut Job, _: &S) -> Result<Self, Infallible> {
                Ok($value)
            }
        })*
    };
}

infallible! {
    Context: job => job.context().clone();
    Attempt: job => Self(job.context().attempt());
    JobId: job => job.id();
    Parts: job => job.parts().clone();
    Option<Fence>: job => job.context().fence();
}
