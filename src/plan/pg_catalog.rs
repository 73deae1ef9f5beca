//! Queries on PostgreSQL's catalogs, as its clients write them → the same questions in words that DataFusion has.
//!
//! In: a parsed query. Out: the query with
//! - `pg_catalog.` taken off functions, `OPERATOR(pg_catalog.~)` resolved;
//! - casts to `regclass`, `regtype` and their kin turned into functions that look names up;
//! - `c.tableoid` of a catalog, which is its number, put in;
//! - and, if the query reads catalogs, its subqueries in a form that can be decorrelated (`subquery`).
//!
//! A query that has nothing of all this comes out as it went in.

mod empty;
mod subquery;

use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    ObjectNamePart, OrderByKind, Query, Select, TableFactor, Value, ValueWithSpan, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::written_call::{written_call, written_name};
use crate::catalog::system::declared_type;
use crate::sql::WalkMut;

/// Rewrites a query for planning. Called for every query before it is planned.
pub fn prepare_catalog_query(query: &mut Query) {
    let mut look = Look::default();
    let _ = query.walk_mut(&mut look);
    if look.catalogs || look.casts {
        // Columns are named after what the client wrote, not after what becomes of it.
        super::names::name_outputs(query, false);
    }
    rewrite(query, &look);
}

fn rewrite(query: &mut Query, look: &Look) {
    let _ = query.walk_mut(&mut Rewrite { catalogs: look.catalogs, scalars: !look.quantified });
}

/// Finds out whether a query reads system relations, or casts to names of objects.
#[derive(Default)]
struct Look {
    catalogs: bool,
    casts: bool,
    /// A subquery stands behind ANY or ALL: it is not a scalar one, though it looks like it.
    quantified: bool,
}

impl VisitorMut for Look {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        self.catalogs |= is_system(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } = expr {
            self.casts |= type_name(data_type).is_some_and(|name| name.starts_with("reg"));
        }
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr {
            self.quantified |= matches!(**right, Expr::Subquery(_));
        }
        ControlFlow::Continue(())
    }
}

/// Whether a name is that of a relation in `pg_catalog` or `information_schema`.
fn is_system(relation: &ObjectName) -> bool {
    empty::declared(relation).is_some()
}

struct Rewrite {
    catalogs: bool,
    /// Scalar subqueries may get an aggregate around their column.
    scalars: bool,
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.catalogs
            && empty::replace_empty(&mut query.body)
            && let Some(order) = &query.order_by
        {
            // What is empty needs no order, and the expressions may name columns that are gone.
            let by_expression = matches!(&order.kind, OrderByKind::Expressions(_));
            if by_expression {
                query.order_by = None;
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.catalogs {
            put_numbers(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        rewrite_function_number(expr);
        if self.catalogs {
            subquery::rewrite(expr, self.scalars);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => strip(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::EscapedStringLiteral(text) = &value.value {
            value.value = Value::SingleQuotedString(text.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                strip(&mut function.name);
                if self.catalogs {
                    keep_oid(expr);
                }
            }
            Expr::Cast { .. } => rewrite_cast(expr),
            Expr::Case { .. } if self.catalogs => {
                rewrite_null_case(expr);
                keep_oid(expr);
            }
            Expr::AnyOp { .. } => rewrite_any(expr),
            Expr::BinaryOp { .. } | Expr::InList { .. } => {
                rewrite_operator(expr);
                if self.catalogs {
                    rewrite_comparison(expr);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Takes `pg_catalog.` off a name.
fn strip(name: &mut ObjectName) {
    if name.0.len() == 2 && part(name, 0).as_deref() == Some("pg_catalog") {
        name.0.remove(0);
    }
}

/// A part of a dotted name, in lower case unless quoted.
fn part(name: &ObjectName, position: usize) -> Option<String> {
    name.0.get(position).and_then(ObjectNamePart::as_ident).map(super::names::normal)
}

/// The collations that all mean the order of bytes.
/// A literal.
fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

/// NULL of a type.
fn null_of(data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(literal(Value::Null)), data_type, array: false, format: None }
}

/// A literal's text.
fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text), .. }) => Some(text),
        Expr::Nested(inner) => literal_text(inner),
        _ => None,
    }
}

/// The name of the type that a cast goes to, without its schema.
fn type_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Text => Some("text".to_owned()),
        DataType::Varchar(_) => Some("varchar".to_owned()),
        DataType::Custom(name, _) => part(name, name.0.len().saturating_sub(1)),
        _ => None,
    }
}

/// `x::regclass` is a name when it is shown, a number when it is compared or cast on.
fn rewrite_cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = &*expr else { return };
    let Some(target) = type_name(data_type) else { return };
    let shown = |name: &str| {
        name.strip_prefix("tidemill_reg").and_then(|rest| rest.strip_suffix("_text")).map(|rest| format!("tidemill_reg{rest}"))
    };
    let new = match target.as_str() {
        "regclass" | "regtype" | "regnamespace" | "regrole" => {
            let suffix = if literal_text(inner).is_some() { "" } else { "_text" };
            written_call(&format!("tidemill_{target}{suffix}"), vec![(**inner).clone()])
        }
        // Functions are kept by their names.
        "regproc" | "regprocedure" | "regoper" | "regconfig" => match literal_text(inner) {
            Some(text) => literal(Value::SingleQuotedString(text.trim_start_matches("pg_catalog.").to_owned())),
            None => (**inner).clone(),
        },
        "oid" | "int4" | "int8" => match &**inner {
            Expr::Function(function) => match part(&function.name, 0).as_deref().and_then(shown) {
                Some(number) => renamed(function, &number),
                None => return,
            },
            _ => return,
        },
        "text" | "varchar" | "name" => match &**inner {
            Expr::Function(function) => match part(&function.name, 0) {
                Some(name) if name.starts_with("tidemill_reg") => {
                    if name.ends_with("_text") {
                        (**inner).clone()
                    } else {
                        renamed(function, &format!("{name}_text"))
                    }
                }
                _ => return,
            },
            _ => return,
        },
        _ => return,
    };
    *expr = new;
}

/// `'f'::regproc::oid`: functions are kept by their names, unless their number is asked for.
fn rewrite_function_number(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = &*expr else { return };
    let Expr::Cast { expr: name, data_type: kind, .. } = inner.as_ref() else { return };
    let is_function = type_name(kind).is_some_and(|kind| kind == "regproc" || kind == "regprocedure");
    if is_function && type_name(data_type).as_deref() == Some("oid") && literal_text(name).is_some() {
        *expr = written_call("tidemill_regproc", vec![(**name).clone()]);
    }
}

/// Puts the numbers of the catalogs that a SELECT reads in the place of their `tableoid`.
fn put_numbers(select: &mut Select) {
    struct Numbers(Vec<(String, u32)>);
    impl VisitorMut for Numbers {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = &*expr
                && let [relation, column] = parts.as_slice()
                && super::names::normal(column) == "tableoid"
                && let Some((_, number)) = self.0.iter().find(|(name, _)| *name == super::names::normal(relation))
            {
                *expr = literal(Value::Number(number.to_string(), false));
            }
            ControlFlow::Continue(())
        }
    }
    let factors = select.from.iter().flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    let numbers = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, .. } => {
            let called = alias.as_ref().map(|alias| super::names::normal(&alias.name)).or_else(|| part(name, name.0.len() - 1))?;
            Some((called, empty::declared(name)?.oid))
        }
        _ => None,
    });
    let mut numbers = Numbers(numbers.collect());
    let _ = select.walk_mut(&mut numbers);
}

