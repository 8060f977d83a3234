#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod engine;
mod envelope;
mod error;
mod export;
mod extract;
mod file;
mod graph;
mod live;
mod names;
mod next;
#[cfg(feature = "progress")]
pub mod progress;
mod rates;
mod redrive;
mod report;
mod run;
mod scan;
mod service;
mod shared;
mod signals;
mod states;
mod status;
mod step;
mod store;
mod workflow;

pub use engine::{Engine, EngineBuilder};
pub use error::{FlowError, InvalidWorkflow};
pub use export::Export;
pub use extract::{Item, MissingPosition, Overall, Position, Signal};
pub use file::replace_file;
pub use next::Next;
pub use report::{ItemReport, Phase, RunReport, StateCounts};
pub use run::Run;
pub use states::States;
pub use status::{StateStatus, Status, Updates};
pub use step::Step;
pub use workflow::{StateService, Workflow, WorkflowBuilder};

/// The documents of the repository, so that their examples are compiled and their links checked.
pub mod _documentation {
    #[doc = include_str!("../../docs/workflows.md")]
    pub mod workflows {}
    #[doc = include_str!("../../docs/coming_from_jorb.md")]
    pub mod coming_from_jorb {}
}
