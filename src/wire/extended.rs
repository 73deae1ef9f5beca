//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.
//!
//! A statement is described when it is parsed, so that mistakes show at Parse and Bind knows the types; a portal is a statement with its
//! values, and, once it has run into a row limit, the rest of its rows.

use std::sync::Arc;

use chrono_tz::Tz;
use pgwire::messages::data::ParameterDescription;

use crate::engine::{Description, Outcome, Parameter};
use crate::error::{Error, Kind, Result};
use crate::sql::{Parsed, Statement};
use crate::types::SqlType;
use crate::wire::connection::{Connection, placed};
use crate::wire::decode::parameter;
use crate::wire::encode::Format;
use crate::wire::frame::Failure;
use crate::wire::message::{Bind, Parse, Target, read_execute};
use crate::wire::rows::{Cursor, put_complete, row_description, types_of};
use crate::wire::type_oid::{oid_of, type_of_oid};

/// Named statements per connection. Drivers keep a few hundred; a program that prepares under ever new names is told so.
const STATEMENTS_MAX: usize = 10_000;

/// Named portals per connection: each may hold a batch of rows.
const PORTALS_MAX: usize = 1_000;

/// A prepared statement.
pub(super) struct Prepared {
    /// `None`: an empty text.
    statement: Option<Arc<Parsed>>,
    /// Types that the client declared.
    declared: Vec<Option<SqlType>>,
    description: Description,
    /// The types of the described columns.
    types: Arc<[SqlType]>,
}

/// A statement with its values.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    formats: Arc<[Format]>,
    state: PortalState,
}

/// How far a portal has come.
enum PortalState {
    /// Not run yet.
    Bound(Vec<Parameter>),
    /// Has rows left.
    Suspended(Cursor),
    /// Has given its last row, with this tag.
    Exhausted(&'static str),
    /// Has run, and gives no rows.
    Done,
}

impl Connection {
    /// Parse: a statement is analysed and kept.
    pub(super) async fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let message = Parse::read(body)?;
        if !message.name.is_empty() {
            if self.statements.get(message.name).is_some() || self.session.prepared_by_name(message.name).is_some() {
                let text = format!("prepared statement \"{}\" already exists", message.name);
                return Err(Error::new(Kind::DuplicateStatement, text).into());
            }
            if self.statements.len() >= STATEMENTS_MAX {
                let error = Error::new(Kind::LimitExceeded, format!("more than {STATEMENTS_MAX} prepared statements"));
                return Err(error.hint("Close those that are no longer needed.").into());
            }
        }
        let declared = message.types.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let mut statements = self.session.parse(message.text).await?;
        if statements.len() > 1 {
            return Err(Error::new(Kind::Syntax, "cannot insert multiple commands into a prepared statement").into());
        }
        let statement = statements.pop();
        let description = self.describe_statement(statement.as_ref(), &declared).await?;
        let types = description.columns.as_ref().map_or_else(|| Arc::from([]), types_of);
        // EXECUTE finds it, too: there is one set of names.
        if let Some(statement) = statement.as_ref().filter(|_| !message.name.is_empty()) {
            self.session.note_prepared(message.name, statement, &declared);
        }
        self.statements.insert(message.name, Arc::new(Prepared { statement, declared, description, types }));
        self.channel.put_bare(b'1');
        Ok(())
    }

    async fn describe_statement(&mut self, statement: Option<&Arc<Parsed>>, declared: &[Option<SqlType>]) -> Result<Description, Failure> {
        let Some(statement) = statement else { return Ok(Description { parameters: Vec::new(), columns: None }) };
        self.session.begin_message();
        self.session.begin_statement();
        let interrupt = self.session.interrupt();
        let work = self.session.describe(statement, declared);
        self.channel.attend(&interrupt, work).await
    }

