use std::fmt::Debug;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The states of a workflow: an enum, and what its items carry from state to state.
///
/// Usually made by [`states!`](crate::states). The names are stored with every job, so treat them as part of the stored
/// format.
///
/// ```
/// work_workflow::states! {
///     /// How an order gets to its buyer.
///     pub enum Order: u32 { Pack = "pack", Ship = "ship", Done = "done" }
/// }
///
/// use work_workflow::States;
/// assert_eq!(Order::ALL.len(), 3);
/// assert_eq!(Order::Ship.name(), "ship");
/// ```
pub trait States: Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// What an item carries: each state gets it and passes it on.
    type Context: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// All of them, in the order to show them.
    const ALL: &'static [Self];

    /// The stable name: 1 to 21 of `A-Z a-z 0-9 _ -`, starting with a letter or a digit.
    fn name(self) -> &'static str;
}

/// Makes an enum the [`States`] of a workflow: `enum Name: Context { Variant = "name", … }`.
#[macro_export]
macro_rules! states {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $context:ty {
            $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $(
                $(#[$variant_meta])*
                #[doc = concat!("`", $text, "`")]
                $variant,
            )+
        }

        impl $crate::States for $name {
            type Context = $context;

            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}
