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
