//! The one error type: what went wrong, whose fault it is, and what can be done about it.
//!
//! A user's mistake carries a SQLSTATE, a message in lower case without a full stop, often a hint and the
//! position in the SQL. The world's failures (disk, broker) keep their cause. Our own mistakes are `Internal`.

use std::fmt;

/// What every fallible function of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Declares every kind once: its meaning, its name and the five characters that PostgreSQL's documentation (appendix A) gives the condition.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $sqlstate:literal,)+) => {
        /// The kind of an error, each with the SQLSTATE that PostgreSQL clients know it by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $sqlstate, "`:", $($doc),+)] $kind,)+
        }

        impl Kind {
            /// The kind with this SQLSTATE.
            pub fn of_sqlstate(sqlstate: &str) -> Option<Kind> {
                match sqlstate {
                    $($sqlstate => Some(Kind::$kind),)+
                    _ => None,
                }
            }

            /// The SQLSTATE that clients are told.
            pub fn sqlstate(self) -> &'static str {
                match self {
                    $(Kind::$kind => $sqlstate,)+
                }
            }
        }
    };
}

kinds! {
    /// valid SQL that Tidemill does not do (yet).
    NotSupported = "0A000",
    /// text that does not parse.
    Syntax = "42601",
    /// no such table, view or source.
    UndefinedTable = "42P01",
    /// no such column.
    UndefinedColumn = "42703",
    /// no such function or operator for these types.
    UndefinedFunction = "42883",
    /// a function of this name is there already.
    DuplicateFunction = "42723",
    /// a function definition that cannot be.
    InvalidFunctionDefinition = "42P13",
    /// no such setting, type, role or other object.
    UndefinedObject = "42704",
    /// no such schema.
    UndefinedSchema = "3F000",
    /// no such database.
    UndefinedDatabase = "3D000",
    /// a column name that fits several relations.
    AmbiguousColumn = "42702",
    /// a relation of this name is there already.
    DuplicateTable = "42P07",
    /// a name that stands twice in FROM or WITH.
    DuplicateAlias = "42712",
    /// a name longer than names are.
    NameTooLong = "42622",
    /// a column named twice.
    DuplicateColumn = "42701",
    /// a schema of this name is there already.
    DuplicateSchema = "42P06",
    /// a name that only the system may use.
    ReservedName = "42939",
    /// another object of this name is there already.
    DuplicateObject = "42710",
    /// a cast between types that have none.
    CannotCoerce = "42846",
    /// a value of the wrong type.
    DatatypeMismatch = "42804",
    /// the object is of another kind (a view where a table is needed).
    WrongObjectType = "42809",
    /// a column neither grouped nor aggregated.
    Grouping = "42803",
    /// a window function where none may be.
    Windowing = "42P20",
    /// a value for a column that is computed.
    GeneratedAlways = "428C9",
    /// a column reference that is not valid here.
    InvalidColumnReference = "42P10",
    /// a recursive query that reads itself where it must not.
    InvalidRecursion = "42P19",
    /// a parameter that was not given.
    UndefinedParameter = "42P02",
    /// the type of a parameter cannot be told.
    IndeterminateDatatype = "42P18",
    /// a table definition that cannot be.
    InvalidTableDefinition = "42P16",
    /// a definition that cannot be, such as one that contains itself.
    InvalidObjectDefinition = "42P17",
    /// other objects depend on it.
    DependentObjects = "2BP01",
    /// a setting or option with a value that is not valid.
    InvalidParameter = "22023",
    /// text that is not a value of the type.
    InvalidText = "22P02",
    /// binary that is not a value of the type.
    InvalidBinary = "22P03",
    /// text that is not a date or time.
    InvalidDatetime = "22007",
    /// a date or time with a field out of range.
    DatetimeOutOfRange = "22008",
    /// a number out of range.
    NumericOutOfRange = "22003",
    /// a substring of negative length.
    Substring = "22011",
    /// a logarithm of a number that has none.
    InvalidLogarithm = "2201E",
    /// a power or root of a number that has none.
    InvalidPower = "2201F",
    /// a text that is no regular expression.
    InvalidRegex = "2201B",
    /// a window's frame of a size that there is not.
    InvalidFrame = "22013",
    /// a number of buckets for `ntile` that there is not.
    InvalidNtile = "22014",
    /// a place for `nth_value` that there is not.
    InvalidNthValue = "22016",
    /// bounds or a count that make no buckets.
    InvalidBucket = "2201G",
    /// an escape that is not one character.
    InvalidEscape = "22025",
    /// a subscript or size that an array cannot have.
    ArraySubscript = "2202E",
    /// NULL where there must be a value.
    NullNotAllowed = "22004",
    /// bytes that are no text in the encoding.
    InvalidEncoding = "22021",
    /// a character that text cannot hold.
    UntranslatableCharacter = "22P05",
    /// division by zero.
    DivisionByZero = "22012",
    /// LIMIT of less than nothing.
    InvalidLimit = "2201W",
    /// OFFSET of less than nothing.
    InvalidOffset = "2201X",
    /// a string too long for its type.
    StringTooLong = "22001",
    /// a COPY line of the wrong form.
    BadCopyFormat = "22P04",
    /// NULL in a column that does not take it.
    NotNullViolation = "23502",
    /// a row that its table does not take.
    CheckViolation = "23514",
    /// a second row with the same key.
    UniqueViolation = "23505",
    /// one row where there may be only one, or several.
    CardinalityViolation = "21000",
    /// the transaction has failed and waits for ROLLBACK.
    FailedTransaction = "25P02",
    /// a statement that writes, in a transaction that only reads.
    ReadOnlyTransaction = "25006",
    /// the statement cannot run inside a transaction.
    ActiveTransaction = "25001",
    /// the statement can run only inside a transaction.
    NoActiveTransaction = "25P01",
    /// no such savepoint.
    UndefinedSavepoint = "3B001",
    /// no such prepared statement.
    UndefinedStatement = "26000",
    /// a prepared statement of this name is there already.
    DuplicateStatement = "42P05",
    /// no such cursor or portal.
    UndefinedCursor = "34000",
    /// a cursor of this name is there already.
    DuplicateCursor = "42P03",
    /// waited too long for another transaction.
    Deadlock = "40P01",
    /// a client left a transaction open for too long.
    IdleInTransaction = "25P03",
    /// another transaction has written what this one is to write, since this one first read.
    SerializationFailure = "40001",
    /// the memory limit was reached.
    OutOfMemory = "53200",
    /// too many connections.
    TooManyConnections = "53300",
    /// a limit of the implementation was passed.
    LimitExceeded = "54000",
    /// a statement whose tree is too deep.
    TooComplex = "54001",
    /// more columns than a row may have.
    TooManyColumns = "54011",
    /// the object is not in a state that allows this (a failed view).
    ObjectState = "55000",
    /// a setting that cannot be changed, or not now.
    CannotChange = "55P02",
    /// a name of a form that names do not have.
    InvalidName = "42602",
    /// waited too long for a table that another transaction writes.
    LockNotAvailable = "55P03",
    /// cancelled by the user or a time limit.
    Canceled = "57014",
    /// the server is shutting down.
    Shutdown = "57P01",
    /// the server is starting up, or shutting down.
    CannotConnectNow = "57P03",
    /// the world outside failed: disk, broker, file.
    External = "58000",
    /// bytes that are not the protocol.
    Protocol = "08P01",
    /// the client may not connect.
    Authorization = "28000",
    /// not allowed.
    InsufficientPrivilege = "42501",
    /// our mistake.
    Internal = "XX000",
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

    /// Without its position: it counts in a text that the user did not send.
    #[must_use]
    pub fn unplaced(mut self) -> Self {
        self.0.position = None;
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
    use super::Kind;

    #[test]
    fn a_kind_is_found_by_its_sqlstate() {
        assert_eq!(Kind::of_sqlstate("57014"), Some(Kind::Canceled));
        assert_eq!(Kind::of_sqlstate(Kind::Internal.sqlstate()), Some(Kind::Internal));
        assert_eq!(Kind::of_sqlstate("99999"), None);
    }
}
