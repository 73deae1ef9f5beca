//! The one error type: what went wrong, whose fault it is, and what can be done about it.
//!
//! A user's mistake carries a SQLSTATE, a message in lower case without a full stop, often a hint and the
//! position in the SQL. The world's failures (disk, broker) keep their cause. Our own mistakes are `Internal`.

use std::fmt;

/// What every fallible function of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, each with the SQLSTATE that PostgreSQL clients know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `0A000`: valid SQL that Tidemill does not do (yet).
    NotSupported,
    /// `42601`: text that does not parse.
    Syntax,
    /// `42P01`: no such table, view or source.
    UndefinedTable,
    /// `42703`: no such column.
    UndefinedColumn,
    /// `42883`: no such function or operator for these types.
    UndefinedFunction,
    /// `42723`: a function of this name is there already.
    DuplicateFunction,
    /// `42P13`: a function definition that cannot be.
    InvalidFunctionDefinition,
    /// `42704`: no such setting, type, role or other object.
    UndefinedObject,
    /// `3F000`: no such schema.
    UndefinedSchema,
    /// `3D000`: no such database.
    UndefinedDatabase,
    /// `42702`: a column name that fits several relations.
    AmbiguousColumn,
    /// `42P07`: a relation of this name is there already.
    DuplicateTable,
    /// `42701`: a column named twice.
    DuplicateColumn,
    /// `42P06`: a schema of this name is there already.
    DuplicateSchema,
    /// `42939`: a name that only the system may use.
    ReservedName,
    /// `42710`: another object of this name is there already.
    DuplicateObject,
    /// `42804`: a value of the wrong type.
    DatatypeMismatch,
    /// `42809`: the object is of another kind (a view where a table is needed).
    WrongObjectType,
    /// `42803`: a column neither grouped nor aggregated.
    Grouping,
    /// `42P10`: a column reference that is not valid here.
    InvalidColumnReference,
    /// `42P19`: a recursive query that reads itself where it must not.
    InvalidRecursion,
    /// `42P02`: a parameter that was not given.
    UndefinedParameter,
    /// `42P18`: the type of a parameter cannot be told.
    IndeterminateDatatype,
    /// `42P16`: a table definition that cannot be.
    InvalidTableDefinition,
    /// `42P17`: a definition that cannot be, such as one that contains itself.
    InvalidObjectDefinition,
    /// `2BP01`: other objects depend on it.
    DependentObjects,
    /// `22023`: a setting or option with a value that is not valid.
    InvalidParameter,
    /// `22P02`: text that is not a value of the type.
    InvalidText,
    /// `22P03`: binary that is not a value of the type.
    InvalidBinary,
    /// `22007`: text that is not a date or time.
    InvalidDatetime,
    /// `22008`: a date or time with a field out of range.
    DatetimeOutOfRange,
    /// `22003`: a number out of range.
    NumericOutOfRange,
    /// `22011`: a substring of negative length.
    Substring,
    /// `2201E`: a logarithm of a number that has none.
    InvalidLogarithm,
    /// `2201F`: a power or root of a number that has none.
    InvalidPower,
    /// `2201B`: a text that is no regular expression.
    InvalidRegex,
    /// `2201G`: bounds or a count that make no buckets.
    InvalidBucket,
    /// `22025`: an escape that is not one character.
    InvalidEscape,
    /// `2202E`: a subscript or size that an array cannot have.
    ArraySubscript,
    /// `22004`: NULL where there must be a value.
    NullNotAllowed,
    /// `22P05`: a character that text cannot hold.
    UntranslatableCharacter,
    /// `22012`: division by zero.
    DivisionByZero,
    /// `2201B`: a pattern that is no regular expression.
    InvalidRegularExpression,
    /// `2201F`: a root or power that has no real value.
    InvalidPowerArgument,
    /// `2201E`: a logarithm of what is not greater than zero.
    InvalidLogarithmArgument,
    /// `2201W`: LIMIT of less than nothing.
    InvalidLimit,
    /// `2201X`: OFFSET of less than nothing.
    InvalidOffset,
    /// `22001`: a string too long for its type.
    StringTooLong,
    /// `22P04`: a COPY line of the wrong form.
    BadCopyFormat,
    /// `23502`: NULL in a column that does not take it.
    NotNullViolation,
    /// `23505`: a second row with the same key.
    UniqueViolation,
    /// `21000`: one row where there may be only one, or several.
    CardinalityViolation,
    /// `25P02`: the transaction has failed and waits for ROLLBACK.
    FailedTransaction,
    /// `25006`: a statement that writes, in a transaction that only reads.
    ReadOnlyTransaction,
    /// `25001`: the statement cannot run inside a transaction.
    ActiveTransaction,
    /// `26000`: no such prepared statement.
    UndefinedStatement,
    /// `42P05`: a prepared statement of this name is there already.
    DuplicateStatement,
    /// `34000`: no such cursor or portal.
    UndefinedCursor,
    /// `42P03`: a cursor of this name is there already.
    DuplicateCursor,
    /// `40P01`: waited too long for another transaction.
    Deadlock,
    /// `25P03`: a client left a transaction open for too long.
    IdleInTransaction,
    /// `40001`: another transaction has written what this one is to write, since this one first read.
    SerializationFailure,
    /// `53200`: the memory limit was reached.
    OutOfMemory,
    /// `53300`: too many connections.
    TooManyConnections,
    /// `54000`: a limit of the implementation was passed.
    LimitExceeded,
    /// `54001`: a statement whose tree is too deep.
    TooComplex,
    /// `54011`: more columns than a row may have.
    TooManyColumns,
    /// `55000`: the object is not in a state that allows this (a failed view).
    ObjectState,
    /// `55P03`: waited too long for a table that another transaction writes.
    LockNotAvailable,
    /// `57014`: cancelled by the user or a time limit.
    Canceled,
    /// `57P01`: the server is shutting down.
    Shutdown,
    /// `57P03`: the server is starting up, or shutting down.
    CannotConnectNow,
    /// `58000`: the world outside failed: disk, broker, file.
    External,
    /// `08P01`: bytes that are not the protocol.
    Protocol,
    /// `28000`: the client may not connect.
    Authorization,
    /// `42501`: not allowed.
    InsufficientPrivilege,
    /// `XX000`: our mistake.
    Internal,
}

