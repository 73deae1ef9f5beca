//! The forms of a function: which arguments it takes, and what type its result has.
//!
//! A form is written as text, `"text, integer, [text] -> text"`, which is also what the documentation shows.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;

use super::call::Call;
use super::numeric::integer_digits;
use crate::error::Result;
use crate::plan::arrow_kinds::is_text;
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

use arrow::array::ArrayRef;

/// Computes a call.
pub(super) type Kernel = fn(&Call<'_>) -> Result<ArrayRef>;

/// The result's type, from the arguments and those among them that are constants.
pub(super) type Outcome = fn(&[FieldRef], &[Option<&ScalarValue>]) -> SqlType;

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    /// Any integer, given to the kernel as bigint.
    Integer,
    /// Any integer; all such arguments get the widest of their types, which is then the result's.
    SameInteger,
    Float,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Jsonb,
    Uuid,
    /// Any array.
    Array,
    Texts,
    Floats,
    Integers,
    Any,
}

/// One form of a function.
pub(super) struct Form {
    pub(super) text: &'static str,
    pub(super) arguments: Vec<Kind>,
    /// The last argument may be given any number of times, also none.
    pub(super) variadic: bool,
    pub(super) result: &'static str,
    pub(super) outcome: Option<Outcome>,
    pub(super) kernel: Option<Kernel>,
    /// PostgreSQL does not have it: not what a value without a type is meant for.
    pub(super) beyond: bool,
}

/// How far a type is from what a form wants: the form with the least sum is called.
type Cost = u32;

impl Form {
    /// `text` as in the file's header; a last argument with `…` behind it may be repeated.
    pub(super) fn new(text: &'static str, kernel: Option<Kernel>) -> Self {
        let (arguments, result) = text.split_once("->").expect("a form has an arrow");
        let words = arguments.trim().split(", ").filter(|word| !word.is_empty());
        let variadic = arguments.trim().ends_with('…');
        // Forms of DataFusion's functions are for readers only, and may say more than we know.
        let arguments = words.map(|word| kind(word.trim_end_matches('…').trim())).collect();
        Form { text, arguments, variadic, result: result.trim(), outcome: None, kernel, beyond: false }
    }

    fn kinds(&self, count: usize) -> Option<Vec<Kind>> {
        let mut kinds = self.arguments.clone();
        if self.variadic {
            let last = kinds.pop()?;
            kinds.resize(count.max(kinds.len()), last);
        }
        (kinds.len() == count).then_some(kinds)
    }

    /// What the argument at a place may be.
    pub(super) fn kind(&self, place: usize) -> Option<Kind> {
        let last = self.arguments.last().filter(|_| self.variadic);
        self.arguments.get(place).or(last).copied()
    }

