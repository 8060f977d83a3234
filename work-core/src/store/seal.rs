use std::fmt;

use super::Settle;
use crate::StoreError;

/// What a settlement has to go through that does not go through the store which the job came from.
pub(crate) trait Seal: fmt::Debug + Send + Sync {
    fn seal(&self, settle: Settle) -> Result<Settle, StoreError>;
}