/// Every kind, for finding one by its SQLSTATE.
const KINDS: &[Kind] = &[
    Kind::NotSupported,
    Kind::Syntax,
    Kind::UndefinedTable,
    Kind::UndefinedColumn,
    Kind::UndefinedFunction,
    Kind::DuplicateFunction,
    Kind::InvalidFunctionDefinition,
    Kind::UndefinedObject,
    Kind::UndefinedSchema,
    Kind::UndefinedDatabase,
    Kind::AmbiguousColumn,
    Kind::DuplicateTable,
    Kind::DuplicateColumn,
    Kind::DuplicateSchema,
    Kind::ReservedName,
    Kind::DuplicateObject,
    Kind::DatatypeMismatch,
    Kind::WrongObjectType,
    Kind::Grouping,
    Kind::InvalidColumnReference,
    Kind::InvalidRecursion,
    Kind::UndefinedParameter,
    Kind::IndeterminateDatatype,
    Kind::InvalidTableDefinition,
    Kind::InvalidObjectDefinition,
    Kind::DependentObjects,
    Kind::InvalidParameter,
    Kind::InvalidText,
    Kind::InvalidBinary,
    Kind::InvalidDatetime,
    Kind::DatetimeOutOfRange,
    Kind::NumericOutOfRange,
    Kind::Substring,
    Kind::InvalidLogarithm,
    Kind::InvalidPower,
    Kind::InvalidRegex,
    Kind::InvalidBucket,
    Kind::InvalidEscape,
    Kind::ArraySubscript,
    Kind::NullNotAllowed,
    Kind::UntranslatableCharacter,
    Kind::DivisionByZero,
    Kind::InvalidRegularExpression,
    Kind::InvalidPowerArgument,
    Kind::InvalidLogarithmArgument,
    Kind::InvalidLimit,
    Kind::InvalidOffset,
    Kind::StringTooLong,
    Kind::BadCopyFormat,
    Kind::NotNullViolation,
    Kind::UniqueViolation,
    Kind::CardinalityViolation,
    Kind::FailedTransaction,
    Kind::ReadOnlyTransaction,
    Kind::ActiveTransaction,
    Kind::UndefinedStatement,
    Kind::DuplicateStatement,
    Kind::UndefinedCursor,
    Kind::DuplicateCursor,
    Kind::Deadlock,
    Kind::SerializationFailure,
    Kind::IdleInTransaction,
    Kind::OutOfMemory,
    Kind::TooManyConnections,
    Kind::LimitExceeded,
    Kind::TooComplex,
    Kind::TooManyColumns,
    Kind::ObjectState,
    Kind::LockNotAvailable,
    Kind::Canceled,
    Kind::Shutdown,
    Kind::CannotConnectNow,
    Kind::External,
    Kind::Protocol,
    Kind::Authorization,
    Kind::InsufficientPrivilege,
    Kind::Internal,
];

