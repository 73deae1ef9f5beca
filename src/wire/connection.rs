//! One client's connection after its startup: messages in, answers out, until it ends.
//!
//! Always: one ReadyForQuery per simple query or Sync, and after an error in the extended protocol nothing but skipping until Sync.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use pgwire::messages::startup::ParameterStatus;
use tokio_util::sync::CancellationToken;

use crate::engine::{Description, Outcome, Parameter, Session, TransactionStatus};
use crate::error::{Error, Kind, Result};
use crate::sql::{Discard, Parsed, Statement, located};
use crate::types::TextStyle;
use crate::wire::error_response::{error_response, notice_response};
use crate::wire::extended::{Portal, Prepared};
use crate::wire::frame::{Channel, Failure, Frame};

/// A connection and all that the protocol remembers of it.
pub(super) struct Connection {
    pub(super) channel: Channel,
    pub(super) session: Session,
    pub(super) style: TextStyle,
    pub(super) statements: Named<Arc<Prepared>>,
    pub(super) portals: Named<Portal>,
    /// Several statements share a transaction that nobody asked for: until the simple query ends, or Sync.
    pub(super) implicit: bool,
    /// An error was reported; what follows is ignored until Sync.
    pub(super) skipping: bool,
    shutdown: CancellationToken,
}

/// Things with names, where the empty name is the usual one and needs no hashing.
pub(super) struct Named<T> {
    unnamed: Option<T>,
    named: HashMap<String, T>,
}

impl<T> Named<T> {
    fn new() -> Self {
        Named { unnamed: None, named: HashMap::new() }
    }

    /// By name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Sets the unnamed one again, or adds a name.
    pub(super) fn insert(&mut self, name: &str, value: T) {
        if name.is_empty() {
            self.unnamed = Some(value);
        } else {
            self.named.insert(name.to_owned(), value);
        }
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }

    /// How many have a name.
    pub(super) fn len(&self) -> usize {
        self.named.len()
    }
}

impl Connection {
    /// Over an authenticated client.
    pub(super) fn new(channel: Channel, session: Session, shutdown: CancellationToken) -> Self {
        let mut style = TextStyle::default();
        session.followed_settings().iter().for_each(|(name, value)| apply_setting(&mut style, name, value));
        Connection { channel, session, style, statements: Named::new(), portals: Named::new(), implicit: false, skipping: false, shutdown }
    }

    /// Serves the client until it leaves, breaks the protocol, or the server shuts down.
    pub(super) async fn serve(mut self) {
        self.put_ready();
        let failure = match self.channel.flush().await {
            Ok(()) => self.serve_messages().await,
            Err(failure) => failure,
        };
        // A transaction that was left open is rolled back before the client hears of the end.
        self.portals.clear();
        if let Failure::Fatal(error) | Failure::Error(error) = failure {
            self.channel.put(&error_response(&error, true));
        }
        let Connection { channel, session, .. } = self;
        drop(session);
        channel.close().await;
    }

