//! Whether somebody still waits for work that cannot simply be dropped, because it does not pause: it looks now and then, and ends if nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

/// What the work looks at.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<AtomicBool>);

/// Held by who waits. The work ends when this is dropped.
#[derive(Debug)]
pub struct Waiting(Running);

impl Running {
    /// For who waits.
    pub fn waiting(&self) -> Waiting {
        Waiting(self.clone())
    }

    /// Whether nobody waits any more.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `57014` if nobody waits any more, so nobody sees it.
    pub fn check(&self) -> Result<()> {
        match self.is_over() {
            true => Err(Error::new(Kind::Canceled, "canceling statement due to user request")),
            false => Ok(()),
        }
    }

    /// Whether both are of the same work.
    pub fn is_same(&self, other: &Running) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Running;

    #[test]
    fn work_is_over_when_nobody_waits() {
        let running = Running::default();
        let waiting = running.waiting();
        assert!(running.check().is_ok());
        drop(waiting);
        assert!(running.is_over() && running.clone().check().is_err());
    }
}
