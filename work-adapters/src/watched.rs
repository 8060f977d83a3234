/// The service and the future of a layer that only looks at the end of an execution.
///
/// `$seen` is what a `fn seen(&self, &Job) -> $seen` of the service makes before the call, since that may panic.
macro_rules! watched_service {
    ($service:ident, $layer:literal, $seen:ty) => {
        impl<S> $service<S> {
            inner_service_accessors!();
        }

        impl<S> ::tower_service::Service<::work_core::Job> for $service<S>
        where
            S: ::tower_service::Service<::work_core::Job, Response = ::work_core::Outcome>,
            S::Error: Into<::work_core::BoxError>,
        {
            ready_as_inner!();
            type Future = ResponseFuture<S::Future>;

            fn call(&mut self, job: ::work_core::Job) -> Self::Future {
                let seen = $crate::guard::Guard::new(job.context().clone(), self.seen(&job));
                ResponseFuture { future: Some(self.inner.call(job)), seen }
            }
        }

        opaque_debug!($service<S>);

        watched_future!($layer, $seen);
    };
}

/// The future of a layer that only looks at the end of an execution.
macro_rules! watched_future {
    ($layer:literal, $seen:ty) => {
        ::pin_project_lite::pin_project! {
            #[doc = concat!("The future of the service of a [`", $layer, "`].")]
            pub struct ResponseFuture<F> {
                // `None` once it has ended, so that it is dropped before the end is seen; and before `seen` if it is
                // dropped.
                #[pin]
                future: Option<F>,
                seen: $crate::guard::Guard<$seen>,
            }
        }

        impl<F, E> ::std::future::Future for ResponseFuture<F>
        where
            F: ::std::future::Future<Output = Result<::work_core::Outcome, E>>,
            E: Into<::work_core::BoxError>,
        {
            type Output = Result<::work_core::Outcome, ::work_core::BoxError>;

            fn poll(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Self::Output> {
                let mut this = self.project();
                let Some(future) = this.future.as_mut().as_pin_mut() else { return ::std::task::Poll::Pending };
                let result = ::std::task::ready!(future.poll(cx)).map_err(Into::into);
                this.future.set(None);
                this.seen.end(&result);
                ::std::task::Poll::Ready(result)
            }
        }

        opaque_debug!(ResponseFuture<F>);
    };
}
