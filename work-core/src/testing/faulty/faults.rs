use std::time::Duration;

/// What goes wrong with the calls of a [`FaultyStore`](super::FaultyStore), as shares of them from 0 to 1. By default nothing.
///
/// ```
/// use std::time::Duration;
/// use work_core::testing::faulty::Faults;
///
/// let faults = Faults::none().refused(0.05).lost(0.05).hung(0.01, Duration::from_secs(40)).delayed(0.5, Duration::from_millis(30));
/// assert_ne!(faults, Faults::none());
/// assert_eq!(Faults::some(), Faults::some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "faults do nothing until a store has them"]
pub struct Faults {
    pub(super) refused: f64,
    pub(super) lost: f64,
    pub(super) hung: (f64, Duration),
    pub(super) delayed: (f64, Duration),
    pub(super) deaf: f64,
}

impl Faults {
    /// All is well.
    pub const fn none() -> Self {
        let never = (0.0, Duration::ZERO);
        Self { refused: 0.0, lost: 0.0, hung: never, delayed: never, deaf: 0.0 }
    }

    /// A bad day: 5 % of the calls fail before they are done and 5 % after that, 1 % hang for up to 20 s, half of them take up
    /// to 50 ms, and every fifth notification is lost.
    pub const fn some() -> Self {
        let some = Self::none().refused(0.05).lost(0.05).deaf(0.2);
        some.hung(0.01, Duration::from_secs(20)).delayed(0.5, Duration::from_millis(50))
    }

    /// So many calls fail before anything is done.
    pub const fn refused(mut self, share: f64) -> Self {
        self.refused = share;
        self
    }

    /// So many calls are done, and their answers are lost.
    pub const fn lost(mut self, share: f64) -> Self {
        self.lost = share;
        self
    }

    /// So many calls hang, for up to a time: half of them before they are done, half of them after it.
    pub const fn hung(mut self, share: f64, at_most: Duration) -> Self {
        self.hung = (share, at_most);
        self
    }

    /// So many calls take up to a time.
    pub const fn delayed(mut self, share: f64, at_most: Duration) -> Self {
        self.delayed = (share, at_most);
        self
    }

    /// So many times nobody is told that jobs have arrived.
    pub const fn deaf(mut self, share: f64) -> Self {
        self.deaf = share;
        self
    }
}