/// The same call of another function.
fn renamed(function: &Function, name: &str) -> Expr {
    let mut function = function.clone();
    function.name = written_name(name);
    Expr::Function(function)
}

/// `OPERATOR(pg_catalog.~)` and the like.
fn rewrite_operator(expr: &mut Expr) {
    let Expr::BinaryOp { op, .. } = expr else { return };
    let BinaryOperator::PGCustomBinaryOperator(parts) = &*op else { return };
    *op = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("~~") => BinaryOperator::PGLikeMatch,
        Some("!~~") => BinaryOperator::PGNotLikeMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("||") => BinaryOperator::StringConcat,
        _ => return,
    };
}

/// `x = ANY('{a,b}')` → `x IN ('a', 'b')`.
fn rewrite_any(expr: &mut Expr) {
    let Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } = &*expr else { return };
    let Some(items) = literal_text(right).and_then(|text| text.strip_prefix('{')?.strip_suffix('}')) else { return };
    let items = items.split(',').filter(|item| !item.is_empty());
    let list = items.map(|item| literal(Value::SingleQuotedString(item.trim().trim_matches('"').to_owned()))).collect::<Vec<_>>();
    *expr = if list.is_empty() { literal(Value::Boolean(false)) } else { Expr::InList { expr: left.clone(), list, negated: false } };
}

/// `c.oid = '16384'` compares numbers and `i.indisprimary = 't'` booleans in PostgreSQL, since an untyped literal takes the type of the
/// other side.
fn rewrite_comparison(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => {
            match (type_of_column(left), type_of_column(right)) {
                (Some(sql_type), None) => to_type(right, sql_type),
                (None, Some(sql_type)) => to_type(left, sql_type),
                _ => {}
            }
        }
        Expr::InList { expr, list, .. } => {
            if let Some(sql_type) = type_of_column(expr) {
                list.iter_mut().for_each(|item| to_type(item, sql_type));
            }
        }
        _ => {}
    }
}

/// `CASE … THEN NULL ELSE NULL END` → NULL, of the type of the first.
fn rewrite_null_case(expr: &mut Expr) {
    let Expr::Case { conditions, else_result, .. } = &*expr else { return };
    let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
    if let Some(first) = conditions.first().map(|when| when.result.clone())
        && results.into_iter().all(is_null)
    {
        *expr = first;
    }
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_null(expr),
        _ => false,
    }
}

