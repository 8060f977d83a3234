//! What every service of a layer writes the same.

/// The three ways to the service that a layer wraps.
macro_rules! inner_service_accessors {
    () => {
        /// The service inside.
        pub const fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The service inside, to change it.
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// The service inside, without this layer.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

/// What a service answers that is ready whenever the service inside is.
macro_rules! ready_as_inner {
    () => {
        type Response = ::work_core::Outcome;
        type Error = ::work_core::BoxError;

        fn poll_ready(
            &mut self,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<Result<(), ::work_core::BoxError>> {
            self.inner.poll_ready(cx).map_err(Into::into)
        }
    };
}

/// What a service answers that is always ready: the service inside is waited for later, if it is called at all.
macro_rules! always_ready {
    () => {
        type Response = ::work_core::Outcome;
        type Error = ::work_core::BoxError;

        fn poll_ready(
            &mut self,
            _: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<Result<(), ::work_core::BoxError>> {
            ::std::task::Poll::Ready(Ok(()))
        }
    };
}

/// Says the name alone: what is inside need not be `Debug`.
macro_rules! opaque_debug {
    ($type:ident<$inner:ident $(: $bound:path)?>) => {
        impl<$inner $(: $bound)?> ::std::fmt::Debug for $type<$inner> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    };
}
