use work_core::{BoxError, Context, Outcome, Status, status_of_result};

/// Tells its observer of the end of an execution exactly once, also if the layer's future is dropped.
pub(crate) struct Guard<O: Observe> {
    /// `None` once the end was seen.
    context: Option<Context>,
    observer: O,
}

/// What a layer does at the end of an execution.
pub(crate) trait Observe {
    /// `result` is what the service answered, if it did.
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>);
}

/// Somebody, or nobody.
impl<O: Observe> Observe for Option<O> {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        if let Some(observer) = self {
            observer.ended(status, result);
        }
    }
}

impl<O: Observe> Guard<O> {
    pub(crate) const fn new(context: Context, observer: O) -> Self {
        Self { context: Some(context), observer }
    }

    pub(crate) const fn observer(&self) -> &O {
        &self.observer
    }

    pub(crate) const fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// The service has answered.
    pub(crate) fn end(&mut self, result: &Result<Outcome, BoxError>) {
        if self.context.take().is_some() {
            self.observer.ended(status_of_result(result), Some(result));
        }
    }
}

impl<O: Observe> Drop for Guard<O> {
    fn drop(&mut self) {
        let Some(context) = self.context.take() else { return };
        // The panic comes first: a handler may have set a status and panicked then, and that ends with 500.
        let status = match context.status() {
            _ if std::thread::panicking() => Status::INTERNAL_ERROR,
            Some(status) => status,
            None => Status::CANCELLED,
        };
        self.observer.ended(status, None);
    }
}