/// Says of an expression over OIDs that it is an OID again: DataFusion knows them as bigints, and drivers look at the type.
fn keep_oid(expr: &mut Expr) {
    let oid = oid_type();
    let data_type = match &*expr {
        Expr::Function(function) if part(&function.name, 0).as_deref() == Some("array_agg") && gives_oid(expr) => {
            DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(oid), None))
        }
        Expr::Function(_) | Expr::Case { .. } if gives_oid(expr) => oid,
        _ => return,
    };
    let inner = Box::new(std::mem::replace(expr, literal(Value::Null)));
    *expr = Expr::Cast { kind: CastKind::Cast, expr: inner, data_type, array: false, format: None };
}

/// The type `oid`.
fn oid_type() -> DataType {
    DataType::Custom(written_name("oid"), Vec::new())
}

/// Whether an expression's value is one of the OIDs within it.
fn gives_oid(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => type_of_column(expr) == Some("oid"),
        Expr::Nested(inner) => gives_oid(inner),
        Expr::Cast { data_type, .. } => *data_type == oid_type(),
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter().map(|when| &when.result).chain(else_result.as_deref()).any(gives_oid)
        }
        Expr::Function(function) => {
            let passes = part(&function.name, 0)
                .is_some_and(|name| matches!(name.as_str(), "array_agg" | "coalesce" | "first_value" | "max" | "min" | "nullif"));
            let FunctionArguments::List(list) = &function.args else { return false };
            passes
                && list
                    .args
                    .iter()
                    .any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if gives_oid(value)))
        }
        _ => false,
    }
}

/// The declared type of a column of system relations.
fn type_of_column(expr: &Expr) -> Option<&'static str> {
    declared_type(&empty::column_name(expr)?)
}

/// Makes a literal text the number or boolean that it says.
fn to_type(expr: &mut Expr, sql_type: &str) {
    let Some(text) = literal_text(expr) else { return };
    let value = match (sql_type, text) {
        ("bool", "t" | "true") => Value::Boolean(true),
        ("bool", "f" | "false") => Value::Boolean(false),
        ("oid" | "int2" | "int4" | "int8", digits) if digits.parse::<u32>().is_ok() => Value::Number(digits.to_owned(), false),
        _ => return,
    };
    *expr = literal(value);
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::{Look, rewrite};
    use crate::sql::WalkMut;

    fn prepared(text: &str) -> String {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_query().unwrap();
        let mut look = Look::default();
        let _ = query.walk_mut(&mut look);
        rewrite(&mut query, &look);
        query.to_string()
    }

    #[test]
    fn psql_finds_a_table_by_its_name() {
        assert_eq!(
            prepared(
                "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid)"
            ),
            "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname ~ '^(t)$' COLLATE pg_catalog.default AND pg_table_is_visible(c.oid)"
        );
        assert_eq!(prepared("SELECT relname FROM pg_class WHERE oid = '16384'"), "SELECT relname FROM pg_class WHERE oid = 16384");
    }

    #[test]
    fn casts_to_names_of_objects_become_functions() {
        assert_eq!(prepared("SELECT 'v'::pg_catalog.regclass::pg_catalog.oid"), "SELECT tidemill_regclass('v')::pg_catalog.oid");
        assert_eq!(prepared("SELECT c.oid::regclass::text FROM pg_class c"), "SELECT tidemill_regclass_text(c.oid) FROM pg_class c");
    }

    #[test]
    fn oids_stay_oids_and_there_are_no_domains() {
        assert_eq!(
            prepared("SELECT coalesce(t.typelem, 0), array_agg(a.atttypid) FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid"),
            "SELECT CAST(coalesce(t.typelem, 0) AS oid), CAST(array_agg(a.atttypid) AS oid[]) FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid"
        );
        let text = "SELECT CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE b (oid) AS (SELECT t2.typbasetype AS oid FROM pg_type t2 \
             UNION ALL SELECT t2.typbasetype FROM pg_type t2, b WHERE b.oid = t2.oid) SELECT oid FROM b) ELSE NULL END FROM pg_type t";
        assert_eq!(prepared(text), "SELECT CAST(NULL AS oid) FROM pg_type t");
    }

    #[test]
    fn what_reads_an_empty_relation_is_empty() {
        assert_eq!(
            prepared("SELECT c.oid::regclass FROM pg_class c, pg_inherits i WHERE c.oid = i.inhparent ORDER BY inhseqno"),
            "SELECT CAST(NULL AS TEXT) AS \"oid\" WHERE false"
        );
        assert_eq!(
            prepared("SELECT ARRAY(SELECT b.rolname FROM pg_auth_members m JOIN pg_roles b ON m.roleid = b.oid) FROM pg_roles"),
            "SELECT tidemill_no_texts() FROM pg_roles"
        );
    }

    #[test]
    fn psql_asks_for_defaults_column_by_column() {
        let text = "SELECT (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
             WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) FROM pg_catalog.pg_attribute a";
        assert_eq!(prepared(text), "SELECT tidemill_default(a.attrelid, a.attnum) FROM pg_catalog.pg_attribute a");
    }
}
