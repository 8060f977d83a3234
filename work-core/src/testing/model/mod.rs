//! Random sequences of calls, to a store and to a model of one that is too simple to be wrong, as one test.
//!
//! [`model!`](crate::model) makes the test. After each call the answers are compared, and then everything that the store
//! holds. A sequence that makes a difference is shortened to what matters, and printed.
//!
//! ```
//! use std::sync::Arc;
//! use work_core::{Clock, store::{Inspect, MemoryStore}};
//!
//! async fn make(clock: Clock) -> Arc<dyn Inspect> {
//!     Arc::new(MemoryStore::with_clock(clock))
//! }
//!
//! work_core::model!(make);
//! # fn main() {}
//! ```

mod both;
mod call;
mod op;
mod reference;
mod seen;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use super::conformance::MakeStore;
use crate::JobId;

/// Makes one `#[test]` that does random sequences of calls to a store, and to a model of one.
///
/// The first argument is an `async fn(Clock) -> Arc<dyn Inspect>`, as for [`conformance!`](crate::conformance); the
/// second, if there is one, is a [`ModelTest`](crate::testing::model::ModelTest).
#[macro_export]
macro_rules! model {
    ($make:expr) => {
        $crate::model!($make, $crate::testing::model::ModelTest::new());
    };
    ($make:expr, $test:expr) => {
        #[test]
        fn any_sequence_of_calls_does_what_the_model_does() {
            $test.run(&$make);
        }
    };
}

/// How a store is compared with the model.
///
/// ```
/// use std::sync::Arc;
/// use work_core::store::{Inspect, MemoryStore};
/// use work_core::testing::model::{ModelTest, Part};
///
/// let make = async |clock| Arc::new(MemoryStore::with_clock(clock)) as Arc<dyn Inspect>;
/// let compared = ModelTest::new().cases(5).without(Part::Groups).run(&make);
/// assert_eq!(compared.cases, 5);
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is run"]
pub struct ModelTest {
    cases: u32,
    most: usize,
    without: Vec<Part>,
}

/// What a store that is under construction may not be able to do yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Unique keys [with a window](crate::Unique::within).
    Windows,
    /// Jobs that [replace the arguments](crate::OnConflict::ReplaceArgs) of the holder of their key.
    ReplaceArgs,
    /// [On-error jobs](crate::store::on_error_job) of dead letters that the store makes.
    OnError,
    /// That jobs of [groups](crate::store::GROUP_KIND) outlive any number of crashes.
    Groups,
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compared {
    /// How many sequences.
    pub cases: u32,
    /// How many calls.
    pub calls: u64,
}

/// The name of the worker in all leases.
const WORKER: &str = "model";

/// The environment variables that say how many sequences there are, and the number that they are made from.
const CASES: &str = "PROPTEST_CASES";
const SEED: &str = "PROPTEST_RNG_SEED";

impl Default for ModelTest {
    fn default() -> Self {
        Self { cases: 32, most: 60, without: Vec::new() }
    }
}

impl ModelTest {
    /// 32 sequences of at most 60 calls each, of all kinds.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many sequences, unless the environment variable `PROPTEST_CASES` says another number.
    pub const fn cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// How many calls a sequence has, at most; by default 60.
    pub const fn calls(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Leaves out what the store cannot do yet.
    pub fn without(mut self, part: Part) -> Self {
        self.without.push(part);
        self
    }

    /// Compares, on a runtime of its own. The sequences are other ones each time; the environment variable
    /// `PROPTEST_RNG_SEED` makes those of a seed that was printed.
    ///
    /// # Panics
    ///
    /// If the store does something else than the model, with the shortest sequence that was found.
    pub fn run(&self, make: &impl MakeStore) -> Compared {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let cases = number(CASES).and_then(|cases| u32::try_from(cases).ok()).unwrap_or(self.cases);
        // The random bits of an id.
        let seed = number(SEED).unwrap_or_else(|| JobId::new().as_uuid().as_u64_pair().1);
        let config = Config {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 5_000,
            ..Config::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let calls = AtomicU64::new(0);
        let ran = TestRunner::new(config).run(&op::ops(&self.without, self.most), |ops| {
            calls.fetch_add(ops.len() as u64, Ordering::Relaxed);
            runtime.block_on(both::compare(make, &ops)).map_err(TestCaseError::fail)
        });
        let calls = calls.into_inner();
        match ran {
            Ok(()) => Compared { cases, calls },
            Err(TestError::Fail(why, ops)) => {
                let (why, ops) = shorter(why.to_string(), ops, |ops| runtime.block_on(both::compare(make, ops)));
                panic!("{why}\n\nafter{}\n\nseed: {SEED}={seed}", listed(&ops));
            }
            Err(error) => panic!("{error}; seed: {SEED}={seed}"),
        }
    }
}

/// Without the calls that do not matter now that the others are as simple as can be.
fn shorter(
    mut why: String,
    mut ops: Vec<op::Op>,
    differs: impl Fn(&[op::Op]) -> Result<(), String>,
) -> (String, Vec<op::Op>) {
    let mut n = ops.len();
    while n > 0 {
        n -= 1;
        let mut fewer = ops.clone();
        fewer.remove(n);
        if let Err(still) = differs(&fewer) {
            (why, ops) = (still, fewer);
        }
    }
    (why, ops)
}

fn listed(ops: &[op::Op]) -> String {
    ops.iter().enumerate().map(|(n, op)| format!("\n{n:4}  {op:?}")).collect()
}
