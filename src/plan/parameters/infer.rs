//! The types that PostgreSQL would give the open parameters of a plan, from where they stand.
//!
//! ```text
//! coalesce($1, n), CASE … THEN n ELSE $1 END, n IN ($1), n BETWEEN $1 AND $2, a UNION     the type that all of them have together
//! left(name, $1), tags[$1], jsonb -> $1, n = ANY ($1), generate_series(1, $1)             what the function takes there
//! name LIKE $1                                                                            text
//! ```
//!
//! Operators have given theirs already: then the parameter is of a type where it stands, and that counts where nothing here says otherwise.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::expr::{InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Case, Distinct, Expr, ExprSchemable, Like, LogicalPlan, Operator, TypeSignature};

use super::{Uses, is_open, number_of, placeholder_number, type_of};
use crate::plan::arrays;
use crate::plan::open_literals::{CHOOSING, common, type_beside};
use crate::plan::scalar;
use crate::plan::table_functions;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::{SqlType, sql_type_of};

/// What a plan says of the parameters that are not among the `known`, in subqueries too.
pub(in crate::plan) fn in_plan(plan: &LogicalPlan, known: &[Option<SqlType>]) -> Uses {
    let mut inference = Inference { known, uses: Uses::new() };
    let _ = plan.look_at_all(|node| {
        inference.columns_agree(node);
        let schema = merge_schema(&node.inputs());
        node.look_at_expressions(|expr| {
            inference.visit(expr, &schema);
            Ok(TreeNodeRecursion::Continue)
        })
    });
    inference.uses
}

/// What an expression over columns of `schema` says of them.
pub(in crate::plan) fn in_expression(expr: &Expr, schema: &DFSchema, known: &[Option<SqlType>]) -> Uses {
    let mut inference = Inference { known, uses: Uses::new() };
    inference.visit(expr, schema);
    inference.uses
}

struct Inference<'a> {
    known: &'a [Option<SqlType>],
    uses: Uses,
}

