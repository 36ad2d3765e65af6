//! What a statement's conditions say about segments and series before any row is read. All of it only leaves out what
//! surely has no rows: the engine applies the conditions themselves afterwards.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;

use super::sources::Source;
use crate::model::{Profile, SeriesId};
use crate::segment::PROMOTED;

/// The columns that hang on the segment and the series alone.
fn series_schema() -> Schema {
    let mut fields = vec![
        Field::new("segment", DataType::Utf8View, false),
        Field::new("series", DataType::Int32, false),
        Field::new("unit", DataType::Utf8View, false),
    ];
    fields.extend(PROMOTED.map(|label| Field::new(label, DataType::Utf8View, true)));
    Schema::new(fields)
}

/// Conditions on what hangs on a segment and its series.
#[derive(Debug)]
pub(super) struct Conditions {
    schema: SchemaRef,
    /// On the segment alone.
    on_segment: Vec<Arc<dyn PhysicalExpr>>,
    /// On one label alone.
    on_label: Vec<(&'static str, Arc<dyn PhysicalExpr>)>,
    on_series: Vec<Arc<dyn PhysicalExpr>>,
}

impl Conditions {
    /// Those among the conditions of a statement that are of this kind.
    /// `has_series` says that the rows have the labels of series.
    pub(super) fn new(session: &dyn Session, has_series: bool, filters: &[Expr]) -> Result<Self> {
        let schema = Arc::new(series_schema());
        let columns = DFSchema::try_from(schema.as_ref().clone())?;
        let mut all = Self {
            schema: schema.clone(),
            on_segment: Vec::new(),
            on_label: Vec::new(),
            on_series: Vec::new(),
        };
        for condition in filters.iter().flat_map(split_conjunction) {
            let asked: Vec<&Column> = condition.column_refs().into_iter().collect();
            let is_ours = |column: &&Column| schema.index_of(&column.name).is_ok();
            if asked.is_empty() || !asked.iter().all(is_ours) || condition.is_volatile() {
                continue;
            }
            // What cannot be asked of series alone is asked of rows.
            let Ok(compiled) = session.create_physical_expr(condition.clone(), &columns) else { continue };
            match &asked[..] {
                [only] if only.name == "segment" => all.on_segment.push(compiled),
                _ if !has_series => {}
                [only] => {
                    if let Some(label) = PROMOTED.into_iter().find(|label| *label == only.name) {
                        all.on_label.push((label, compiled.clone()));
                    }
                    all.on_series.push(compiled);
                }
                _ => all.on_series.push(compiled),
            }
        }
        Ok(all)
    }

    /// Whether a source may have rows, as far as its name and its statistics say.
    pub(super) fn may_have_rows(&self, source: &Source) -> bool {
        if !self.on_segment.is_empty() {
            let one = self.batch(&source.name, 1, |_, _| None);
            if one.is_some_and(|one| self.on_segment.iter().any(|condition| no_row(condition, &one))) {
                return false;
            }
        }
        let statistics = source.segment().and_then(|segment| segment.manifest.statistics.as_ref());
        let Some(statistics) = statistics else { return true };
        self.on_label.iter().all(|(label, condition)| {
            // Statistics leave labels out when there are too many; a label they do not list may have any value.
            let Some(values) = statistics.labels.get(*label).and_then(|known| known.values.as_ref()) else {
                return true;
            };
            // The empty value is that of series without the label, or of some where it is empty.
            let values = values.iter().map(|value| Some(value.as_str()));
            let values: Vec<_> =
                values.flat_map(|value| [value, value.filter(|text| !text.is_empty())]).collect();
            let value = |name: &str, i: usize| values[i].filter(|_| name == *label);
            let batch = self.batch(&source.name, values.len(), value);
            batch.is_none_or(|batch| !no_row(condition, &batch))
        })
    }

    /// By series, whether its rows are surely not asked for (`Some(false)`).
    pub(super) fn decide(&self, source: &Source, tables: &Profile) -> Vec<Option<bool>> {
        let count = tables.series.len();
        let mut decided = vec![None; count];
        if self.on_series.is_empty() {
            return decided;
        }
        let value = |name: &str, i: usize| match name {
            "unit" => Some(tables.text(tables.series[i].unit)),
            label => tables.label(SeriesId(i as u32), label),
        };
        let Some(batch) = self.batch(&source.name, count, value) else { return decided };
        for condition in &self.on_series {
            let Some(holds) = holds(condition, &batch) else { continue };
            for (decided, holds) in decided.iter_mut().zip(holds) {
                if !holds {
                    *decided = Some(false);
                }
            }
        }
        decided
    }

    /// Rows with these values by column, numbered as series.
    fn batch<'a>(
        &self,
        segment: &str,
        rows: usize,
        value: impl Fn(&str, usize) -> Option<&'a str>,
    ) -> Option<RecordBatch> {
        let column = |field: &Arc<Field>| -> ArrayRef {
            match field.name().as_str() {
                "segment" => Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(segment, rows))),
                "series" => Arc::new(Int32Array::from_iter_values((0..rows).map(|i| i as i32))),
                name if field.is_nullable() => {
                    Arc::new((0..rows).map(|i| value(name, i)).collect::<StringViewArray>())
                }
                name => {
                    let values = (0..rows).map(|i| value(name, i).unwrap_or(""));
                    Arc::new(StringViewArray::from_iter_values(values))
                }
            }
        };
        let columns = self.schema.fields().iter().map(column).collect();
        RecordBatch::try_new(self.schema.clone(), columns).ok()
    }
}

