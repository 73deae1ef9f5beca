//! GROUP BY with sets in every form that SQL has → the sets that it stands for.
//!
//! ```text
//! GROUP BY k, ()                             GROUP BY k
//! GROUP BY ROLLUP ((a, b), c)                GROUP BY GROUPING SETS ((a, b, c), (a, b), ())
//! GROUP BY GROUPING SETS (a, CUBE (b))       GROUP BY GROUPING SETS ((a), (b), ())
//! GROUP BY k, ROLLUP (a), GROUPING SETS (b, c)
//!                                            GROUP BY GROUPING SETS ((k, a, b), (k, a, c), (k, b), (k, c))
//! ```
//!
//! Several clauses stand for their product: every set of the one with every set of the other. DataFusion knows a single clause of columns; that
//! is left alone. (SQL:2016, 7.13; `expand_grouping_sets` in PostgreSQL's `parse_agg.c`.)

use std::collections::BTreeSet;

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, SelectItem, Value};

use super::each_select::each_select;
use crate::error::{Error, Kind, Result};
use crate::sql::DISTINCT_SETS;

/// Sets at the most, as in PostgreSQL: every row is repeated for every set.
const SETS_MAX: usize = 4_096;

/// Elements of a CUBE at the most, as in PostgreSQL: each doubles the sets.
const CUBE_ELEMENTS_MAX: usize = 12;

/// What rows are grouped by for one of the results.
type Set = Vec<Expr>;

/// Rewrites the clauses of `query`, and of queries within it.
pub(super) fn expand(query: &mut Query) -> Result<()> {
    each_select(query, |select| {
        let GroupByExpr::Expressions(clauses, _) = &mut select.group_by else { return Ok(()) };
        if let Some(new) = expanded(clauses, &select.projection)? {
            *clauses = new;
        }
        Ok(())
    })
}

/// `None`: the clauses are such that DataFusion knows them.
fn expanded(clauses: &[Expr], items: &[SelectItem]) -> Result<Option<Vec<Expr>>> {
    let (distinct, clauses) = match clauses.split_first() {
        Some((Expr::Identifier(name), rest)) if name.value == DISTINCT_SETS => (true, rest),
        _ => (false, clauses),
    };
    let is_special = |expr: &Expr| matches!(expr, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) | Expr::Tuple(_));
    let alone = clauses.len() == 1 && !distinct && clauses.iter().all(is_known);
    if alone || !clauses.iter().any(is_special) {
        return Ok(distinct.then(|| clauses.to_vec()));
    }
    let mut product: Vec<Set> = vec![Vec::new()];
    for clause in clauses {
        let sets = sets_of(clause)?;
        limited(product.len().saturating_mul(sets.len()))?;
        product = product.iter().flat_map(|left| sets.iter().map(move |right| [left.as_slice(), right].concat())).collect();
    }
    for set in &mut product {
        for expr in set.iter_mut() {
            *expr = meant(expr, items, "GROUP BY")?;
        }
        let mut seen = BTreeSet::new();
        set.retain(|expr| seen.insert(expr.to_string()));
    }
    if distinct {
        let mut seen = BTreeSet::new();
        product.retain(|set| seen.insert(set.iter().map(Expr::to_string).collect::<BTreeSet<_>>()));
    }
    Ok(Some(match product.as_mut_slice() {
        [only] if !only.is_empty() => std::mem::take(only),
        _ => vec![Expr::GroupingSets(product)],
    }))
}

/// Whether DataFusion knows a clause that stands alone.
fn is_known(clause: &Expr) -> bool {
    let is_place = |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)));
    let is_plain = |expr: &Expr| nested(expr).is_none() && !matches!(expr, Expr::Tuple(_)) && !is_place(expr);
    let single = |part: &Set| matches!(part.as_slice(), [only] if is_plain(only));
    let different = |exprs: &[Expr]| exprs.iter().map(Expr::to_string).collect::<BTreeSet<_>>().len() == exprs.len();
    match clause {
        Expr::GroupingSets(sets) => sets.iter().all(|set| set.iter().all(is_plain) && different(set)),
        Expr::Rollup(parts) => parts.iter().all(&single) && different(&parts.concat()),
        Expr::Cube(parts) => parts.len() <= CUBE_ELEMENTS_MAX && parts.iter().all(single) && different(&parts.concat()),
        _ => false,
    }
}

fn limited(sets: usize) -> Result<()> {
    if sets <= SETS_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::LimitExceeded, format!("too many grouping sets present (maximum {SETS_MAX})")).hint("List those that you need."))
}