    async fn serve_messages(&mut self) -> Failure {
        loop {
            let idle_limit = self.session.idle_limit();
            // The usual client sends several messages at once: those that have come already need no waiting.
            let frame = match self.channel.next_buffered() {
                Ok(Some(frame)) => Ok(Some(frame)),
                Err(failure) => return failure,
                Ok(None) => tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    let text = "terminating connection due to administrator command";
                    return Failure::Fatal(Error::new(Kind::Shutdown, text));
                }
                error = self.session.ended() => return Failure::Fatal(error),
                frame = self.channel.next() => frame,
                () = limited(idle_limit) => {
                    let text = "terminating connection due to idle-in-transaction timeout";
                    return Failure::Fatal(Error::new(Kind::IdleInTransaction, text));
                }
                },
            };
            let served = match frame {
                Ok(Some(frame)) => self.serve_message(frame).await,
                Ok(None) => return Failure::Gone,
                Err(failure) => return failure,
            };
            if let Err(failure) = served {
                return failure;
            }
        }
    }

    /// One message. What comes back as an error ends the connection; all others were reported to the client.
    async fn serve_message(&mut self, frame: Frame) -> Result<(), Failure> {
        match frame.kind {
            b'S' => return self.sync().await,
            b'X' => return Err(Failure::Gone),
            // Left over from a COPY that failed: the client learns of it only now.
            b'd' | b'c' | b'f' => return Ok(()),
            _ if self.skipping => return Ok(()),
            b'Q' => return self.simple_query(&frame.body).await,
            b'F' => return self.refuse_function_call().await,
            b'H' => return self.channel.flush().await,
            _ => {}
        }
        let served = match frame.kind {
            b'B' => self.bind(&frame.body).await,
            b'E' => self.execute(&frame.body).await,
            b'P' => self.parse(&frame.body).await,
            b'D' => self.describe(&frame.body).await,
            b'C' => self.close(&frame.body),
            other => {
                let text = format!("invalid frontend message type {other}");
                return Err(Failure::Fatal(Error::new(Kind::Protocol, text)));
            }
        };
        match served {
            Err(Failure::Error(error)) => {
                self.put_error(&error);
                self.skipping = true;
                // Not kept for Sync: a driver that has sent Flush instead waits for an answer before it sends anything more.
                self.channel.flush().await
            }
            other => other,
        }
    }

    /// The old way to call a function; like a simple query it is answered with ReadyForQuery.
    async fn refuse_function_call(&mut self) -> Result<(), Failure> {
        self.put_error(&Error::not_supported("the function call message is not supported").hint("Use SELECT."));
        self.put_ready();
        self.channel.flush().await
    }

    /// Runs a statement, listening for what interrupts it and the end of the connection.
    pub(super) async fn run(
        &mut self,
        statement: &Arc<Parsed>,
        description: Option<&Description>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome, Failure> {
        if let Some(outcome) = self.deallocate(statement) {
            return Ok(outcome);
        }
        let interrupt = self.session.interrupt();
        let work = self.session.execute(statement, description, parameters);
        let outcome = self.channel.attend(&interrupt, work).await;
        if outcome.is_err() {
            self.session.abandon_statement();
        }
        self.put_notices();
        outcome
    }

    /// DEALLOCATE of a statement that was prepared by a message: drivers mix the two ways (psycopg does).
    fn deallocate(&mut self, parsed: &Parsed) -> Option<Outcome> {
        match &parsed.statement {
            Statement::Deallocate { name: None } | Statement::Discard(Discard::All) => {
                // The engine forgets its own as well.
                self.statements.clear();
                None
            }
            Statement::Deallocate { name: Some(name) } if self.session.transaction_status() != TransactionStatus::Failed => {
                // The session knows those that have a name as well.
                self.statements.remove(name).map(|_| {
                    self.session.forget_prepared(name);
                    Outcome::Done("DEALLOCATE".to_owned())
                })
            }
            _ => None,
        }
    }

    /// Reports an error; a transaction that is open has failed with it.
    pub(super) fn put_error(&mut self, error: &Error) {
        self.session.fail_transaction();
        self.put_notices();
        self.channel.put(&error_response(error, false));
        // None of them can run in a failed transaction, and they hold on to snapshots.
        self.portals.clear();
    }

    /// Reports what the session has to say, and settings that changed.
    pub(super) fn put_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.channel.put(&notice_response(&notice));
        }
        for (name, value) in self.session.take_parameter_changes() {
            apply_setting(&mut self.style, &name, &value);
            // Not one of the settings that PostgreSQL reports: only told to us.
            if name != "extra_float_digits" {
                self.channel.put(&ParameterStatus::new(name, value));
            }
        }
    }

    /// Ends the transaction that nobody asked for, if there is one.
    pub(super) async fn end_implicit(&mut self, ok: bool) {
        if std::mem::take(&mut self.implicit)
            && let Err(error) = self.session.end_implicit(ok).await
        {
            self.put_error(&error);
        }
    }

    /// Appends ReadyForQuery. Portals live no longer than their transaction.
    pub(super) fn put_ready(&mut self) {
        self.put_notices();
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Open => b'T',
            TransactionStatus::Failed => b'E',
        };
        if status != b'T' {
            self.portals.clear();
        }
        self.channel.out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
    }
}

/// Waits until the time is over; without a limit, for ever.
async fn limited(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Gives an error that comes with the rows of a statement its position in the text the client sent; others have theirs from the session.
pub(super) fn placed(failure: Failure, statement: &Parsed) -> Failure {
    match failure {
        Failure::Error(error) => Failure::Error(located(error, &statement.text).shifted(statement.offset)),
        other => other,
    }
}

/// Follows the settings that change how values look.
fn apply_setting(style: &mut TextStyle, name: &str, value: &str) {
    if name.eq_ignore_ascii_case("TimeZone") {
        // The session has checked the name; a zone that only it knows (a bare offset) shows as UTC.
        style.time_zone = value.parse::<Tz>().unwrap_or(Tz::UTC);
    } else if name == "extra_float_digits" {
        style.extra_float_digits = value.parse().unwrap_or(style.extra_float_digits);
    } else if name.eq_ignore_ascii_case("IntervalStyle") {
        style.interval_style = value.parse().unwrap_or(style.interval_style);
    }
}
