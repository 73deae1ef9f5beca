//! Everything we accept, and nothing else: one value per kind of statement. No name is resolved here.

use std::collections::BTreeMap;

use sqlparser::ast;

use crate::types::{CopyFormat, Include, OnConflict};

/// A statement and where it stands in the text it came in.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Its own text, without the semicolon and surrounding blanks.
    pub text: String,
    /// How many characters of the whole text stand before it: added to the positions of its errors.
    pub offset: usize,
}

/// `[schema.]name`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The schema, if one is written.
    pub schema: Option<String>,
    /// The name, in lower case unless quoted.
    pub name: String,
    /// 1-based character position in the statement's text.
    pub position: usize,
}

/// All statements.
#[derive(Clone, Debug)]
pub enum Statement {
    /// CREATE TABLE, with or without a connector.
    CreateTable(CreateTable),
    /// CREATE SOURCE.
    CreateSource(CreateTable),
    /// CREATE VIEW.
    CreateView(CreateView),
    /// CREATE MATERIALIZED VIEW.
    CreateMaterializedView(CreateView),
    /// CREATE SCHEMA.
    CreateSchema {
        /// Its name.
        name: Name,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// CREATE INDEX.
    CreateIndex(CreateIndex),
    /// CREATE FUNCTION.
    CreateFunction(Box<CreateFunction>),
    /// CREATE SINK.
    CreateSink(CreateSink),
    /// DROP of one or more objects of a kind.
    Drop {
        /// Of which kind.
        kind: DropKind,
        /// Which.
        names: Vec<Name>,
        /// IF EXISTS.
        if_exists: bool,
        /// With everything that depends on them.
        cascade: bool,
    },
    /// ALTER of a table, source or view.
    Alter(Alter),
    /// COMMENT ON.
    Comment {
        /// What the object is; of a column, what it stands in: anything.
        kind: Option<DropKind>,
        /// Which.
        name: Name,
        /// Of this column of it.
        column: Option<String>,
        /// `None`: without a comment.
        text: Option<String>,
    },
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE … SET … [FROM] WHERE … [RETURNING].
    Update(Box<WithQueries<ast::Update>>),
    /// DELETE FROM … WHERE … [RETURNING].
    Delete(Box<WithQueries<ast::Delete>>),
    /// TRUNCATE.
    Truncate {
        /// Which tables.
        names: Vec<Name>,
    },
    /// SELECT, VALUES, WITH, TABLE.
    Query(Box<ast::Query>),
    /// EXPLAIN of a query or of CREATE MATERIALIZED VIEW.
    Explain {
        /// What to show.
        kind: ExplainKind,
        /// Of what.
        statement: Box<Statement>,
    },
    /// COPY.
    Copy(Copy),
    /// SHOW of a setting, or of a list of objects.
    Show(Show),
    /// SET [SESSION | LOCAL] name = value; `None` is DEFAULT.
    Set {
        /// The setting, in lower case.
        name: String,
        /// The value's text, without quotes.
        value: Option<String>,
        /// Until the transaction ends.
        local: bool,
    },
    /// RESET name, or ALL for `None`.
    Reset {
        /// The setting.
        name: Option<String>,
    },
    /// BEGIN, START TRANSACTION.
    Begin {
        /// READ ONLY or READ WRITE, where written.
        read_only: Option<bool>,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE SAVEPOINT.
    Release(String),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(String),
    /// PREPARE name [(types)] AS statement.
    Prepare {
        /// Its name.
        name: String,
        /// Declared parameter types.
        types: Vec<ast::DataType>,
        /// What to prepare.
        statement: Box<Parsed>,
    },
    /// EXECUTE name [(values)].
    Execute {
        /// Its name.
        name: String,
        /// Values of the parameters.
        arguments: Vec<ast::Expr>,
    },
    /// DEALLOCATE name, or ALL for `None`.
    Deallocate {
        /// Its name.
        name: Option<String>,
    },
    /// DECLARE name CURSOR FOR query.
    Declare {
        /// The cursor.
        name: String,
        /// WITH HOLD.
        hold: bool,
        /// BINARY.
        binary: bool,
        /// The query.
        query: Box<Parsed>,
    },
    /// FETCH, MOVE.
    Fetch {
        /// The cursor.
        name: String,
        /// How many rows forward; `None` is ALL.
        count: Option<u64>,
        /// MOVE: the rows are not wanted.
        skip: bool,
    },
    /// CLOSE name, or ALL for `None`.
    Close {
        /// The cursor.
        name: Option<String>,
    },
    /// FLUSH: wait until every view reflects what was written.
    Flush,
    /// DISCARD.
    Discard(Discard),
    /// LISTEN, UNLISTEN, NOTIFY and their kin: accepted, without effect. The tag to answer with.
    NoOperation(&'static str),
}

/// What DISCARD throws away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Cursors, prepared statements and settings.
    All,
    /// Plans: none is kept that would not be made anew when it has to be.
    Plans,
    /// Of sequences there are none.
    Sequences,
    /// Nor of temporary tables.
    Temp,
}

impl Discard {
    /// What the client is told when it is done.
    pub fn tag(self) -> &'static str {
        match self {
            Discard::All => "DISCARD ALL",
            Discard::Plans => "DISCARD PLANS",
            Discard::Sequences => "DISCARD SEQUENCES",
            Discard::Temp => "DISCARD TEMP",
        }
    }
}

/// ALTER.
#[derive(Clone, Debug)]
pub struct Alter {
    /// What it says the object is.
    pub kind: DropKind,
    /// Which.
    pub name: Name,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What changes.
    pub action: AlterAction,
}

/// What an ALTER changes.
#[derive(Clone, Debug)]
pub enum AlterAction {
    /// RENAME TO.
    RenameTo(String),
    /// RENAME COLUMN.
    RenameColumn {
        /// As it is called.
        from: String,
        /// As it is to be called.
        to: String,
    },
    /// SET SCHEMA.
    SetSchema(String),
    /// SET (name = value, …).
    SetOptions(BTreeMap<String, String>),
    /// RESET (name, …).
    ResetOptions(Vec<String>),
    /// OWNER TO.
    OwnerTo(String),
    /// SWAP WITH: two objects of a kind change names.
    SwapWith(Name),
    /// ADD COLUMN.
    AddColumn {
        /// The column.
        definition: Box<ColumnDefinition>,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// ADD PRIMARY KEY: the names of its columns.
    AddPrimaryKey(Vec<String>),
    /// DROP COLUMN.
    DropColumn {
        /// The column.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
        /// With everything that uses it.
        cascade: bool,
    },
}

/// CREATE TABLE and CREATE SOURCE, which share their clauses.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The columns, in order. Empty: the connector knows them.
    pub columns: Vec<ColumnDefinition>,
    /// The names of the PRIMARY KEY's columns, from whichever place they were given.
    pub key: Vec<String>,
    /// APPEND ONLY.
    pub append_only: bool,
    /// ON CONFLICT: what a second row with the same key does.
    pub on_conflict: Option<OnConflict>,
    /// INCLUDE clauses: what, and the column's name.
    pub include: Vec<(Include, String)>,
    /// WITH (…); keys in lower case, values without quotes. Empty without one.
    pub options: BTreeMap<String, String>,
    /// FORMAT in upper case, if written.
    pub format: Option<String>,
    /// ENCODE in upper case, if written.
    pub encode: Option<String>,
    /// The options in parentheses behind ENCODE.
    pub encode_options: BTreeMap<String, String>,
    /// CREATE TABLE … AS: the query.
    pub query: Option<Box<ast::Query>>,
    /// Not WITH NO DATA: the table gets the query's rows.
    pub with_data: bool,
    /// WATERMARK FOR column AS expression.
    pub watermark: Option<(String, ast::Expr)>,
}

/// One column of a CREATE TABLE.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type, as written.
    pub data_type: Option<ast::DataType>,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT.
    pub default: Option<ast::Expr>,
    /// GENERATED ALWAYS AS (…) STORED, or AS ….
    pub generated: Option<ast::Expr>,
    /// 1-based character position of its name in the statement's text.
    pub position: usize,
}