    /// The word for the argument at a place, without the brackets around what may be left out.
    fn word(&self, place: usize) -> Option<&'static str> {
        let (arguments, _) = self.text.split_once("->")?;
        let mut words = arguments.trim().split(", ").map(|word| word.trim_end_matches('…').trim());
        let word = match self.variadic {
            true => words.clone().nth(place).or_else(|| words.last()),
            false => words.nth(place),
        };
        word.map(|word| word.trim_start_matches('['))
    }

    /// What a value without a type is taken for at a place; `None`: anything.
    pub(super) fn sql_type(&self, place: usize) -> Option<SqlType> {
        Some(match self.word(place)?.trim_end_matches(']') {
            "boolean" => SqlType::Bool,
            "integer" | "same integer" => SqlType::Int4,
            "bigint" => SqlType::Int8,
            "double precision" => SqlType::Float8,
            "numeric" => SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
            "text" => SqlType::Text,
            "bytea" => SqlType::Bytea,
            "date" => SqlType::Date,
            "time" => SqlType::Time,
            "timestamp" => SqlType::Timestamp,
            "timestamptz" => SqlType::Timestamptz,
            "interval" => SqlType::Interval,
            "json" => SqlType::Json,
            "jsonb" => SqlType::Jsonb,
            "uuid" => SqlType::Uuid,
            "text[" => SqlType::Array(Box::new(SqlType::Text)),
            "integer[" => SqlType::Array(Box::new(SqlType::Int4)),
            "double precision[" => SqlType::Array(Box::new(SqlType::Float8)),
            _ => return None,
        })
    }

    /// Which of several forms a value without a type at a place is for: the least. Text before all, then the preferred type of each of
    /// PostgreSQL's categories (`typispreferred`).
    pub(super) fn preference(&self, place: usize) -> u32 {
        match self.sql_type(place) {
            Some(SqlType::Text) => 0,
            Some(SqlType::Float8 | SqlType::Timestamptz | SqlType::Interval | SqlType::Bool) => 1,
            _ => 2,
        }
    }

    /// The types that arguments of `types` are cast to for this form, and how far that is.
    pub(super) fn accept(&self, types: &[DataType]) -> Option<(Cost, Vec<DataType>)> {
        let kinds = self.kinds(types.len())?;
        let widest = kinds.iter().zip(types).filter(|(kind, _)| **kind == Kind::SameInteger).map(|(_, found)| integer_width(found));
        let widest = widest.max().unwrap_or(DataType::Int32.primitive_width().unwrap_or(4));
        let mut cost = 0;
        let mut wanted = Vec::with_capacity(types.len());
        for (kind, found) in kinds.iter().zip(types) {
            let (step, target) = kind.accept(found, widest)?;
            cost += step;
            wanted.push(target);
        }
        Some((cost, wanted))
    }

    /// The result's field.
    pub(super) fn field(&self, name: &str, fields: &[FieldRef], scalars: &[Option<&ScalarValue>]) -> Field {
        let sql_type = match self.outcome {
            Some(outcome) => outcome(fields, scalars),
            None => match self.result {
                "boolean" => SqlType::Bool,
                "integer" => SqlType::Int4,
                "bigint" => SqlType::Int8,
                "double precision" => SqlType::Float8,
                "numeric" => SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
                "bytea" => SqlType::Bytea,
                "date" => SqlType::Date,
                "time" => SqlType::Time,
                "timestamp" => SqlType::Timestamp,
                "timestamptz" => SqlType::Timestamptz,
                "interval" => SqlType::Interval,
                "jsonb" => SqlType::Jsonb,
                "json" => SqlType::Json,
                "uuid" => SqlType::Uuid,
                "text[]" => SqlType::Array(Box::new(SqlType::Text)),
                "integer[]" => SqlType::Array(Box::new(SqlType::Int4)),
                "same" => fields.first().map_or(SqlType::Text, |field| sql_type_of(field)),
                _ => SqlType::Text,
            },
        };
        sql_type.field(name, true)
    }
}

fn kind(word: &str) -> Kind {
    match word.trim_start_matches('[').trim_end_matches(']') {
        "boolean" => Kind::Boolean,
        "integer" | "bigint" => Kind::Integer,
        "same integer" => Kind::SameInteger,
        "double precision" => Kind::Float,
        "numeric" => Kind::Numeric,
        "text" => Kind::Text,
        "bytea" => Kind::Bytea,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "timestamp" => Kind::Timestamp,
        "timestamptz" => Kind::Timestamptz,
        "interval" => Kind::Interval,
        "json" | "jsonb" => Kind::Jsonb,
        "uuid" => Kind::Uuid,
        "array" => Kind::Array,
        _ if word == "text[]" || word == "text[" => Kind::Texts,
        _ => match word {
            "double precision[" | "double precision[]" => Kind::Floats,
            "integer[" | "integer[]" => Kind::Integers,
            _ => Kind::Any,
        },
    }
}

fn integer_width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(4)
}

/// Whether it is a text, or one of few that are numbered.
fn is_any_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_any_text(value),
        other => is_text(other),
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// Text may be a literal without a type: it is read as whatever is wanted, where nothing fits better.
const READ: Cost = 10;