    /// Bind: values are decoded and the formats of the results fixed.
    pub(super) async fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let message = Bind::read(body)?;
        let prepared = self.prepared(message.statement).await?;
        self.refuse_in_failed(&prepared)?;
        if !message.portal.is_empty() {
            if self.portals.get(message.portal).is_some() {
                let text = format!("portal \"{}\" already exists", message.portal);
                return Err(Error::new(Kind::DuplicateCursor, text).into());
            }
            if self.portals.len() >= PORTALS_MAX {
                return Err(Error::new(Kind::LimitExceeded, format!("more than {PORTALS_MAX} open portals")).into());
            }
        }
        let parameters = decode_parameters(&prepared, &message, self.style.time_zone)?;
        let formats = result_formats(&prepared, &message)?;
        self.portals.insert(message.portal, Portal { prepared, formats, state: PortalState::Bound(parameters) });
        self.channel.put_bare(b'2');
        Ok(())
    }

    /// A statement that was prepared by a message, or by PREPARE.
    async fn prepared(&mut self, name: &str) -> Result<Arc<Prepared>, Failure> {
        if let Some(prepared) = self.statements.get(name) {
            return Ok(Arc::clone(prepared));
        }
        if let Some((statement, declared)) = self.session.prepared_by_name(name) {
            let description = self.describe_statement(Some(&statement), &declared).await?;
            let types = description.columns.as_ref().map_or_else(|| Arc::from([]), types_of);
            return Ok(Arc::new(Prepared { statement: Some(statement), declared, description, types }));
        }
        let text = if name.is_empty() {
            "unnamed prepared statement does not exist".to_owned()
        } else {
            format!("prepared statement \"{name}\" does not exist")
        };
        Err(Error::new(Kind::UndefinedStatement, text).into())
    }

    /// In a failed transaction nothing is described, nor bound, but what ends it.
    fn refuse_in_failed(&self, prepared: &Prepared) -> Result<()> {
        prepared.statement.as_ref().map_or(Ok(()), |statement| self.session.refuse_in_failed(statement))
    }

    /// Describe: of a statement its parameters and columns, of a portal its columns in their formats.
    pub(super) async fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (prepared, formats) = match Target::read(body)? {
            Target::Statement(name) => {
                let prepared = self.prepared(name).await?;
                self.refuse_in_failed(&prepared)?;
                let types = prepared.description.parameters.iter().map(oid_of).collect();
                self.channel.put(&ParameterDescription::new(types));
                (prepared, Arc::from([]))
            }
            // A cursor of SQL's is a portal, too: psycopg asks what it has declared.
            Target::Portal(name) if self.portals.get(name).is_none() && self.session.cursor_schema(name).is_some() => {
                let schema = self.session.cursor_schema(name).ok_or_else(|| undefined_portal(name))?;
                self.channel.put(&row_description(&schema, &types_of(&schema), &[]));
                return Ok(());
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| undefined_portal(name))?;
                self.refuse_in_failed(&portal.prepared)?;
                (Arc::clone(&portal.prepared), Arc::clone(&portal.formats))
            }
        };
        match &prepared.description.columns {
            Some(schema) => self.channel.put(&row_description(schema, &prepared.types, &formats)),
            None => self.channel.put_bare(b'n'),
        }
        Ok(())
    }

    /// Close: of what is not there is no error.
    pub(super) fn close(&mut self, body: &[u8]) -> Result<(), Failure> {
        match Target::read(body)? {
            Target::Statement(name) => {
                self.statements.remove(name);
                self.session.forget_prepared(name);
            }
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.channel.put_bare(b'3');
        Ok(())
    }

    /// Execute: runs a portal, or goes on with it.
    pub(super) async fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, rows_max) = read_execute(body)?;
        // Taken out while it runs: one that fails is gone.
        let portal = self.portals.remove(name).ok_or_else(|| undefined_portal(name))?;
        let ends_transaction =
            portal.prepared.statement.as_ref().is_some_and(|parsed| matches!(parsed.statement, Statement::Commit | Statement::Rollback));
        let portal = self.run_portal(portal, rows_max).await?;
        if ends_transaction {
            self.portals.clear();
        } else {
            self.portals.insert(name, portal);
        }
        Ok(())
    }

    async fn run_portal(&mut self, portal: Portal, rows_max: Option<u64>) -> Result<Portal, Failure> {
        let Portal { prepared, formats, state } = portal;
        self.session.begin_message();
        self.session.begin_statement();
        let state = match state {
            PortalState::Bound(parameters) => self.start_portal(&prepared, &formats, parameters, rows_max).await?,
            PortalState::Suspended(cursor) => self.continue_portal(cursor, rows_max).await?,
            PortalState::Exhausted(tag) => {
                put_complete(tag, 0, &mut self.channel.out);
                PortalState::Exhausted(tag)
            }
            PortalState::Done => return Err(Error::new(Kind::ObjectState, "portal cannot be run twice").into()),
        };
        Ok(Portal { prepared, formats, state })
    }

    async fn start_portal(
        &mut self,
        prepared: &Prepared,
        formats: &Arc<[Format]>,
        parameters: Vec<Parameter>,
        rows_max: Option<u64>,
    ) -> Result<PortalState, Failure> {
        let Some(statement) = &prepared.statement else {
            self.channel.put_bare(b'I');
            return Ok(PortalState::Bound(parameters));
        };
        // A single statement before Sync is a transaction of its own, without the cost of saying so.
        if self.implicit || self.channel.next_kind() != Some(b'S') {
            self.session.begin_implicit();
            self.implicit = true;
        }
        match self.run(statement, Some(&prepared.description), parameters).await? {
            Outcome::Rows { schema, rows, tag } => {
                let described = prepared.description.columns.as_ref();
                let same = described.is_some_and(|described| Arc::ptr_eq(described, &schema));
                if !same && (described.is_none() || !types_of(&schema).iter().map(oid_of).eq(prepared.types.iter().map(oid_of))) {
                    return Err(Error::not_supported("cached plan must not change result type").into());
                }
                let cursor = Cursor::new(rows, Arc::clone(&prepared.types), Arc::clone(formats), tag);
                self.continue_portal(cursor, rows_max).await.map_err(|failure| placed(failure, statement))
            }
            other => {
                self.deliver(other).await?;
                Ok(PortalState::Done)
            }
        }
    }

    /// Sends rows up to the limit, and says whether there may be more.
    async fn continue_portal(&mut self, mut cursor: Cursor, rows_max: Option<u64>) -> Result<PortalState, Failure> {
        let interrupt = self.session.interrupt();
        let sent = cursor.send(&mut self.channel, &self.style, &interrupt, rows_max).await?;
        self.put_notices();
        if cursor.is_finished() {
            cursor.put_complete(sent, &mut self.channel.out);
            Ok(PortalState::Exhausted(cursor.tag()))
        } else {
            self.channel.put_bare(b's');
            Ok(PortalState::Suspended(cursor))
        }
    }

    /// Sync: the end of a sequence, and of skipping after an error.
    pub(super) async fn sync(&mut self) -> Result<(), Failure> {
        let ok = !std::mem::take(&mut self.skipping);
        self.end_implicit(ok).await;
        self.put_ready();
        self.channel.flush().await
    }
}

