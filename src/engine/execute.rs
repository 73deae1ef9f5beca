//! One match over every `Statement`.

use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::engine::outcome::{Description, Outcome};
use crate::engine::session::Session;
use crate::engine::transaction::Transaction;
use crate::error::{Error, Kind, Result};
use crate::plan::{Planner, Scalar, Scope};
use crate::sql::{CopySubject, Discard, Parsed, Statement};
use crate::types::SqlType;

impl Session {
    /// What a statement takes and gives.
    pub(crate) async fn describe_statement(&mut self, parsed: &Arc<Parsed>, declared: &[Option<SqlType>]) -> Result<Description> {
        let plain = |columns| Ok(Description { parameters: known(declared), columns });
        match &parsed.statement {
            Statement::Query(query) => {
                let planned = self.plan(query, &parsed.text, declared).await?;
                Ok(Description { parameters: planned.bound.parameters.clone(), columns: Some(Arc::clone(&planned.bound.schema)) })
            }
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                let change = self.plan_change(parsed, declared, None).await?.change;
                Ok(Description { parameters: change.rows.parameters.clone(), columns: change.returning.map(|returning| returning.schema) })
            }
            Statement::Declare { query, .. } => {
                let Statement::Query(select) = &query.statement else { return plain(None) };
                let planned = self.plan(select, &query.text, declared).await?;
                Ok(Description { parameters: planned.bound.parameters.clone(), columns: None })
            }
            Statement::Fetch { name, skip: false, .. } => {
                let schema = Arc::clone(&self.cursor(name)?.schema);
                plain(Some(schema))
            }
            Statement::Execute { name, .. } => {
                let (prepared, types) = self.prepared_statement(name)?;
                let description = Box::pin(self.describe_statement(&prepared, &types)).await?;
                plain(description.columns)
            }
            Statement::Explain { .. } => plain(Some(crate::engine::explain::schema())),
            Statement::Show(show) => {
                let schema = self.show_schema(show)?;
                plain(Some(schema))
            }
            _ => plain(None),
        }
    }

    /// Runs a statement.
    pub(crate) async fn execute_statement(
        &mut self,
        parsed: &Arc<Parsed>,
        description: Option<&Description>,
        parameters: &[ArrayRef],
    ) -> Result<Outcome> {
        if let Some(command) = writes(&parsed.statement)
            && self.is_read_only()
        {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new(Kind::ReadOnlyTransaction, message));
        }
        let declared: Vec<Option<SqlType>> =
            description.map_or_else(Vec::new, |known| known.parameters.iter().cloned().map(Some).collect());
        match &parsed.statement {
            Statement::Query(query) => {
                let (schema, rows) = self.run_query(query, &parsed.text, &declared, parameters).await?;
                Ok(Outcome::Rows { schema, rows, tag: "SELECT" })
            }
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => self.run_change(parsed, &declared, parameters).await,
            Statement::Truncate { names } => {
                self.truncate(names).await?;
                done("TRUNCATE TABLE")
            }
            Statement::CreateTable(create) => self.create_table(create, parsed, false).await.and_then(|rows| match rows {
                Some(rows) => done(&format!("SELECT {rows}")),
                None => done(if create.query.is_some() { "CREATE TABLE AS" } else { "CREATE TABLE" }),
            }),
            Statement::CreateSource(create) => self.create_table(create, parsed, true).await.and(done("CREATE SOURCE")),
            Statement::CreateView(create) => self.create_view(create, parsed, false).await.and(done("CREATE VIEW")),
            Statement::CreateMaterializedView(create) => self.create_view(create, parsed, true).await.and(done("CREATE MATERIALIZED VIEW")),
            Statement::CreateSchema { name, if_not_exists } => self.create_schema(name, *if_not_exists).await.and(done("CREATE SCHEMA")),
            Statement::Drop { kind, names, if_exists, cascade } => {
                self.drop_objects(*kind, names, *if_exists, *cascade).await?;
                done(drop_tag(*kind))
            }
            Statement::Alter(alter) => {
                self.alter(alter).await?;
                done(&format!("ALTER {}", alter.kind.name().to_uppercase()))
            }
            Statement::CreateFunction(create) => self.create_function(create, parsed).await.and(done("CREATE FUNCTION")),
            Statement::CreateIndex(create) => self.create_index(create, parsed).await.and(done("CREATE INDEX")),
            Statement::CreateSink(create) => self.create_sink(create, parsed).await.and(done("CREATE SINK")),
            Statement::Comment { kind, name, column, text } => {
                self.comment(*kind, name, column.as_deref(), text.as_deref()).await?;
                done("COMMENT")
            }
            Statement::Explain { kind, statement } => self.explain(*kind, statement, parsed).await,
            Statement::Copy(copy) => match (&copy.subject, copy.from_client) {
                (CopySubject::Relation { name, columns }, true) => self.copy_from(name, columns, &copy.format).await,
                (CopySubject::Query(_), true) => Err(Error::new(Kind::Syntax, "COPY FROM takes a table, not a query")),
                (subject, false) => self.copy_to(subject, &copy.format, &parsed.text).await,
            },
            Statement::Show(show) => self.show(show),
            Statement::Flush => {
                self.commit_and_wait().await?;
                done("FLUSH")
            }
            _ => self.execute_session_statement(parsed, &declared, parameters).await,
        }
    }

    /// Statements about the session itself.
    async fn execute_session_statement(
        &mut self,
        parsed: &Arc<Parsed>,
        declared: &[Option<SqlType>],
        parameters: &[ArrayRef],
    ) -> Result<Outcome> {
        match &parsed.statement {
            Statement::Set { name, value, local } => {
                self.set(name, value.as_deref(), *local)?;
                done("SET")
            }
            Statement::Reset { name } => {
                self.reset(name.as_deref())?;
                done("RESET")
            }
            Statement::Begin { read_only } => self.begin(*read_only),
            Statement::Commit => self.end_block(true).await,
            Statement::Rollback => self.end_block(false).await,
            Statement::Savepoint(name) => self.savepoint(name),
            Statement::Release(name) => self.release(name),
            Statement::RollbackTo(name) => self.rollback_to(name),
            Statement::Prepare { name, types, statement } => {
                let types = types.iter().map(|data_type| crate::plan::sql_type(data_type).map(Some)).collect::<Result<Vec<_>>>()?;
                if self.prepared.contains_key(name) {
                    return Err(Error::new(Kind::DuplicateStatement, format!("prepared statement \"{name}\" already exists")));
                }
                self.prepared.insert(name.clone(), (Arc::new(Parsed::clone(statement)), types));
                done("PREPARE")
            }
            Statement::Execute { name, arguments } => self.execute_prepared(name, arguments).await,
            Statement::Deallocate { name } => {
                let Some(name) = name else {
                    self.prepared.clear();
                    return done("DEALLOCATE ALL");
                };
                self.prepared_statement(name)?;
                self.prepared.remove(name);
                done("DEALLOCATE")
            }
            Statement::Declare { name, hold, query, .. } => self.declare(name, *hold, query, declared, parameters).await,
            Statement::Fetch { name, count, skip } => self.fetch(name, *count, *skip).await,
            Statement::Close { name } => self.close_cursor(name.as_deref()),
            Statement::Discard(what) => {
                if *what == Discard::All {
                    self.cursors.clear();
                    self.prepared.clear();
                    self.set("session_authorization", None, false)?;
                    self.set("role", None, false)?;
                    self.reset(None)?;
                }
                done(what.tag())
            }
            Statement::NoOperation(tag @ "CHECKPOINT") => {
                self.engine.checkpoint().await?;
                done(tag)
            }
            Statement::NoOperation(tag) => done(tag),
            _ => Err(Error::internal("a statement that nobody executes")),
        }
    }

    fn begin(&mut self, read_only: Option<bool>) -> Result<Outcome> {
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => {
                self.warning(Error::new(Kind::ActiveTransaction, "there is already a transaction in progress"));
            }
            // What the same message wrote before BEGIN belongs to the block, as in PostgreSQL.
            Some(transaction) => {
                transaction.explicit = true;
                transaction.reads_at = None;
            }
            None => self.transaction = Some(Transaction::new(true, self.now_micros())),
        }
        if read_only.unwrap_or_else(|| self.settings.is_on("default_transaction_read_only")) {
            self.set("transaction_read_only", Some("on"), true)?;
        }
        done("BEGIN")
    }

    async fn end_block(&mut self, keep: bool) -> Result<Outcome> {
        if self.transaction.as_ref().is_none_or(|transaction| !transaction.explicit) {
            self.warning(Error::new(Kind::NoActiveTransaction, "there is no transaction in progress"));
        }
        if keep && !self.in_failed_transaction() {
            self.commit().await?;
            return done("COMMIT");
        }
        self.rollback()?;
        done("ROLLBACK")
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let before = self.settings.before(name)?.to_owned();
        // What a transaction may do ends with it, however it was said.
        let local = local || name == "transaction_read_only";
        if local && self.transaction.as_ref().is_none_or(|transaction| transaction.single) {
            self.warning(Error::new(Kind::NoActiveTransaction, "SET LOCAL and SET TRANSACTION can only be used in transaction blocks"));
            return Ok(());
        }
        let settings = self.settings.clone();
        let change = self.settings.set(name, value)?;
        if let Some(transaction) = &mut self.transaction {
            transaction.settings_before.get_or_insert(settings);
        }
        let now = self.settings.before(name)?.to_owned();
        if let Some(transaction) = &mut self.transaction {
            if local {
                transaction.local_settings.push((name.to_owned(), Some(before)));
            } else {
                // What is said for the session holds behind the block, whatever the block has said for itself before.
                let said = transaction.local_settings.iter_mut().filter(|(known, _)| known == name);
                said.for_each(|(_, value)| *value = Some(now.clone()));
            }
        }
        self.tell_change(change);
        Ok(())
    }

    /// Whether statements that write are refused: as the block says, or outside of one as the session does.
    fn is_read_only(&self) -> bool {
        let in_block = self.transaction.as_ref().is_some_and(|transaction| transaction.explicit);
        self.settings.is_on(if in_block { "transaction_read_only" } else { "default_transaction_read_only" })
    }

    fn reset(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            Some(name) => self.set(name, None, false),
            None => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.settings_before.get_or_insert_with(|| self.settings.clone());
                }
                self.settings.reset_all();
                for change in self.settings.followed() {
                    self.tell_change(Some(change));
                }
                Ok(())
            }
        }
    }

    fn prepared_statement(&self, name: &str) -> Result<(Arc<Parsed>, Vec<Option<SqlType>>)> {
        let found = self.prepared.get(name).cloned();
        found.ok_or_else(|| Error::new(Kind::UndefinedStatement, format!("prepared statement \"{name}\" does not exist")))
    }

    async fn execute_prepared(&mut self, name: &str, arguments: &[sqlparser::ast::Expr]) -> Result<Outcome> {
        let (prepared, types) = self.prepared_statement(name)?;
        let description = Box::pin(self.describe_statement(&prepared, &types)).await?;
        if description.parameters.len() != arguments.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = format!("Expected {} parameters but got {}.", description.parameters.len(), arguments.len());
            return Err(Error::new(Kind::Syntax, message).detail(detail));
        }
        let (arguments, types, now) = (arguments.to_vec(), description.parameters.clone(), self.now_micros());
        let evaluate = move |planner: &Planner, scope: &Scope<'_>| {
            let values =
                arguments.iter().zip(&types).map(|(value, sql_type)| planner.constant_text(&value.to_string(), sql_type, scope, now));
            values.collect::<Result<Vec<_>>>()
        };
        let catalog = self.engine.catalog();
        let (values, _) = self.planned(&catalog, "", evaluate).await?;
        Box::pin(self.execute_statement(&prepared, Some(&description), &values)).await
    }

    /// Makes what was written visible everywhere: waits until every view reflects it.
    async fn commit_and_wait(&mut self) -> Result<()> {
        self.commit().await?;
        self.engine.flush().await
    }
}