impl Kind {
    /// The kind with this SQLSTATE.
    pub fn of_sqlstate(sqlstate: &str) -> Option<Kind> {
        KINDS.iter().copied().find(|kind| kind.sqlstate() == sqlstate)
    }

    /// The five characters that PostgreSQL's documentation (appendix A) gives this condition.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Kind::NotSupported => "0A000",
            Kind::Syntax => "42601",
            Kind::UndefinedTable => "42P01",
            Kind::UndefinedColumn => "42703",
            Kind::UndefinedFunction => "42883",
            Kind::DuplicateFunction => "42723",
            Kind::InvalidFunctionDefinition => "42P13",
            Kind::UndefinedObject => "42704",
            Kind::UndefinedSchema => "3F000",
            Kind::UndefinedDatabase => "3D000",
            Kind::AmbiguousColumn => "42702",
            Kind::DuplicateTable => "42P07",
            Kind::DuplicateColumn => "42701",
            Kind::DuplicateSchema => "42P06",
            Kind::ReservedName => "42939",
            Kind::DuplicateObject => "42710",
            Kind::DatatypeMismatch => "42804",
            Kind::WrongObjectType => "42809",
            Kind::Grouping => "42803",
            Kind::InvalidColumnReference => "42P10",
            Kind::InvalidRecursion => "42P19",
            Kind::UndefinedParameter => "42P02",
            Kind::IndeterminateDatatype => "42P18",
            Kind::InvalidTableDefinition => "42P16",
            Kind::InvalidObjectDefinition => "42P17",
            Kind::DependentObjects => "2BP01",
            Kind::InvalidParameter => "22023",
            Kind::InvalidText => "22P02",
            Kind::InvalidBinary => "22P03",
            Kind::InvalidDatetime => "22007",
            Kind::DatetimeOutOfRange => "22008",
            Kind::NumericOutOfRange => "22003",
            Kind::Substring => "22011",
            Kind::InvalidLogarithm => "2201E",
            Kind::InvalidPower => "2201F",
            Kind::InvalidRegex => "2201B",
            Kind::InvalidBucket => "2201G",
            Kind::InvalidEscape => "22025",
            Kind::ArraySubscript => "2202E",
            Kind::NullNotAllowed => "22004",
            Kind::UntranslatableCharacter => "22P05",
            Kind::DivisionByZero => "22012",
            Kind::InvalidRegularExpression => "2201B",
            Kind::InvalidPowerArgument => "2201F",
            Kind::InvalidLogarithmArgument => "2201E",
            Kind::InvalidLimit => "2201W",
            Kind::InvalidOffset => "2201X",
            Kind::StringTooLong => "22001",
            Kind::BadCopyFormat => "22P04",
            Kind::NotNullViolation => "23502",
            Kind::UniqueViolation => "23505",
            Kind::CardinalityViolation => "21000",
            Kind::FailedTransaction => "25P02",
            Kind::ReadOnlyTransaction => "25006",
            Kind::ActiveTransaction => "25001",
            Kind::UndefinedStatement => "26000",
            Kind::DuplicateStatement => "42P05",
            Kind::UndefinedCursor => "34000",
            Kind::DuplicateCursor => "42P03",
            Kind::Deadlock => "40P01",
            Kind::SerializationFailure => "40001",
            Kind::IdleInTransaction => "25P03",
            Kind::OutOfMemory => "53200",
            Kind::TooManyConnections => "53300",
            Kind::LimitExceeded => "54000",
            Kind::TooComplex => "54001",
            Kind::TooManyColumns => "54011",
            Kind::ObjectState => "55000",
            Kind::LockNotAvailable => "55P03",
            Kind::Canceled => "57014",
            Kind::Shutdown => "57P01",
            Kind::CannotConnectNow => "57P03",
            Kind::External => "58000",
            Kind::Protocol => "08P01",
            Kind::Authorization => "28000",
            Kind::InsufficientPrivilege => "42501",
            Kind::Internal => "XX000",
        }
    }
}