impl Inference<'_> {
    /// From the outside in: who holds a parameter knows better what it is than it does itself.
    fn visit(&mut self, expr: &Expr, schema: &DFSchema) {
        let _ = expr.look(|inner| {
            match inner {
                Expr::Placeholder(parameter) => self.seen(parameter),
                Expr::ScalarFunction(call) if CHOOSING.contains(&call.func.name()) => self.together(call.args.iter(), schema),
                Expr::ScalarFunction(call) => self.in_call(call, schema),
                Expr::Case(Case { expr, when_then_expr, else_expr }) => {
                    self.together(when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(else_expr.as_deref()), schema);
                    if expr.is_some() {
                        self.together(expr.as_deref().into_iter().chain(when_then_expr.iter().map(|(when, _)| when.as_ref())), schema);
                    }
                }
                Expr::InList(InList { expr, list, .. }) => self.together(std::iter::once(expr.as_ref()).chain(list), schema),
                Expr::Between(Between { expr, low, high, .. }) => {
                    self.together([expr.as_ref(), low.as_ref(), high.as_ref()].into_iter(), schema);
                }
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom, right }) => {
                    self.together([left.as_ref(), right.as_ref()].into_iter(), schema);
                }
                Expr::Like(Like { expr, pattern, .. }) | Expr::SimilarTo(Like { expr, pattern, .. }) => {
                    self.want(expr, &SqlType::Text);
                    self.want(pattern, &SqlType::Text);
                }
                Expr::WindowFunction(call) if matches!(call.fun.name(), "lag" | "lead") => {
                    self.together(call.params.args.iter().step_by(2), schema);
                }
                // Rows of VALUES are cast to the type that they have together.
                Expr::Cast(cast) => {
                    if let Some(number) = self.unknown(&cast.expr) {
                        self.uses.entry(number).or_default().cast.get_or_insert_with(|| sql_type_of(&cast.field));
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    /// The number of a parameter that was not known before the plan was made.
    fn unknown(&self, expr: &Expr) -> Option<usize> {
        placeholder_number(expr).filter(|number| *number > 0 && self.known.get(number - 1).is_none_or(Option::is_none))
    }

    /// What a parameter is where it stands.
    fn seen(&mut self, parameter: &Placeholder) {
        let Some(number) = number_of(parameter) else { return };
        let (uses, planned) = (self.uses.entry(number).or_default(), type_of(parameter));
        if let Some(planned) = &planned {
            uses.want(planned.clone());
        }
        uses.planned.push(planned);
    }

    fn want(&mut self, expr: &Expr, sql_type: &SqlType) {
        if let Some(number) = self.unknown(expr) {
            self.uses.entry(number).or_default().want(sql_type.clone());
        }
    }

    /// Values of which one is chosen, or that are compared with each other.
    fn together<'a>(&mut self, values: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) {
        if values.clone().all(|value| self.unknown(value).is_none()) {
            return;
        }
        let types = values.clone().filter(|value| self.unknown(value).is_none()).filter_map(|value| type_beside(value, schema));
        if let Some(wanted) = common(types) {
            values.for_each(|value| self.want(value, &wanted));
        }
    }

    /// The arguments of a call whose types neither the text nor an operator has said.
    fn in_call(&mut self, call: &ScalarFunction, schema: &DFSchema) {
        if !call.args.iter().any(is_open) {
            return;
        }
        let name = call.func.name();
        let field_of =
            |argument: &Expr| argument.to_field(schema).ok().map(|(_, field)| field).filter(|field| !field.data_type().is_null());
        let fields: Vec<Option<FieldRef>> = call.args.iter().map(field_of).collect();
        let type_of = |field: &Option<FieldRef>| field.as_ref().map_or(DataType::Null, |field| field.data_type().clone());
        let types: Vec<DataType> = fields.iter().map(type_of).collect();
        for (place, argument) in call.args.iter().enumerate().filter(|(_, argument)| is_open(argument)) {
            let wanted = arrays::open_type(name, &fields, place)
                .or_else(|| scalar::open_type(name, &types, place))
                .or_else(|| table_functions::open_type(name, &types, place))
                .or_else(|| signed(&call.func.signature().type_signature, types.len(), place));
            if let Some(wanted) = wanted {
                self.want(argument, &wanted);
            }
        }
    }

    /// The columns of a UNION, INTERSECT or EXCEPT.
    fn columns_agree(&mut self, node: &LogicalPlan) {
        let inputs: Vec<&Arc<LogicalPlan>> = match node {
            LogicalPlan::Union(union) => union.inputs.iter().collect(),
            LogicalPlan::Join(join)
                if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
                    && join.null_equality == NullEquality::NullEqualsNull =>
            {
                vec![&join.left, &join.right]
            }
            _ => return,
        };
        let width = inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
        for column in 0..width {
            let open: Vec<&Expr> = inputs.iter().flat_map(|input| column_parameters(input, column)).collect();
            let known = inputs.iter().filter(|input| column_parameters(input, column).is_empty());
            let known = known.map(|input| input.schema().field(column));
            let known = known.filter(|field| !field.data_type().is_null()).map(|field| sql_type_of(field));
            if let Some(wanted) = common(known) {
                open.into_iter().for_each(|parameter| self.want(parameter, &wanted));
            }
        }
    }
}

/// The type that a signature names at a place of so many arguments.
fn signed(signature: &TypeSignature, arguments: usize, place: usize) -> Option<SqlType> {
    match signature {
        TypeSignature::Exact(types) if types.len() == arguments => Some(sql_type_of(&Field::new("", types[place].clone(), true))),
        TypeSignature::OneOf(several) => several.iter().find_map(|one| signed(one, arguments, place)),
        _ => None,
    }
}

/// The parameters that a column of a SELECT is, or of SELECTs that have been joined by UNION.
fn column_parameters(plan: &LogicalPlan, column: usize) -> Vec<&Expr> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(column);
            while let Some(Expr::Alias(alias)) = expr {
                expr = Some(&alias.expr);
            }
            expr.filter(|expr| is_open(expr)).into_iter().collect()
        }
        LogicalPlan::Distinct(Distinct::All(input)) => column_parameters(input, column),
        LogicalPlan::Union(union) => {
            let parameters: Vec<Vec<&Expr>> = union.inputs.iter().map(|input| column_parameters(input, column)).collect();
            if parameters.iter().any(Vec::is_empty) { Vec::new() } else { parameters.concat() }
        }
        _ => Vec::new(),
    }
}
