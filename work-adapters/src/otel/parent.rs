/// How the span of an execution stands to the span of its producer.
///
/// ```
/// use work_adapters::otel::{OtelLayer, Parent};
///
/// let layer = OtelLayer::new().parent(Parent::Child);
/// assert_eq!(Parent::default(), Parent::Link);
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent {
    /// It is the root of a trace of its own, and links to the producer's: a trace ends when its request ends, however long
    /// the job waits.
    #[default]
    Link,
    /// It is a child of the producer's span, and links to it: the job is part of the producer's trace, and sampled with it.
    /// This is for the first attempt of a job that is due when it is made; retries, delayed jobs and those of a schedule
    /// are linked only.
    Child,
}
