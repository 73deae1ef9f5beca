//! What ends a statement before it is done: its client's cancel request, its time limit, the end of the connection.
//!
//! Always: a statement that can no longer be undone is not ended any more. While it is shielded, whoever would end it waits, so what the client
//! is told is what happened.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// What may end the statement that a session runs.
#[derive(Clone, Debug)]
pub struct Interrupt {
    cancelled: CancellationToken,
    ended: CancellationToken,
    deadline: Option<Instant>,
    shield: Shield,
}

/// How something ended that could be interrupted.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself.
    Done(T),
    /// By a cancel request or its time limit, as the error says.
    Interrupted(Error),
    /// Because nobody is there any more who waits for it.
    Left,
}

/// How many parts that cannot be undone a session's statement is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shield(Arc<AtomicUsize>);

/// While it lives, the statement is not ended.
pub(crate) struct Shielded(Shield);

impl Interrupt {
    pub(crate) fn new(cancelled: CancellationToken, ended: CancellationToken, deadline: Option<Instant>, shield: Shield) -> Self {
        Interrupt { cancelled, ended, deadline, shield }
    }

    /// `57014` if the statement is to end, `57P01` if the session is.
    pub fn check(&self) -> Result<()> {
        if self.ended.is_cancelled() {
            return Err(terminated());
        }
        if self.cancelled.is_cancelled() {
            return Err(cancelled());
        }
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(timed_out()),
            _ => Ok(()),
        }
    }

    /// Waits until the statement is to end, and gives the error that says why. May be dropped while it waits.
    pub async fn fired(&self) -> Error {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => terminated(),
            () = self.cancelled.cancelled() => cancelled(),
            () = deadline => timed_out(),
        }
    }

    /// Waits for `work`, unless it is interrupted or `left` comes: then `work` is dropped, but not while it is shielded.
    pub async fn attend<T>(&self, work: impl Future<Output = T>, left: impl Future<Output = ()>) -> Ended<T> {
        let (mut work, mut fired, mut left) = (pin!(work), pin!(self.fired()), pin!(left));
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ended::Done(done));
            }
            // Only `work` lowers the shield: then we have just been woken, and look at the others below.
            if self.shield.is_raised() {
                return Poll::Pending;
            }
            if let Poll::Ready(error) = fired.as_mut().poll(context) {
                return Poll::Ready(Ended::Interrupted(error));
            }
            left.as_mut().poll(context).map(|()| Ended::Left)
        })
        .await
    }
}

impl Shield {
    /// From here on, until what comes back is dropped, the statement cannot be undone.
    pub(crate) fn raise(&self) -> Shielded {
        self.0.fetch_add(1, Ordering::Relaxed);
        Shielded(self.clone())
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `57P01`: the session ends with its statement.
pub(crate) fn terminated() -> Error {
    Error::new(Kind::Shutdown, "terminating connection due to administrator command")
}

/// `57014`, as PostgreSQL words it.
fn cancelled() -> Error {
    Error::new(Kind::Canceled, "canceling statement due to user request")
}

/// The same for `statement_timeout`.
fn timed_out() -> Error {
    Error::new(Kind::Canceled, "canceling statement due to statement timeout")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::{Ended, Interrupt, Shield};

    #[tokio::test]
    async fn what_cannot_be_undone_is_waited_for() {
        let (token, shield) = (CancellationToken::new(), Shield::default());
        let interrupt = Interrupt::new(token.clone(), CancellationToken::new(), None, shield.clone());
        let work = async {
            let shielded = shield.raise();
            token.cancel();
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(shielded);
            "done"
        };
        assert!(matches!(interrupt.attend(work, std::future::ready(())).await, Ended::Done("done")));
        let work = async {
            drop(shield.raise());
            pending::<()>().await;
        };
        assert!(matches!(interrupt.attend(work, pending()).await, Ended::Interrupted(_)));
    }

    #[tokio::test]
    async fn time_runs_out() {
        let interrupt = Interrupt::new(CancellationToken::new(), CancellationToken::new(), Some(Instant::now()), Shield::default());
        assert!(interrupt.check().is_err());
        assert!(matches!(interrupt.attend(pending::<()>(), pending()).await, Ended::Interrupted(_)));
    }
}
