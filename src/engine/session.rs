//! One client's session: its settings, its transaction, its cursors, and what it has been told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::engine::cursor::Cursor;
use crate::engine::interrupt::{Interrupt, Shield, terminated};
use crate::engine::outcome::{Description, Notice, Outcome, Parameter, TransactionStatus};
use crate::engine::query::PlanCache;
use crate::engine::registry::Entered;
use crate::engine::settings::Settings;
use crate::engine::transaction::Transaction;
use crate::error::{Error, Kind, Result};
use crate::sql::{Parsed, Statement, located};
use crate::types::SqlType;

/// The one database there is, by the names under which clients look for it: its own, PostgreSQL's default, and the field's.
const DATABASES: &[&str] = &["tidemill", "postgres", "dev"];

/// Longer texts are parsed where queries are planned: this one takes less than a millisecond, one of many megabytes seconds.
const PARSED_AT_ONCE_BYTES: usize = 32 << 10;

/// What a client says when it connects.
#[derive(Clone, Debug)]
pub struct Startup {
    /// Who it wants to be.
    pub user: String,
    /// Which database it wants.
    pub database: String,
    /// Everything else: settings by name.
    pub parameters: Vec<(String, String)>,
    /// Where it comes from.
    pub peer: String,
}

/// A call of set_config().
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Until the end of the transaction.
    pub(crate) local: bool,
}

/// One client's session. Used by one task at a time.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) user: String,
    pub(crate) database: String,
    process_id: i32,
    secret: i32,
    cancel: CancellationToken,
    ended: CancellationToken,
    /// When the running statement's time is over.
    deadline: Option<Instant>,
    /// When the message came that runs, in microseconds since 1970.
    began_micros: i64,
    /// Raised while the running statement cannot be undone.
    pub(crate) shield: Shield,
    pub(crate) settings: Settings,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    /// How many there have been.
    pub(crate) cursors_declared: u64,
    /// By PREPARE, and the protocol's that have a name: those are the wire's, too.
    pub(crate) prepared: BTreeMap<String, (Arc<Parsed>, Vec<Option<SqlType>>)>,
    pub(crate) plans: PlanCache,
    notices: Vec<Notice>,
    /// What calls of set_config() ask for. A query's rows are made while they are sent, so it takes effect at the end of the statement.
    pub(crate) configured: Arc<Mutex<Vec<Configured>>>,
    changes: Vec<(String, String)>,
}

impl Engine {
    /// Opens a session.
    pub fn connect(self: &Arc<Self>, startup: Startup) -> Result<Session> {
        let database = if startup.database.is_empty() { startup.user.clone() } else { startup.database.clone() };
        // A client that names no database asks for the one called like its user, which is as good as none.
        if !DATABASES.contains(&database.as_str()) && database != startup.user {
            let error = Error::new(Kind::UndefinedDatabase, format!("database \"{database}\" does not exist"));
            return Err(error.hint("There is one database; its name is \"tidemill\"."));
        }
        let mut settings = Settings::of_session(&startup.user, self.config.max_connections);
        for (name, value) in &startup.parameters {
            match name.as_str() {
                "options" => start_options(&mut settings, value)?,
                name if name.starts_with("_pq_.") || name == "replication" => {}
                // PostgreSQL ends the connection here, too.
                name => drop(settings.set(&name.to_ascii_lowercase(), Some(value))?),
            }
        }
        settings.start();
        let application = settings.known("application_name").to_owned();
        let now = self.wall.now_micros();
        let Entered { process_id, secret, cancel, ended } =
            self.registry.enter(self.config.max_connections, &startup.user, &startup.peer, &application, now)?;
        Ok(Session {
            engine: Arc::clone(self),
            user: startup.user,
            database: "tidemill".to_owned(),
            process_id,
            secret,
            cancel,
            ended,
            deadline: None,
            began_micros: now,
            shield: Shield::default(),
            settings,
            transaction: None,
            cursors: BTreeMap::new(),
            cursors_declared: 0,
            prepared: BTreeMap::new(),
            plans: PlanCache::default(),
            notices: Vec::new(),
            configured: Arc::default(),
            changes: Vec::new(),
        })
    }

    /// Stops what the client of this number and secret is running.
    pub fn cancel(&self, process_id: i32, secret: i32) {
        self.registry.cancel(process_id, Some(secret));
    }

    /// Ends all sessions, with what they run.
    pub fn end_sessions(&self) {
        self.registry.end(None);
    }
}

