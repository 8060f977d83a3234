//! Worker processes that are killed, frozen and stopped while everything that happens is written down.

mod at;
mod child;
mod crew;
mod handlers;
mod ledger;
mod limit;
mod mix;

pub use at::{At, Outlives};
pub use child::{Orders, Said, work};
pub use crew::{Crew, Member};
pub use handlers::{Task, task};
pub use ledger::Ledger;
pub use limit::Limit;
pub use mix::Mix;
