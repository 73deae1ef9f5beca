//! The types of `$1`, `$2`, … of one statement: as declared, as the text around them says, or as PostgreSQL infers them.
//!
//! All expressions of a statement share one `Parameters`: what a parameter is in one of them it is in the others. Each text goes through
//! `typed`, which plans it and knows every parameter of it afterwards:
//!
//! 1. `written`: what shows without names: a cast, LIMIT, a condition.
//! 2. The text is planned. What has a type by now is planned as anything else of that type; a parameter without one is what a quoted string is
//!    to PostgreSQL, and an operator gives it the type that it would read the string as (`operators`).
//! 3. `infer`: the types of those that are left, from the calls and choices that they stand in. Text if there is nothing to go by.
//! 4. Where that is not what the plan took them for, the text is planned again, with the types.
//!
//! The first place that says something decides, of the parts of the statement in the order in which they are planned.

mod filled;
mod infer;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;

pub(super) use self::filled::Filling;
pub(super) use self::infer::{in_expression, in_plan};
pub(super) use self::written::number;
use crate::error::Result;
use crate::sql::Walk;
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

/// Parameters of one statement at the most: the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// Digits of the widest numeric there is (`Decimal256`).
const DIGITS_MAX: u8 = 76;

/// `numeric` without precision and scale.
const NUMERIC: SqlType = SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1);

/// What is known of the parameters of one statement.
#[derive(Debug)]
pub(super) struct Parameters {
    /// By the client.
    declared: Vec<Option<SqlType>>,
    types: Vec<Option<SqlType>>,
}

/// What a plan says of one parameter.
#[derive(Debug, Default)]
pub(super) struct Use {
    /// What it is to be, by the first place that says so.
    wanted: Option<SqlType>,
    /// What it is cast to, if nothing else says what it is: PostgreSQL would have looked at another place first.
    cast: Option<SqlType>,
    /// What it is where it stands, once for each place.
    planned: Vec<Option<SqlType>>,
}

/// By number.
pub(super) type Uses = BTreeMap<usize, Use>;

impl Parameters {
    /// Those of a statement for which the client has declared these types. One that says `numeric` and no more is open: clients know the type's
    /// number alone, so that precision and scale are to be found out from where the parameter stands.
    pub(super) fn new(declared: &[Option<SqlType>]) -> Self {
        let types = declared.iter().map(|known| known.clone().filter(|sql_type| *sql_type != NUMERIC)).collect();
        Parameters { declared: declared.to_vec(), types }
    }

    /// All of them: of what no text has said anything is text.
    pub(super) fn settled(self) -> Vec<SqlType> {
        self.types.into_iter().map(|known| known.unwrap_or(SqlType::Text)).collect()
    }

    /// Says what a parameter is, unless that is known. Numbers begin with 1.
    pub(super) fn note(&mut self, number: usize, sql_type: &SqlType) {
        // What is none is told by the text that names it.
        if number == 0 || number > PARAMETERS_MAX {
            return;
        }
        if self.types.len() < number {
            self.types.resize(number, None);
        }
        self.types[number - 1].get_or_insert_with(|| sql_type.clone());
    }

    /// Plans a text with the types as far as they are known, and makes those of its parameters known. `uses`: what a plan says of those that
    /// were not. `42P02` for a number that is none.
    pub(super) fn typed<T>(
        &mut self,
        text: &impl Walk,
        plan: impl Fn(&[Option<SqlType>]) -> Result<T>,
        uses: impl Fn(&T, &[Option<SqlType>]) -> Uses,
    ) -> Result<T> {
        let found = written::types(text)?;
        for (number, sql_type) in &found {
            self.types.resize(self.types.len().max(*number), None);
            if let Some(sql_type) = sql_type {
                self.note(*number, sql_type);
            }
        }
        self.settle();
        let planned = match plan(&self.types) {
            Ok(planned) => planned,
            // A function may have to know that it is a numeric, and not which.
            Err(_) if self.types != self.with_declared() => {
                self.types = self.with_declared();
                plan(&self.types)?
            }
            Err(error) => return Err(error),
        };
        self.inferred(found.into_keys().collect(), planned, plan, uses)
    }