/// For which rows a condition holds; none where it cannot be told, as when it divides by zero.
fn holds(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Option<Vec<bool>> {
    let values = condition.evaluate(batch).ok()?.into_array(batch.num_rows()).ok()?;
    let values = values.as_boolean_opt()?;
    Some((0..values.len()).map(|i| values.is_valid(i) && values.value(i)).collect())
}

fn no_row(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> bool {
    holds(condition, batch).is_some_and(|holds| !holds.contains(&true))
}

/// The range of `time`, Unix milliseconds, outside which the conditions surely do not hold.
pub(super) fn time_range(filters: &[Expr]) -> Range<i64> {
    let mut range = i64::MIN..i64::MAX;
    for condition in filters.iter().flat_map(split_conjunction) {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let Some(bound) = time_of(left).and_then(|time| bound(right, time)) {
                    narrow(&mut range, *op, bound);
                } else if let Some(bound) = time_of(right).and_then(|time| bound(left, time))
                    && let Some(op) = op.swap()
                {
                    narrow(&mut range, op, bound);
                }
            }
            Expr::Between(between) if !between.negated => {
                let Some(time) = time_of(&between.expr) else { continue };
                if let Some(low) = bound(&between.low, time) {
                    narrow(&mut range, Operator::GtEq, low);
                }
                if let Some(high) = bound(&between.high, time) {
                    narrow(&mut range, Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }
    range
}

/// The columns that say when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// `time`, a number.
    Number,
    /// `timestamp`.
    Timestamp,
}

/// The column whose time an expression is.
fn time_of(expr: &Expr) -> Option<Time> {
    let column = |expr: &Expr| match expr {
        Expr::Column(column) if column.name == "time" => Some(Time::Number),
        Expr::Column(column) if column.name == "timestamp" => Some(Time::Timestamp),
        _ => None,
    };
    match expr {
        // To what is as fine and means the same: a number would be taken to be in other units.
        Expr::Cast(cast) => {
            let is_as_fine = matches!(
                cast.field.data_type(),
                DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            );
            column(&cast.expr).filter(|time| is_as_fine && *time == Time::Timestamp)
        }
        expr => column(expr),
    }
}

/// The whole millisecond at or before a constant, and whether the constant is exactly there.
fn bound(expr: &Expr, time: Time) -> Option<(i64, bool)> {
    let split = |value: i64, per_ms: i64| (value.div_euclid(per_ms), value.rem_euclid(per_ms) == 0);
    let Expr::Literal(value, _) = expr else { return None };
    match (time, value) {
        (Time::Number, ScalarValue::Int64(Some(ms))) => Some((*ms, true)),
        (Time::Timestamp, ScalarValue::TimestampMillisecond(Some(ms), _)) => Some((*ms, true)),
        (Time::Timestamp, ScalarValue::TimestampMicrosecond(Some(us), _)) => Some(split(*us, 1000)),
        (Time::Timestamp, ScalarValue::TimestampNanosecond(Some(ns), _)) => Some(split(*ns, 1_000_000)),
        _ => None,
    }
}

fn narrow(range: &mut Range<i64>, op: Operator, (ms, is_exact): (i64, bool)) {
    let next = ms.saturating_add(1);
    let (from, until) = match op {
        Operator::Eq => (ms, next),
        Operator::Gt => (next, i64::MAX),
        Operator::GtEq => (if is_exact { ms } else { next }, i64::MAX),
        Operator::Lt => (i64::MIN, if is_exact { ms } else { next }),
        Operator::LtEq => (i64::MIN, next),
        _ => return,
    };
    range.start = range.start.max(from);
    range.end = range.end.min(until);
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{cast, col, lit};

    fn ns(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("+00:00".into())))
    }

    #[test]
    fn conditions_on_time_narrow_the_range_and_never_too_much() {
        let all = i64::MIN..i64::MAX;
        let as_ns =
            || cast(col("timestamp"), DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())));
        for (filter, expected) in [
            (col("time").gt_eq(lit(5i64)), 5..i64::MAX),
            (col("time").gt(lit(5i64)).and(col("time").lt(lit(9i64))), 6..9),
            (lit(5i64).lt_eq(col("time")), 5..i64::MAX),
            (lit(5i64).gt(col("time")), i64::MIN..5),
            (col("time").eq(lit(5i64)), 5..6),
            (col("time").between(lit(5i64), lit(7i64)), 5..8),
            (col("time").not_between(lit(5i64), lit(7i64)), all.clone()),
            (as_ns().gt_eq(ns(5_000_001)), 6..i64::MAX),
            (as_ns().gt_eq(ns(5_000_000)), 5..i64::MAX),
            (as_ns().gt(ns(5_000_001)), 6..i64::MAX),
            (as_ns().lt(ns(5_000_001)), i64::MIN..6),
            (as_ns().lt(ns(5_000_000)), i64::MIN..5),
            (as_ns().lt_eq(ns(-1)), i64::MIN..0),
            // Many times are one day.
            (cast(col("timestamp"), DataType::Date32).eq(lit(ScalarValue::Date32(Some(1)))), all.clone()),
            (cast(col("time"), DataType::Int32).gt(lit(5i64)), all.clone()),
            // Other units.
            (cast(col("time"), DataType::Timestamp(TimeUnit::Nanosecond, None)).gt(ns(5)), all.clone()),
            (cast(as_ns(), DataType::Int64).gt(lit(5i64)), all.clone()),
            (cast(as_ns(), DataType::Timestamp(TimeUnit::Second, None)).gt(ns(5)), all.clone()),
            (col("time").gt(lit(5i64)).or(col("pid").eq(lit(1i64))), all.clone()),
            (col("value").gt(lit(5i64)), all),
            (col("time").gt(lit(i64::MAX)), i64::MAX..i64::MAX),
        ] {
            assert_eq!(time_range(std::slice::from_ref(&filter)), expected, "{filter}");
        }
    }
}