/// One error, as a client will see it.
#[derive(Clone, Debug)]
pub struct Error(Box<Parts>);

/// Boxed, so that `Result<T>` stays small on the path where nothing fails.
#[derive(Clone, Debug)]
struct Parts {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// 1-based character position in the SQL text.
    position: Option<usize>,
}

impl Error {
    /// An error of `kind`. `message`: lower case, no full stop, names in double quotes.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Parts { kind, message: message.into(), detail: None, hint: None, position: None }))
    }

    /// Valid SQL that Tidemill does not do; say which construct.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Error::new(Kind::NotSupported, message)
    }

    /// A mistake of ours: should never be seen.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, message)
    }

    /// A failure of disk, broker or file, with its cause in the text.
    pub fn external(what: &str, cause: impl fmt::Display) -> Self {
        Error::new(Kind::External, format!("{what}: {cause}"))
    }

    /// Adds what the user can do about it: a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds more about what happened: a sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the 1-based character position in the statement's text, unless one is known already.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    /// Moves the position by `characters`: for a statement that starts later in a longer text.
    #[must_use]
    pub fn shifted(mut self, characters: usize) -> Self {
        self.0.position = self.0.position.map(|position| position + characters);
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// More about what happened.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// What the user can do.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// 1-based character position in the SQL.
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    /// Arrow's errors that a user can cause keep their kind; the rest are ours.
    fn from(cause: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError;
        match cause {
            ArrowError::DivideByZero => Error::new(Kind::DivisionByZero, "division by zero"),
            ArrowError::ArithmeticOverflow(_) => Error::new(Kind::NumericOutOfRange, "value out of range"),
            ArrowError::CastError(text) | ArrowError::ParseError(text) => Error::new(Kind::InvalidText, lower_first(&text)),
            ArrowError::ExternalError(cause) => match cause.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => Error::internal(other.to_string()),
            },
            other => Error::internal(other.to_string()),
        }
    }
}

/// PostgreSQL's messages start in lower case.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Kind};

    #[test]
    fn every_kind_is_found_by_its_sqlstate() {
        for kind in KINDS {
            assert_eq!(Kind::of_sqlstate(kind.sqlstate()), Some(*kind));
        }
        assert_eq!(Kind::of_sqlstate("99999"), None);
    }
}
