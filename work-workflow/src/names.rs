//! The names of queues and kinds, and ids that are the same for the same cause.

use work_core::{JobId, Kind, Queue};

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

/// At most 80 characters, for a message.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
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

/// An id that follows from another one, so that what is done twice makes one job. It keeps the time of the first.
pub(crate) fn follow(id: JobId, why: &str, n: u64) -> JobId {
    let base = id.as_uuid().as_bytes();
    let mut hash = Hash::new();
    hash.write(base);
    hash.write(why.as_bytes());
    hash.write(&[0]);
    hash.write(&n.to_be_bytes());
    hash.id([base[0], base[1], base[2], base[3], base[4], base[5]])
}

/// The id of something that has a name.
pub(crate) fn named(names: &[&str]) -> JobId {
    let mut hash = Hash::new();
    for name in names {
        hash.write(name.as_bytes());
        hash.write(&[0]);
    }
    hash.id([0; 6])
}

/// FNV-1a over two lanes, mixed at the end: it must be the same in every version, and collide by no accident.
struct Hash(u64, u64);

impl Hash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            self.1 = (self.1.rotate_left(23) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    /// A UUID of version 7 with this time.
    fn id(&self, time: [u8; 6]) -> JobId {
        let mix = |mut x: u64| {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        let (high, low) = (mix(self.0 ^ self.1.rotate_left(32)).to_be_bytes(), mix(self.1).to_be_bytes());
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time);
        bytes[6..8].copy_from_slice(&high[..2]);
        bytes[8..].copy_from_slice(&low);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        JobId::from(uuid::Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_that_follow_are_the_same_for_the_same_cause_and_differ_otherwise() {
        let first = JobId::new();
        let mut seen = HashSet::from([first]);
        for n in 0..10_000 {
            assert!(seen.insert(follow(first, "kick", n)) && seen.insert(follow(first, "next", n)));
            assert_eq!(follow(first, "kick", n), follow(first, "kick", n));
        }
        assert_eq!(named(&["a", "b"]), named(&["a", "b"]));
        assert_ne!(named(&["a", "b"]), named(&["ab"]));
        // Part of the stored format.
        assert_eq!(named(&["a"]).to_string(), "00000000-0000-798e-bb67-d32ff1eab1fe");
    }

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
