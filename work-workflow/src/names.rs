//! The names of queues and kinds.

use work_core::{Kind, Queue};

/// Bytes of the name of a workflow, a run and a state: together with two dots, the 63 of a queue.
pub(crate) const MAX_WORKFLOW: usize = 16;
pub(crate) const MAX_RUN: usize = 24;
pub(crate) const MAX_STATE: usize = 21;

/// The queue of the signals of a run, beside those of its states.
pub(crate) const SIGNAL: &str = "signal";

pub(crate) fn is_name(name: &str, most: usize) -> bool {
    name.len() <= most
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

pub(crate) fn queue(workflow: &str, run: &str, state: &str) -> Queue {
    Queue::from(format!("{workflow}.{run}.{state}"))
}

pub(crate) fn kind(workflow: &str, state: &str) -> Kind {
    Kind::from(format!("{workflow}.{state}"))
}

/// What the names of all queues of a run begin with.
pub(crate) fn queues(workflow: &str, run: &str) -> Queue {
    Queue::from(format!("{workflow}.{run}."))
}

/// Where the records of runs are: no runner drains it.
pub(crate) fn control(workflow: &str) -> Queue {
    Queue::from(format!("{workflow}.runs"))
}

/// The run and the state that a queue belongs to.
pub(crate) fn parts<'q>(workflow: &str, queue: &'q str) -> Option<(&'q str, &'q str)> {
    queue.strip_prefix(workflow)?.strip_prefix('.')?.rsplit_once('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_taken_apart_as_it_was_put_together() {
        let queue = queue("change", "nightly-1", "scan");
        assert_eq!(parts("change", queue.as_str()), Some(("nightly-1", "scan")));
        assert_eq!(parts("chang", queue.as_str()), None);
        assert!(
            is_name("a-b_C9", 6) && !is_name("a.b", 9) && !is_name("", 9) && !is_name("-a", 9) && !is_name("abc", 2)
        );
    }
}