/// CREATE FUNCTION.
#[derive(Clone, Debug)]
pub struct CreateFunction {
    /// Its name.
    pub name: Name,
    /// OR REPLACE.
    pub or_replace: bool,
    /// What it takes.
    pub arguments: Vec<FunctionArgument>,
    /// What it gives.
    pub returns: ast::DataType,
    /// What the user says of its value.
    pub volatility: Volatility,
    /// NULL for a NULL argument, whatever the body says.
    pub strict: bool,
    /// The body as written.
    pub source: String,
    /// The body's expression, over the arguments' names or `$1`, `$2`, ….
    pub body: Option<ast::Expr>,
}

/// An argument of a function.
#[derive(Clone, Debug)]
pub struct FunctionArgument {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type.
    pub data_type: ast::DataType,
    /// DEFAULT.
    pub default: Option<ast::Expr>,
}

/// What a function's value depends on besides its arguments: what is said, and not relied on, since the body is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Nothing.
    Immutable,
    /// On what stays the same within a statement.
    Stable,
    /// On anything.
    Volatile,
}

/// CREATE INDEX.
#[derive(Clone, Debug)]
pub struct CreateIndex {
    /// Its name; `None`: made from those of the relation and its columns.
    pub name: Option<String>,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Whose rows it finds.
    pub relation: Name,
    /// By which columns.
    pub columns: Vec<String>,
    /// INCLUDE.
    pub include: Vec<String>,
}

