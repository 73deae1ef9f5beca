//! The chapter of the documentation that is made from the tables.

use std::fmt::Write;

use super::{FUNCTIONS, Family, Function};
use datafusion::logical_expr::Volatility;

/// The chapters in their order.
const CHAPTERS: [(Family, &str); 8] = [
    (Family::Text, "Texts"),
    (Family::Regex, "Regular expressions"),
    (Family::Math, "Numbers"),
    (Family::Date, "Dates and times"),
    (Family::Json, "JSON"),
    (Family::Array, "Arrays"),
    (Family::Binary, "Bytes"),
    (Family::Any, "Any type"),
];

const HEAD: &str = "# Functions

Made from the tables in `src/plan/scalar` by `make docs`; every example is run by the tests. A function does the same in a query and in a view: they are the same code.
All of them give NULL if an argument is NULL, unless something else is said. Those marked *not in a view* give another answer each time.

Functions of logarithms, powers and angles compute with `double precision`, also of numerics. A regular expression that has alternatives takes the first that fits, where PostgreSQL takes the longest;
back references and looking around are refused. Two `jsonb` are equal (`=`, `IN`, `GROUP BY`, `DISTINCT`, joins) if their values are, whatever zeros stand at the ends of their numbers; but a `PRIMARY KEY` of `jsonb` tells `1.0` from `1`.
";

/// The whole file.
pub(super) fn markdown() -> String {
    let mut out = String::from(HEAD);
    for (family, title) in CHAPTERS {
        write!(out, "\n## {title}\n\n| | forms | what | example |\n|---|---|---|---|\n").expect("a String takes all text");
        let mut rows: Vec<&Function> = FUNCTIONS.iter().filter(|function| function.family == family).collect();
        rows.sort_by_key(|function| (function.operator.is_none(), function.operator, function.name));
        for function in rows {
            out.push_str(&row(function));
        }
    }
    out
}

fn row(function: &Function) -> String {
    let names: Vec<String> = match function.operator {
        Some(operator) => vec![operator.to_owned()],
        None => std::iter::once(&function.name).chain(function.aliases).map(|name| (*name).to_owned()).collect(),
    };
    let mut forms: Vec<&str> = function.forms.iter().map(|form| form.text).collect();
    forms.dedup();
    let not_in_views = if function.volatility == Volatility::Volatile { "; *not in a view*" } else { "" };
    let examples = function.examples.iter().map(|(sql, result)| format!("{} → {}", code(sql), code(&result.replace('\n', "⏎"))));
    format!(
        "| {} | {} | {}{not_in_views} | {} |\n",
        names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "),
        forms.iter().map(|form| code(&form.replace("->", "→"))).collect::<Vec<_>>().join("<br>"),
        function.doc.replace('|', "\\|"),
        examples.collect::<Vec<_>>().join("<br>")
    )
}

/// A text as code in a table.
fn code(text: &str) -> String {
    if text.is_empty() { "(empty)".to_owned() } else { format!("`{}`", text.replace('|', "\\|")) }
}