/// `-c name=value` and `--name=value`, as libpq sends PGOPTIONS.
fn start_options(settings: &mut Settings, text: &str) -> Result<()> {
    let words = option_words(text);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let assignment = if word == "-c" { words.next() } else { word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) };
        if let Some((name, value)) = assignment.and_then(|assignment| assignment.split_once('=')) {
            settings.set(&name.replace('-', "_").to_ascii_lowercase(), Some(value))?;
        }
    }
    Ok(())
}

/// The words of a text, between blanks; a backslash makes the next character part of its word.
fn option_words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            (blank, _) if blank.is_whitespace() => words.push(String::new()),
            ('\\', Some(word)) => word.extend(characters.next()),
            (plain, Some(word)) => word.push(plain),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Session {
    /// The number by which the client can be cancelled.
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// What a cancel request must name beside the number.
    pub fn secret(&self) -> i32 {
        self.secret
    }

    /// Text → statements; none for an empty text.
    pub async fn parse(&mut self, text: &str) -> Result<Vec<Arc<Parsed>>> {
        let parsed = if text.len() <= PARSED_AT_ONCE_BYTES {
            crate::sql::parse(text)?
        } else {
            let text = text.to_owned();
            self.engine.queries.plan(move || crate::sql::parse(&text)).await?
        };
        for name in crate::sql::long_names(text) {
            let message =
                format!("identifier \"{name}\" will be truncated to \"{}\"", crate::sql::cut_name(&name, crate::sql::NAME_BYTES_MAX));
            self.notice(Error::new(Kind::NameTooLong, message));
        }
        Ok(parsed.into_iter().map(Arc::new).collect())
    }

    /// What a statement takes and gives. `declared`: the parameter types that the client named.
    pub async fn describe(&mut self, statement: &Arc<Parsed>, declared: &[Option<SqlType>]) -> Result<Description> {
        self.refuse_in_failed(statement)?;
        let described = self.describe_statement(statement, declared).await;
        described.map_err(|error| self.note_failure(located(error, &statement.text).shifted(statement.offset)))
    }

    /// Runs a statement. An error inside a transaction block marks it failed.
    pub async fn execute(
        &mut self,
        statement: &Arc<Parsed>,
        description: Option<&Description>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome> {
        self.engine.registry.note(self.process_id, Some(&statement.text));
        let result = match self.refuse_in_failed(statement) {
            Ok(()) => self.execute_statement(statement, description, &parameters).await,
            Err(error) => Err(error),
        };
        let result = match result {
            // COPY goes on when its rows come: until it has all of them it is what the session runs.
            Ok(outcome @ Outcome::CopyIn { .. }) => return Ok(outcome),
            Ok(outcome) => self.end_single(true).await.map(|()| outcome),
            Err(error) => {
                self.end_single(false).await?;
                Err(error)
            }
        };
        self.note_done();
        result.map_err(|error| self.note_failure(located(error, &statement.text).shifted(statement.offset)))
    }

    /// A message has come, whose statements all have this time.
    pub fn begin_message(&mut self) {
        self.began_micros = self.engine.wall.now_micros();
    }

    /// Statements from here on are one transaction, until `end_implicit` or a COMMIT.
    pub fn begin_implicit(&mut self) {
        if self.transaction.is_none() {
            self.transaction = Some(Transaction::new(false, self.now_micros()));
        }
    }

    /// What `now()` means, in microseconds since 1970: when the transaction began, or when the message came if there is none.
    pub(crate) fn now_micros(&self) -> i64 {
        self.transaction.as_ref().map_or(self.began_micros, |transaction| transaction.began_micros)
    }

    /// Ends the implicit transaction, if there is one: what it wrote is durable when this returns.
    pub async fn end_implicit(&mut self, ok: bool) -> Result<()> {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.explicit) {
            return Ok(());
        }
        let keep = ok && !self.in_failed_transaction();
        if keep { self.commit().await } else { self.rollback() }
    }

    /// Ends the transaction of a statement that stands alone.
    pub(crate) async fn end_single(&mut self, keep: bool) -> Result<()> {
        if self.transaction.as_ref().is_none_or(|transaction| !transaction.single) {
            return Ok(());
        }
        if keep { self.commit().await } else { self.rollback() }
    }

    /// The client broke the protocol within a transaction block.
    pub fn fail_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }

    /// A prepared statement, with the parameter types that were declared: by PREPARE, or as noted.
    pub fn prepared_by_name(&self, name: &str) -> Option<(Arc<Parsed>, Vec<Option<SqlType>>)> {
        self.prepared.get(name).cloned()
    }

    /// Lets EXECUTE find a statement that a message has prepared.
    pub fn note_prepared(&mut self, name: &str, statement: &Arc<Parsed>, declared: &[Option<SqlType>]) {
        self.prepared.insert(name.to_owned(), (Arc::clone(statement), declared.to_vec()));
    }

    /// Forgets a prepared statement, if there is one of this name.
    pub fn forget_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    /// Where the session stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(transaction) if transaction.explicit && transaction.failed => TransactionStatus::Failed,
            Some(transaction) if transaction.explicit => TransactionStatus::Open,
            _ => TransactionStatus::Idle,
        }
    }

    /// How long the client may leave it where it stands: an open transaction holds tables, and an epoch that everyone must keep.
    pub fn idle_limit(&self) -> Option<Duration> {
        let limit = self.settings.duration_ms("idle_in_transaction_session_timeout");
        (limit > 0 && self.transaction.is_some()).then(|| Duration::from_millis(limit))
    }

    /// What is to be told beside the answer.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The settings that a client is told at the start.
    pub fn parameter_status(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    /// Those that the connection has to know from the start: what `parameter_status` tells the client, and how values look.
    pub fn followed_settings(&self) -> Vec<(String, String)> {
        self.settings.followed()
    }

    /// Reported settings that changed.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.apply_configured();
        std::mem::take(&mut self.changes)
    }

    /// What ends the running statement before it is done.
    pub fn interrupt(&self) -> Interrupt {
        Interrupt::new(self.cancel.clone(), self.ended.clone(), self.deadline, self.shield.clone())
    }

    /// Waits until the session is to end, and gives the error that says so.
    pub fn ended(&self) -> impl Future<Output = Error> + use<> {
        let ended = self.ended.clone();
        async move {
            ended.cancelled().await;
            terminated()
        }
    }

    /// Called before each statement: an earlier cancel request is forgotten, and its time begins.
    pub fn begin_statement(&mut self) {
        self.apply_configured();
        if self.cancel.is_cancelled() {
            self.cancel = self.engine.registry.renew(self.process_id);
        }
        let limit = self.settings.duration_ms("statement_timeout");
        self.deadline = (limit > 0).then(|| Instant::now() + Duration::from_millis(limit));
    }

    /// The running statement was dropped before it was done: a transaction of its own leaves nothing behind, no lock and no row.
    pub fn abandon_statement(&mut self) {
        self.note_done();
        if self.transaction.as_ref().is_some_and(|transaction| transaction.single) {
            // Forgetting what was written cannot fail.
            drop(self.rollback());
        }
    }

    /// Nothing runs any more.
    pub(crate) fn note_done(&self) {
        self.engine.registry.note(self.process_id, None);
    }

    /// The time zone in which times are printed.
    pub fn time_zone(&self) -> String {
        self.settings.known("timezone").to_owned()
    }

    fn apply_configured(&mut self) {
        let configured = std::mem::take(&mut *self.configured.lock());
        for Configured { name, value, local } in configured {
            let in_transaction = self.transaction.as_ref().is_some_and(|transaction| !transaction.single);
            // The function has checked the value; one that is local to no transaction has been and gone.
            if (!local || in_transaction)
                && let Err(error) = self.set(&name, Some(&value), local)
            {
                self.warning(error);
            }
        }
    }

    pub(crate) fn notice(&mut self, error: Error) {
        if !matches!(self.settings.known("client_min_messages"), "warning" | "error") {
            self.notices.push(Notice { severity: "NOTICE", error });
        }
    }

    pub(crate) fn warning(&mut self, error: Error) {
        if self.settings.known("client_min_messages") != "error" {
            self.notices.push(Notice { severity: "WARNING", error });
        }
    }

    pub(crate) fn tell_change(&mut self, change: Option<(String, String)>) {
        self.changes.extend(change);
    }

    /// Takes all settings back to these, and tells the client.
    pub(crate) fn restore_settings(&mut self, before: Settings) {
        let changed = self.settings.restore(before);
        self.changes.extend(changed);
    }

    pub(crate) fn in_failed_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.failed)
    }

    /// `25P02` for everything but the end of a transaction that has failed.
    pub fn refuse_in_failed(&self, statement: &Parsed) -> Result<()> {
        if self.in_failed_transaction() && !ends_transaction(&statement.statement) {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(Kind::FailedTransaction, text));
        }
        Ok(())
    }

    fn note_failure(&mut self, error: Error) -> Error {
        self.fail_transaction();
        error
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.registry.leave(self.process_id);
    }
}

fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
}