    /// Fills the gaps among the parameters of these numbers by what the plan says of them, and plans again where it took them for others. What
    /// is beside a parameter that has become known may become known with it, so nothing else is filled as long as there is news.
    fn inferred<T>(
        &mut self,
        mut numbers: Vec<usize>,
        mut planned: T,
        plan: impl Fn(&[Option<SqlType>]) -> Result<T>,
        uses: impl Fn(&T, &[Option<SqlType>]) -> Uses,
    ) -> Result<T> {
        loop {
            let uses = uses(&planned, &self.types);
            numbers.retain(|number| self.types[number - 1].is_none());
            let is_told = |number: &usize| uses.get(number).is_some_and(|uses| uses.wanted().is_some());
            let (told, untold): (Vec<usize>, Vec<usize>) = numbers.iter().copied().partition(is_told);
            let last = told.is_empty() || untold.is_empty();
            let mut agreed = true;
            for number in if last { &numbers } else { &told } {
                agreed &= self.fill(*number, uses.get(number));
            }
            if agreed && last {
                return Ok(planned);
            }
            planned = plan(&self.types)?;
            if last {
                return Ok(planned);
            }
        }
    }

    /// Takes a declared `numeric` where it stands for what is none: the rest is a matter of casts.
    fn settle(&mut self) {
        for (known, declared) in self.types.iter_mut().zip(&self.declared) {
            if *declared == Some(NUMERIC) && known.as_ref().is_some_and(|known| !matches!(known, SqlType::Numeric(..))) {
                known.clone_from(declared);
            }
        }
    }

    /// The types with their gaps filled as declared.
    fn with_declared(&self) -> Vec<Option<SqlType>> {
        let declared = |index: usize| self.declared.get(index).cloned().flatten();
        self.types.iter().enumerate().map(|(index, known)| known.clone().or_else(|| declared(index))).collect()
    }

    /// Makes a type known by its use in a plan. Returns whether the plan has taken it for that: what it knows nothing of is what was declared,
    /// or text, as PostgreSQL decides too; what stands beside a numeric may have more digits than that, and beside a text any length.
    fn fill(&mut self, number: usize, uses: Option<&Use>) -> bool {
        let wanted = uses.and_then(Use::wanted);
        let declared = self.declared.get(number - 1).and_then(Option::as_ref);
        let taken = match (wanted, declared) {
            (Some(SqlType::Numeric(precision, scale)), _) => beside(*precision, *scale),
            (Some(other), None) => of_any_length(other),
            (_, Some(declared)) => declared.clone(),
            (None, None) => SqlType::Text,
        };
        let agreed = uses.is_none_or(|uses| uses.planned.iter().all(|planned| planned.as_ref() == Some(&taken)));
        self.types[number - 1] = Some(taken);
        agreed
    }
}

impl Use {
    fn wanted(&self) -> Option<&SqlType> {
        self.wanted.as_ref().or(self.cast.as_ref())
    }

    fn want(&mut self, sql_type: SqlType) {
        self.wanted.get_or_insert(sql_type);
    }
}

/// The type of a parameter that is compared or computed with a `numeric(precision, scale)`: what is multiplied with a price may have more
/// digits than the price. As many behind the point as `numeric` has, and before it as many as there can be.
fn beside(precision: u8, scale: i8) -> SqlType {
    let (digits, behind) = NUMERIC_DEFAULT;
    let before = i16::from(precision) - i16::from(scale);
    let scale = behind.max(scale);
    let precision = (before + i16::from(scale)).max(i16::from(digits));
    u8::try_from(precision)
        .ok()
        .filter(|precision| *precision <= DIGITS_MAX)
        .map_or(NUMERIC, |precision| SqlType::Numeric(precision, scale))
}

/// The type of what is compared with a `varchar(n)`, or with one of several.
fn of_any_length(sql_type: &SqlType) -> SqlType {
    match sql_type.whole() {
        SqlType::Varchar(_) => SqlType::Text,
        SqlType::Array(element) => SqlType::Array(Box::new(of_any_length(element))),
        other => other.clone(),
    }
}

/// Whether an expression is a parameter whose type nobody has said yet.
pub(super) fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(parameter) if type_of(parameter).is_none())
}

/// The type that a parameter has in a plan.
fn type_of(parameter: &Placeholder) -> Option<SqlType> {
    parameter.field.as_ref().filter(|field| !field.data_type().is_null()).map(|field| sql_type_of(field))
}

/// An open parameter as one of a type; anything else as it is.
pub(super) fn with_type(mut expr: Expr, sql_type: &SqlType) -> Expr {
    if is_open(&expr)
        && let Expr::Placeholder(parameter) = &mut expr
    {
        parameter.field = Some(Arc::new(sql_type.field("", true)));
    }
    expr
}

/// The number of a parameter.
pub(super) fn placeholder_number(expr: &Expr) -> Option<usize> {
    if let Expr::Placeholder(parameter) = expr { number_of(parameter) } else { None }
}

/// The number in `$n`.
fn number_of(parameter: &Placeholder) -> Option<usize> {
    parameter.id.strip_prefix('$')?.parse().ok()
}
