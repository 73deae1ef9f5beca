//! The scalar functions, each declared once: name, forms, volatility, what it does, and an example with its result.
//!
//! A family is a file with a table. A function with kernels is ours and is registered from here; one without is DataFusion's, which has
//! PostgreSQL's meaning. `docs/functions.md` is made from the tables (`docs`), and a test runs every example of it.

mod array;
mod binary;
mod calendar;
mod call;
mod column;
mod date;
mod date_format;
mod date_make;
mod date_round;
mod degrees;
#[cfg(test)]
mod docs;
mod form;
mod json;
mod json_lax;
mod math;
mod misc;
mod normal_form;
mod number_format;
mod numeric;
mod order;
mod prepared;
mod regex;
#[cfg(test)]
mod tests;
mod text;
mod text_format;
mod trigonometry;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF, Volatility};

pub(super) use self::calendar::{Zone, interval_range};
use self::call::Scalar;
pub(super) use self::date::{BUCKET_ORIGIN_US, interval_mean};
use self::form::{Form, Kernel, Kind, Outcome};
pub(super) use self::numeric::{QUOTIENT_SCALE, mean, total};
pub(super) use self::regex::{Room, each_match, split_by};
use crate::types::SqlType;

/// What a function works on; a chapter of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Characters.
    Text,
    /// Patterns.
    Regex,
    /// Numbers.
    Math,
    /// Dates, times and intervals.
    Date,
    /// `json` and `jsonb`.
    Json,
    /// Arrays.
    Array,
    /// Bytes.
    Binary,
    /// Values of any type.
    Any,
}

/// One function.
pub(super) struct Function {
    name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the documentation, which a test makes"))]
    family: Family,
    volatility: Volatility,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the documentation, which a test makes"))]
    doc: &'static str,
    /// SQL and the text of its result.
    examples: Vec<(&'static str, &'static str)>,
    forms: Vec<Form>,
    aliases: &'static [&'static str],
    /// An operator stands for it: it is shown so, and not called by name.
    operator: Option<&'static str>,
}

/// A function; its forms are to follow, and its family is that of the table in which it stands.
fn function(name: &'static str, doc: &'static str, example: &'static str, result: &'static str) -> Function {
    Function {
        name,
        family: Family::Any,
        volatility: Volatility::Immutable,
        doc,
        examples: vec![(example, result)],
        forms: Vec::new(),
        aliases: &[],
        operator: None,
    }
}

impl Function {
    /// A form that we compute: `"text, integer -> text"`.
    fn form(mut self, text: &'static str, kernel: Kernel) -> Self {
        self.forms.push(Form::new(text, Some(kernel)));
        self
    }

    /// A form that we compute, and PostgreSQL does not have.
    fn form_beyond(mut self, text: &'static str, kernel: Kernel) -> Self {
        self.forms.push(Form { beyond: true, ..Form::new(text, Some(kernel)) });
        self
    }

    /// A form that we compute, whose result's type depends on more than the types of its arguments.
    fn form_of(mut self, text: &'static str, outcome: Outcome, kernel: Kernel) -> Self {
        self.forms.push(Form { outcome: Some(outcome), ..Form::new(text, Some(kernel)) });
        self
    }

    /// A form that DataFusion computes.
    fn known(mut self, text: &'static str) -> Self {
        self.forms.push(Form::new(text, None));
        self
    }

    /// Another example.
    fn example(mut self, sql: &'static str, result: &'static str) -> Self {
        self.examples.push((sql, result));
        self
    }

    fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    fn operator(mut self, operator: &'static str) -> Self {
        self.operator = Some(operator);
        self
    }

    fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// Whether the kernels are ours.
    fn is_ours(&self) -> bool {
        self.forms.iter().any(|form| form.kernel.is_some())
    }
}

/// All functions, family by family.
static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    [
        (Family::Text, text::functions()),
        (Family::Text, text_format::functions()),
        (Family::Text, normal_form::functions()),
        (Family::Regex, regex::functions()),
        (Family::Math, math::functions()),
        (Family::Math, numeric::functions()),
        (Family::Math, trigonometry::functions()),
        (Family::Math, degrees::functions()),
        (Family::Date, date::functions()),
        (Family::Date, date_make::functions()),
        (Family::Date, date_round::functions()),
        (Family::Date, date_format::functions()),
        (Family::Math, number_format::functions()),
        (Family::Json, json::functions()),
        (Family::Json, json_lax::functions()),
        (Family::Array, array::functions()),
        (Family::Binary, binary::functions()),
        (Family::Any, misc::functions()),
        (Family::Any, order::functions()),
    ]
    .into_iter()
    .flat_map(|(family, table)| table.into_iter().map(move |function| Function { family, ..function }))
    .collect()
});

/// Our own, by name.
static OURS: LazyLock<HashMap<&'static str, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let ours = FUNCTIONS.iter().filter(|function| function.is_ours());
    ours.map(|function| (function.name, Arc::new(ScalarUDF::from(Scalar::new(function))))).collect()
});

/// The functions that take the place of DataFusion's, or stand beside them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS.iter().filter_map(|function| OURS.get(function.name).cloned()).collect()
}

/// Whether a function of ours is called so whose result shows the type of an integer.
pub(super) fn shows_integers(name: &str) -> bool {
    let shows = |function: &Function| {
        function.forms.iter().any(|form| form.arguments.iter().any(|kind| matches!(kind, Kind::SameInteger | Kind::Any)))
    };
    FUNCTIONS.iter().any(|function| function.is_ours() && (function.name == name || function.aliases.contains(&name)) && shows(function))
}

/// The type of an argument that has none yet, in a call of a function of the tables: of the forms that fit the other arguments, the one that
/// PostgreSQL would choose for a string in quotes. `types`: those of all arguments, Null where there is none.
pub(super) fn open_type(name: &str, types: &[DataType], place: usize) -> Option<SqlType> {
    let named = FUNCTIONS.iter().filter(|function| function.name == name || function.aliases.contains(&name));
    let fitting = named.flat_map(|function| &function.forms).filter_map(|form| Some((form.accept(types)?.0, form)));
    let open = || (0..types.len()).filter(|place| types[*place].is_null());
    let chosen = fitting.min_by_key(|(cost, form)| (*cost, form.beyond, open().map(|place| form.preference(place)).sum::<u32>()));
    chosen.and_then(|(_, form)| form.sql_type(place))
}

/// The operator behind which a function stands: for showing a call as the user wrote it.
pub(super) fn as_operator(call: &ScalarFunction) -> Option<Expr> {
    let operator = match call.func.inner().downcast_ref::<Scalar>()?.operator()? {
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        _ => return None,
    };
    let [left, right] = call.args.as_slice() else { return None };
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(right.clone()))))
}

/// A call of a function of ours.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let function = OURS.get(name).expect("declared in a table of this folder");
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
}