/// CREATE SINK … INTO table.
#[derive(Clone, Debug)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// The table that it writes.
    pub target: Name,
    /// The columns that it fills; empty: as many as come, in order.
    pub columns: Vec<String>,
    /// What it writes there.
    pub source: SinkSource,
}

/// Whose changes a sink writes.
#[derive(Clone, Debug)]
pub enum SinkSource {
    /// FROM: all columns of a relation.
    Relation(Name),
    /// AS: a query's.
    Query {
        /// The query.
        query: Box<ast::Query>,
        /// Its own text.
        text: String,
        /// How many characters of the statement stand before it.
        offset: usize,
    },
}

/// CREATE [MATERIALIZED] VIEW.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// OR REPLACE.
    pub or_replace: bool,
    /// Names for the columns; empty keeps the query's.
    pub columns: Vec<String>,
    /// WITH (…).
    pub options: BTreeMap<String, String>,
    /// What it shows.
    pub query: Box<ast::Query>,
    /// The query's own text.
    pub query_text: String,
    /// How many characters of the statement stand before the query: its errors' positions are shifted by it.
    pub query_offset: usize,
    /// EMIT ON WINDOW CLOSE.
    pub emit_on_window_close: bool,
}

/// A statement that changes rows, and the queries that it names before.
#[derive(Clone, Debug)]
pub struct WithQueries<T> {
    /// WITH.
    pub with: Option<ast::With>,
    /// UPDATE or DELETE.
    pub body: T,
}

/// INSERT INTO.
#[derive(Clone, Debug)]
pub struct Insert {
    /// WITH, before the INSERT.
    pub with: Option<ast::With>,
    /// The table.
    pub table: Name,
    /// The columns named; empty: all, in order.
    pub columns: Vec<String>,
    /// VALUES or SELECT; `None` is DEFAULT VALUES. DEFAULT within VALUES is what [`is_default`](super::is_default) recognises.
    pub source: Option<Box<ast::Query>>,
    /// The columns in parentheses behind ON CONFLICT, which must be the table's key; empty if none are written.
    pub conflict_target: Vec<String>,
    /// ON CONFLICT, where written.
    pub on_conflict: Option<InsertConflict>,
    /// RETURNING.
    pub returning: Option<Vec<ast::SelectItem>>,
}

/// The ON CONFLICT clause of an INSERT.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one per statement: its size does not matter")]
pub enum InsertConflict {
    /// Keep the row that is there.
    DoNothing,
    /// Change the row that is there; `excluded.column` names the new one's values.
    DoUpdate {
        /// Column and value.
        assignments: Vec<(String, ast::Expr)>,
        /// Only rows for which this is true.
        condition: Option<ast::Expr>,
    },
}

/// What DROP drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropKind {
    /// DROP TABLE
    Table,
    /// DROP SOURCE
    Source,
    /// DROP VIEW
    View,
    /// DROP MATERIALIZED VIEW
    MaterializedView,
    /// DROP INDEX
    Index,
    /// DROP FUNCTION
    Function,
    /// DROP SINK
    Sink,
    /// DROP SCHEMA
    Schema,
}

/// What EXPLAIN shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainKind {
    /// DataFusion's optimised logical plan.
    Logical,
    /// The incremental plan with properties and state: the default for a view.
    Incremental,
    /// DataFusion's physical plan: the default for a query.
    Physical,
}

/// COPY.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is copied.
    pub subject: CopySubject,
    /// FROM STDIN, or else TO STDOUT.
    pub from_client: bool,
    /// How lines look.
    pub format: CopyFormat,
}

/// What a COPY reads or writes.
#[derive(Clone, Debug)]
pub enum CopySubject {
    /// A relation and, if named, its columns.
    Relation {
        /// Which.
        name: Name,
        /// Empty: all.
        columns: Vec<String>,
    },
    /// A query's rows (TO only).
    Query(Box<ast::Query>),
}

/// SHOW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// A setting, in lower case (`time zone` is `timezone`).
    Setting(String),
    /// Every setting.
    AllSettings,
    /// Objects of a kind: `tables`, `sources`, `views`, `materialized views`, `schemas`, `databases`, `jobs`, …; in lower case.
    Objects {
        /// Which.
        kind: String,
        /// LIKE pattern.
        like: Option<String>,
    },
    /// SHOW COLUMNS FROM, DESCRIBE.
    Columns(Name),
    /// SHOW CREATE TABLE | SOURCE | VIEW | MATERIALIZED VIEW | SINK name.
    Create(Name),
}