impl Kind {
    /// The type that the kernel gets for an argument of type `found`, and how far that is; `None` if it does not fit.
    #[expect(clippy::too_many_lines, reason = "a flat match")]
    fn accept(self, found: &DataType, widest: usize) -> Option<(Cost, DataType)> {
        let target = self.arrow(found, widest)?;
        if found.is_null() {
            return Some((1, if target.is_null() { DataType::Utf8 } else { target }));
        }
        let cost = match self {
            Kind::Any => 5,
            _ if *found == target => 0,
            Kind::Text | Kind::Jsonb | Kind::Uuid => {
                if is_any_text(found) {
                    0
                } else {
                    return None;
                }
            }
            _ if is_any_text(found) => match self {
                // A column of texts is no column of numbers.
                Kind::Array | Kind::Integer | Kind::SameInteger | Kind::Float | Kind::Numeric => return None,
                _ => READ,
            },
            Kind::Boolean | Kind::Time => return None,
            Kind::Integer | Kind::SameInteger => {
                if found.is_integer() {
                    0
                } else {
                    return None;
                }
            }
            Kind::Float => {
                if found.is_integer() {
                    3
                } else if found.is_numeric() {
                    2
                } else {
                    return None;
                }
            }
            Kind::Numeric => {
                if found.is_integer() {
                    1
                } else if found.is_decimal() {
                    0
                } else {
                    return None;
                }
            }
            Kind::Bytea => {
                if matches!(found, DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)) {
                    0
                } else {
                    return None;
                }
            }
            Kind::Date => {
                if *found == DataType::Date64 {
                    0
                } else {
                    return None;
                }
            }
            Kind::Timestamp => match found {
                DataType::Timestamp(_, None) => 0,
                DataType::Date32 | DataType::Date64 => 2,
                _ => return None,
            },
            Kind::Timestamptz => match found {
                DataType::Timestamp(_, Some(_)) => 0,
                DataType::Timestamp(_, None) => 2,
                DataType::Date32 | DataType::Date64 => 1,
                _ => return None,
            },
            Kind::Interval => {
                if matches!(found, DataType::Interval(_) | DataType::Duration(_)) {
                    0
                } else {
                    return None;
                }
            }
            Kind::Array => 0,
            Kind::Texts | Kind::Floats | Kind::Integers => {
                if is_list(found) {
                    1
                } else {
                    return None;
                }
            }
        };
        Some((cost, target))
    }

    /// The type that the kernel gets.
    fn arrow(self, found: &DataType, widest: usize) -> Option<DataType> {
        let list = |element: SqlType| SqlType::Array(Box::new(element)).arrow();
        Some(match self {
            Kind::Boolean => DataType::Boolean,
            Kind::Integer => DataType::Int64,
            Kind::SameInteger => match widest {
                0..=2 => DataType::Int16,
                3..=4 => DataType::Int32,
                _ => DataType::Int64,
            },
            Kind::Float => DataType::Float64,
            Kind::Numeric => match found {
                // 1e10 comes as one digit in units of 10^10.
                DataType::Decimal128(precision, scale) if *scale < 0 => {
                    DataType::Decimal128(precision.saturating_add(scale.unsigned_abs()).min(38), 0)
                }
                DataType::Decimal128(..) | DataType::Decimal256(..) => found.clone(),
                DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
                other if other.is_integer() => DataType::Decimal128(integer_digits(other), 0),
                _ => DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
            },
            Kind::Text | Kind::Jsonb | Kind::Uuid => DataType::Utf8,
            Kind::Bytea => DataType::Binary,
            Kind::Date => DataType::Date32,
            Kind::Time => SqlType::Time.arrow(),
            Kind::Timestamp => SqlType::Timestamp.arrow(),
            Kind::Timestamptz => SqlType::Timestamptz.arrow(),
            Kind::Interval => SqlType::Interval.arrow(),
            Kind::Array => match found {
                DataType::List(_) => found.clone(),
                DataType::LargeList(field) | DataType::FixedSizeList(field, _) => DataType::List(field.clone()),
                DataType::Null => list(SqlType::Text),
                _ => return None,
            },
            Kind::Texts => list(SqlType::Text),
            Kind::Floats => list(SqlType::Float8),
            Kind::Integers => list(SqlType::Int4),
            Kind::Any => match found {
                DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                other => other.clone(),
            },
        })
    }
}