/// A declared type: 0 and `unknown` leave it to the statement.
fn declared_type(oid: u32) -> Result<Option<SqlType>> {
    /// What drivers send for a literal whose type is to be found.
    const UNKNOWN: u32 = 705;
    if matches!(oid, 0 | UNKNOWN) {
        return Ok(None);
    }
    let undefined = || Error::new(Kind::UndefinedObject, format!("type with OID {oid} does not exist"));
    type_of_oid(oid).map(Some).ok_or_else(undefined)
}

fn undefined_portal(name: &str) -> Error {
    Error::new(Kind::UndefinedCursor, format!("portal \"{name}\" does not exist"))
}

fn decode_parameters(prepared: &Prepared, message: &Bind<'_>, zone: Tz) -> Result<Vec<Parameter>> {
    let types = &prepared.description.parameters;
    if message.values.len() != types.len() {
        let text = format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            message.values.len(),
            message.statement,
            types.len()
        );
        return Err(Error::new(Kind::Protocol, text));
    }
    let decode = |(index, (value, described)): (usize, (&Option<&[u8]>, &SqlType))| {
        let declared = prepared.declared.get(index).and_then(Option::as_ref);
        parameter(declared, described, message.formats.get(index)?, *value, zone)
    };
    message.values.iter().zip(types).enumerate().map(decode).collect()
}

fn result_formats(prepared: &Prepared, message: &Bind<'_>) -> Result<Arc<[Format]>> {
    let (codes, columns) = (message.result_formats, prepared.types.len());
    if codes.len() > 1 && codes.len() != columns {
        let text = format!("bind message has {} result formats but query has {columns} columns", codes.len());
        return Err(Error::new(Kind::Protocol, text));
    }
    (0..columns).map(|index| codes.get(index)).collect()
}
