use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use work_core::{ArgsError, IntoOutcome, Outcome};

use crate::States;
use crate::envelope::Due;

/// What a handler of a state answers: where its item goes, and with which context.
///
/// ```
/// use std::time::Duration;
/// use work_workflow::Next;
///
/// work_workflow::states! { enum Order: u32 { Pack = "pack", Ship = "ship", Late = "late", Done = "done" } }
///
/// let on = Next::to(Order::Ship, 7);
/// let with_children = Next::to(Order::Ship, 7).kick(Order::Pack, 8).kick(Order::Pack, 9);
/// let tomorrow = Next::to(Order::Ship, 7).after(Duration::from_secs(86_400));
/// let paid_or_late = Next::to(Order::Late, 7).after(Duration::from_secs(86_400)).unless("paid", Order::Ship);
/// # drop((on, with_children, tomorrow, paid_or_late));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a handler says where its item goes by returning this"]
pub struct Next<S: States> {
    to: S,
    context: S::Context,
    kicks: Vec<(S, S::Context)>,
    due: Due,
    unless: Option<(String, S)>,
}

impl<S: States> Next<S> {
    /// On to this state. It may be the present one.
    pub const fn to(state: S, context: S::Context) -> Self {
        Self { to: state, context, kicks: Vec::new(), due: Due::Now, unless: None }
    }

    /// Also starts a new item in this state, a child of this one. It exists if and only if this step is recorded, once.
    pub fn kick(mut self, state: S, context: S::Context) -> Self {
        self.kicks.push((state, context));
        self
    }

    /// Not before so long from now. The wait holds no slot and survives everything.
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = Due::After(delay);
        self
    }

    /// Not before this instant.
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.due = Due::At(at);
        self
    }

    /// If the item gets this signal before it is due, it goes to `then` at once instead.
    ///
    /// Each item waits for a signal of one name once: number the names if it waits in a loop.
    pub fn unless(mut self, signal: impl Into<String>, then: S) -> Self {
        self.unless = Some((signal.into(), then));
        self
    }
}

#[derive(Serialize)]
struct Written<'n, C> {
    to: &'static str,
    context: &'n C,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kicks: Vec<(&'static str, &'n C)>,
    #[serde(skip_serializing_if = "Due::is_now")]
    due: &'n Due,
    #[serde(skip_serializing_if = "Option::is_none")]
    unless: Option<(&'n str, &'static str)>,
}

impl<S: States> IntoOutcome for Next<S> {
    fn into_outcome(self) -> Outcome {
        let written = Written {
            to: self.to.name(),
            context: &self.context,
            kicks: self.kicks.iter().map(|(state, context)| (state.name(), context)).collect(),
            due: &self.due,
            unless: self.unless.as_ref().map(|(signal, then)| (signal.as_str(), then.name())),
        };
        match serde_json::to_vec(&written) {
            Ok(json) => Outcome::done().with_output(json),
            Err(source) => {
                Outcome::from_error(ArgsError::Encode { type_name: std::any::type_name::<S::Context>(), source })
            }
        }
    }
}
