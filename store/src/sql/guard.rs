//! What a statement may not do before it runs: make much out of little.
//!
//! The engine counts the memory of its operators, but not that of expressions: by `x || x` a few times over, a
//! statement of two lines fills any memory. So the longest text that each expression can make is estimated, in
//! lengths of a stored one, and what is out of all proportion is refused. The functions whose length is a number
//! among their arguments are left out altogether.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF};

/// Times that the longest stored text may be in one value. A batch of such values of names is some 200 MiB, which is
/// the memory of a query.
const MAX_LENGTH: u64 = 256;
/// What many values in one are taken for; they are within the memory that the engine counts.
const AGGREGATED: u64 = 16;
/// Bytes of a constant that count as one stored text.
const STORED: usize = 64;

/// Stored texts in the frames of a stack.
const FRAMES: u64 = 32;
/// Bytes of a short name.
const NAME: u64 = 16;

/// Functions whose result is as long as a number says.
const UNBOUNDED: [&str; 10] = [
    "array_repeat",
    "array_resize",
    "generate_series",
    "list_repeat",
    "list_resize",
    "lpad",
    "range",
    "repeat",
    "rpad",
    "space",
];

/// Whether a function may be called.
pub(super) fn is_allowed(function: &Arc<ScalarUDF>) -> bool {
    let unbounded = |name: &str| UNBOUNDED.contains(&name);
    !unbounded(function.name()) && !function.aliases().iter().any(|name| unbounded(name))
}

/// # Errors
/// When a value could be out of proportion.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    lengths(plan).map(|_| ())
}

/// By column of a plan, the length of its longest value.
fn lengths(plan: &LogicalPlan) -> Result<Vec<u64>> {
    let inputs = plan.inputs().into_iter().map(|input| Ok((input, lengths(input)?)));
    let inputs = Inputs(inputs.collect::<Result<Vec<_>>>()?);
    let mut own = Vec::new();
    for expr in plan.expressions() {
        let length = inputs.length(&expr)?;
        if length > MAX_LENGTH {
            let sentence = format!("`{}` could become too long", short(&expr));
            return Err(DataFusionError::Plan(sentence));
        }
        own.push(length);
    }
    let columns = plan.schema().fields().len();
    let below: Vec<u64> = inputs.0.iter().flat_map(|(_, lengths)| lengths.iter().copied()).collect();
    let most = own.iter().chain(&below).copied().max().unwrap_or(1);
    Ok(match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) if own.len() == columns => own,
        LogicalPlan::Window(_) if below.len() + own.len() == columns => [below, own].concat(),
        LogicalPlan::Union(_) => (0..columns)
            .map(|i| inputs.0.iter().filter_map(|(_, lengths)| lengths.get(i)).copied().max().unwrap_or(1))
            .collect(),
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => vec![1; columns],
        _ if below.len() == columns => below,
        _ => vec![most; columns],
    })
}

fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.chars().count() {
        0..=80 => text,
        _ => text.chars().take(79).chain(['…']).collect(),
    }
}

/// What a plan is made from, with the lengths of its columns.
struct Inputs<'a>(Vec<(&'a LogicalPlan, Vec<u64>)>);

impl Inputs<'_> {
    fn column(&self, column: &Column) -> u64 {
        let of = |(plan, lengths): &(&LogicalPlan, Vec<u64>)| {
            lengths.get(plan.schema().maybe_index_of_column(column)?).copied()
        };
        self.0.iter().find_map(of).unwrap_or(1)
    }

    /// The length of the longest value that an expression makes, counted too long rather than too short.
    fn length(&self, expr: &Expr) -> Result<u64> {
        let mut parts = Vec::new();
        match expr {
            Expr::Column(column) => return Ok(self.column(column)),
            Expr::OuterReferenceColumn(..) => return Ok(AGGREGATED),
            Expr::Literal(value, _) => return Ok((value.size() / STORED) as u64 + 1),
            Expr::ScalarSubquery(subquery) => {
                return Ok(lengths(&subquery.subquery)?.into_iter().max().unwrap_or(1));
            }
            Expr::Exists(exists) => check(&exists.subquery.subquery)?,
            Expr::InSubquery(within) => check(&within.subquery.subquery)?,
            Expr::SetComparison(within) => check(&within.subquery.subquery)?,
            _ => {}
        }
        expr.apply_children(|child| {
            parts.push(self.length(child)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let sum = || parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part)).max(1);
        let most = parts.iter().copied().max().unwrap_or(1);
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => sum(),
            Expr::ScalarFunction(ScalarFunction { func, args }) => match func.name() {
                "replace" | "regexp_replace" | "array_replace" | "array_replace_n" | "array_replace_all" => {
                    // Each character may give way to the whole of another text.
                    let others = args.iter().zip(&parts).skip(1).map(|(arg, part)| bytes(arg, *part));
                    parts.first().copied().unwrap_or(1).saturating_mul(others.max().unwrap_or(1))
                }
                "array_to_string" => {
                    let others = args.iter().zip(&parts).skip(1).map(|(arg, part)| bytes(arg, *part) / NAME);
                    let others = others.max().unwrap_or(0).saturating_add(1);
                    parts.first().copied().unwrap_or(1).saturating_mul(others)
                }
                "stack_frames" => FRAMES,
                _ => sum(),
            },
            Expr::AggregateFunction(AggregateFunction { func, .. })
                if matches!(func.name(), "array_agg" | "string_agg") =>
            {
                most.saturating_mul(AGGREGATED)
            }
            _ => most,
        })
    }
}

/// Bytes of an argument as long as `length`.
fn bytes(expr: &Expr, length: u64) -> u64 {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text),
            _,
        ) => text.as_ref().map_or(0, String::len) as u64,
        Expr::Literal(..) => 1,
        _ => length.saturating_mul(STORED as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_as_long_as_a_number_says_are_left_out() {
        let functions = datafusion::execution::SessionStateDefaults::default_scalar_functions();
        let names: Vec<_> =
            functions.iter().filter(|function| is_allowed(function)).map(|f| f.name()).collect();
        assert!(names.contains(&"concat") && names.contains(&"date_trunc"));
        for name in UNBOUNDED {
            assert!(!names.contains(&name), "{name}");
        }
    }
}