/// The sets that one clause stands for.
fn sets_of(clause: &Expr) -> Result<Vec<Set>> {
    Ok(match clause {
        Expr::GroupingSets(sets) => {
            let mut all = Vec::new();
            for set in sets {
                match set.as_slice() {
                    [only] => all.extend(sets_of(only)?),
                    several => all.push(several.to_vec()),
                }
                limited(all.len())?;
            }
            all
        }
        Expr::Rollup(parts) => rollup(parts),
        Expr::Cube(parts) => cube(parts)?,
        Expr::Tuple(parts) => vec![parts.clone()],
        other => match nested(other) {
            Some((true, parts)) => rollup(&parts),
            Some((false, parts)) => cube(&parts)?,
            None => vec![vec![other.clone()]],
        },
    })
}

fn rollup(parts: &[Set]) -> Vec<Set> {
    (0..=parts.len()).rev().map(|kept| parts[..kept].concat()).collect()
}

fn cube(parts: &[Set]) -> Result<Vec<Set>> {
    if parts.len() > CUBE_ELEMENTS_MAX {
        let error = Error::new(Kind::TooManyColumns, format!("CUBE is limited to {CUBE_ELEMENTS_MAX} elements"));
        return Err(error.hint("List the sets that you need: GROUPING SETS (…)."));
    }
    let has = |mask: usize, place: usize| mask & (1 << place) == 0;
    let set = |mask: usize| parts.iter().enumerate().filter(|(place, _)| has(mask, *place)).flat_map(|(_, part)| part.clone()).collect();
    Ok((0..1_usize << parts.len()).map(set).collect())
}

/// ROLLUP (true) or CUBE within GROUPING SETS, which the parser takes for a call.
fn nested(expr: &Expr) -> Option<(bool, Vec<Set>)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let is_rollup = match name.to_string().to_ascii_lowercase().as_str() {
        "rollup" => true,
        "cube" => false,
        _ => return None,
    };
    let part = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(parts))) => Some(parts.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Nested(inner))) => Some(vec![inner.as_ref().clone()]),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(vec![expr.clone()]),
        _ => None,
    };
    list.args.iter().map(part).collect::<Option<Vec<_>>>().map(|parts| (is_rollup, parts))
}

/// A number in `clause` means the item of the select list at its place.
pub(super) fn meant(expr: &Expr, items: &[SelectItem], clause: &str) -> Result<Expr> {
    let Expr::Value(value) = expr else { return Ok(expr.clone()) };
    let Value::Number(digits, _) = &value.value else { return Ok(expr.clone()) };
    let item = digits.parse::<usize>().ok().and_then(|place| items.get(place.checked_sub(1)?));
    match item {
        Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) => Ok(item.clone()),
        Some(_) => Ok(expr.clone()),
        None => Err(Error::new(Kind::InvalidColumnReference, format!("{clause} position {digits} is not in select list"))),
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn expanded(group_by: &str) -> String {
        let mut query = crate::plan::parse_query(&format!("SELECT x, y + 1 FROM t GROUP BY {group_by}")).unwrap();
        expand(&mut query).unwrap();
        query.to_string().split_once("GROUP BY ").unwrap().1.to_owned()
    }

    #[test]
    fn clauses_stand_for_their_product() {
        assert_eq!(expanded("k, ()"), "k");
        assert_eq!(expanded("()"), "GROUPING SETS (())");
        assert_eq!(expanded("ROLLUP ((a, b), c)"), "GROUPING SETS ((a, b, c), (a, b), ())");
        assert_eq!(expanded("GROUPING SETS ((a), ROLLUP (b, c))"), "GROUPING SETS ((a), (b, c), (b), ())");
        assert_eq!(expanded("ROLLUP (a), CUBE (b)"), "GROUPING SETS ((a, b), (a), (b), ())");
        assert_eq!(expanded("k, GROUPING SETS (GROUPING SETS (a, ()), k)"), "GROUPING SETS ((k, a), (k), (k))");
        assert_eq!(expanded("DISTINCT k, GROUPING SETS (GROUPING SETS (a, ()), k)"), "GROUPING SETS ((k, a), (k))");
        assert_eq!(expanded("DISTINCT a"), "a");
        assert_eq!(expanded("2, ROLLUP (1)"), "GROUPING SETS ((y + 1, x), (y + 1))");
        assert_eq!(expanded("ROLLUP (1, 2)"), "GROUPING SETS ((x, y + 1), (x), ())");
        assert_eq!(expanded("GROUPING SETS ((1), (2))"), "GROUPING SETS ((x), (y + 1))");
    }

    #[test]
    fn what_datafusion_knows_is_left_alone() {
        for known in ["a, b", "ROLLUP (a, b)", "GROUPING SETS ((a, b), ())"] {
            assert_eq!(expanded(known), known);
        }
    }
}
