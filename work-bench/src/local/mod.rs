//! In memory: the worker against what one would write by hand.

pub(crate) mod delayed;
pub(crate) mod layers;
pub(crate) mod perform;
pub(crate) mod pickup;
pub(crate) mod receive;