impl crate::engine::Engine {
    /// Waits until every view reflects everything that has been written.
    pub(crate) async fn flush(&self) -> Result<()> {
        let epoch = self.clock.newest_written();
        self.clock.wait_complete(epoch).await?;
        let epoch = self.settle_all_sinks().await;
        self.clock.wait_complete(epoch).await
    }

    /// Makes a checkpoint now.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        let (reply, made) = tokio::sync::oneshot::channel();
        self.ask(crate::engine::coordinator::Request::Checkpoint { reply })?;
        made.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))
    }

    /// The value of an expression without columns, at this moment.
    pub(crate) fn constant(&self, text: &str, sql_type: &SqlType) -> Result<ArrayRef> {
        let catalog = self.catalog();
        let scope = crate::plan::Scope { catalog: &catalog, search_path: &[], relations: &crate::plan::NoSystemRelations, text };
        self.planner.constant_text(text, sql_type, &scope, self.wall.now_micros())
    }

    /// What fills a column with its default, in rows whatever they are, each by itself.
    pub(crate) fn default_expression(&self, text: &str, sql_type: &SqlType, now_micros: i64) -> Result<Scalar> {
        let catalog = self.catalog();
        let scope = crate::plan::Scope { catalog: &catalog, search_path: &[], relations: &crate::plan::NoSystemRelations, text };
        self.planner.default_expression(text, sql_type, &scope, now_micros)
    }
}

/// The command, if it is one that changes rows or definitions.
fn writes(statement: &Statement) -> Option<&'static str> {
    Some(match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        Statement::Truncate { .. } => "TRUNCATE TABLE",
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateSource(_) => "CREATE SOURCE",
        Statement::CreateView(_) => "CREATE VIEW",
        Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::Drop { kind, .. } => drop_tag(*kind),
        Statement::CreateFunction(_) => "CREATE FUNCTION",
        Statement::CreateIndex(_) => "CREATE INDEX",
        Statement::CreateSink(_) => "CREATE SINK",
        Statement::Comment { .. } => "COMMENT",
        Statement::Alter(alter) => match alter.kind {
            crate::sql::DropKind::Source => "ALTER SOURCE",
            crate::sql::DropKind::View => "ALTER VIEW",
            crate::sql::DropKind::MaterializedView => "ALTER MATERIALIZED VIEW",
            crate::sql::DropKind::Index => "ALTER INDEX",
            crate::sql::DropKind::Sink => "ALTER SINK",
            _ => "ALTER TABLE",
        },
        Statement::Copy(copy) if copy.from_client => "COPY FROM",
        _ => return None,
    })
}

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Done(tag.to_owned()))
}

/// Parameters of a statement that takes none of its own: as declared.
fn known(declared: &[Option<SqlType>]) -> Vec<SqlType> {
    declared.iter().map(|declared| declared.clone().unwrap_or(SqlType::Text)).collect()
}

fn drop_tag(kind: crate::sql::DropKind) -> &'static str {
    use crate::sql::DropKind;
    match kind {
        DropKind::Table => "DROP TABLE",
        DropKind::Source => "DROP SOURCE",
        DropKind::View => "DROP VIEW",
        DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
        DropKind::Index => "DROP INDEX",
        DropKind::Function => "DROP FUNCTION",
        DropKind::Sink => "DROP SINK",
        DropKind::Schema => "DROP SCHEMA",
    }
}
