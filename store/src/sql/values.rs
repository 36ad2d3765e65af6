//! From the engine's columns to values of JSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{ArrowError, DataType};
use datafusion::arrow::compute::cast;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Number, Value};

/// Whole numbers up to here, in both directions, are exact in every reader of JSON.
const EXACT: u64 = 1 << 53;

/// What a type is called in an answer.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytes".to_owned()
        }
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Duration(_) => "duration".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "decimal".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list of {}", type_name(item.data_type()))
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Map(..) => "map".to_owned(),
        DataType::Struct(_) => "struct".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// Adds the values of a column, and returns about how much memory they take.
pub(super) fn append(column: &ArrayRef, out: &mut Vec<Value>) -> Result<usize, ArrowError> {
    let before = out.len();
    let values = values_of(column)?;
    let bytes = values.iter().map(size).sum();
    out.extend(values);
    debug_assert_eq!(out.len() - before, column.len());
    Ok(bytes)
}

fn size(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(values) => values.iter().map(|(name, value)| name.len() + 64 + size(value)).sum(),
        _ => 0,
    }
}

macro_rules! whole {
    ($column:expr, $type:ty) => {
        $column.as_primitive::<$type>().iter().map(|value| value.map_or(Value::Null, whole)).collect()
    };
}

macro_rules! float {
    ($column:expr, $type:ty) => {
        $column
            .as_primitive::<$type>()
            .iter()
            .map(|value| value.map_or(Value::Null, |value| real(f64::from(value))))
            .collect()
    };
}

fn values_of(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Boolean => {
            column.as_boolean().iter().map(|value| value.map_or(Value::Null, Value::Bool)).collect()
        }
        DataType::Int8 => whole!(column, Int8Type),
        DataType::Int16 => whole!(column, Int16Type),
        DataType::Int32 => whole!(column, Int32Type),
        DataType::Int64 => whole!(column, Int64Type),
        DataType::UInt8 => whole!(column, UInt8Type),
        DataType::UInt16 => whole!(column, UInt16Type),
        DataType::UInt32 => whole!(column, UInt32Type),
        DataType::UInt64 => whole!(column, UInt64Type),
        DataType::Float16 => float!(column, Float16Type),
        DataType::Float32 => float!(column, Float32Type),
        DataType::Float64 => float!(column, Float64Type),
        DataType::Utf8 => column.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(text).collect(),
        DataType::Dictionary(_, values) => values_of(&cast(column, values)?)?,
        DataType::List(_) => each_list(column.as_list::<i32>().iter())?,
        DataType::LargeList(_) => each_list(column.as_list::<i64>().iter())?,
        DataType::FixedSizeList(..) => each_list(column.as_fixed_size_list().iter())?,
        DataType::Map(..) => {
            let maps = column.as_map();
            let object = |i: usize| -> Result<Value, ArrowError> {
                if maps.is_null(i) {
                    return Ok(Value::Null);
                }
                let entries = maps.value(i);
                let keys = values_of(entries.column(0))?.into_iter().map(|key| match key {
                    Value::String(key) => key,
                    other => other.to_string(),
                });
                Ok(Value::Object(keys.zip(values_of(entries.column(1))?).collect()))
            };
            (0..maps.len()).map(object).collect::<Result<_, _>>()?
        }
        DataType::Struct(fields) => {
            let structs = column.as_struct();
            let mut objects = vec![Map::new(); column.len()];
            for (field, column) in fields.iter().zip(structs.columns()) {
                for (object, value) in objects.iter_mut().zip(values_of(column)?) {
                    object.insert(field.name().clone(), value);
                }
            }
            let value = |(i, object)| if structs.is_null(i) { Value::Null } else { Value::Object(object) };
            objects.into_iter().enumerate().map(value).collect()
        }
        _ => {
            let options = FormatOptions::new();
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let value = |i: usize| match column.is_null(i) {
                true => Ok(Value::Null),
                false => formatter.value(i).try_to_string().map(Value::String),
            };
            (0..column.len()).map(value).collect::<Result<_, _>>()?
        }
    })
}

fn each_list(lists: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>, ArrowError> {
    lists.map(|list| list.map_or(Ok(Value::Null), |list| Ok(Value::Array(values_of(&list)?)))).collect()
}

fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, |value| Value::String(value.to_owned()))
}

/// A whole number, as text where not every reader of JSON keeps it exact.
fn whole<T: Copy + Into<Number> + std::fmt::Display>(value: T) -> Value {
    let number: Number = value.into();
    let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    match size {
        Some(size) if size <= EXACT => Value::Number(number),
        _ => Value::String(value.to_string()),
    }
}

/// A number; JSON has none that is infinite.
fn real(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int64Array, TimestampMillisecondArray, UInt64Array};
    use serde_json::json;
    use std::sync::Arc;

    fn values(column: ArrayRef) -> Vec<Value> {
        let mut out = Vec::new();
        assert!(append(&column, &mut out).unwrap() > 0);
        out
    }

    #[test]
    fn numbers_that_json_would_bend_are_text() {
        let edge = 1i64 << 53;
        let whole =
            values(Arc::new(Int64Array::from(vec![Some(edge), Some(edge + 1), Some(i64::MIN), None])));
        assert_eq!(
            whole,
            [json!(edge), json!("9007199254740993"), json!("-9223372036854775808"), json!(null)]
        );
        assert_eq!(values(Arc::new(UInt64Array::from(vec![u64::MAX]))), [json!("18446744073709551615")]);
        let real = values(Arc::new(Float64Array::from(vec![0.5, f64::NAN, f64::NEG_INFINITY])));
        assert_eq!(real, [json!(0.5), json!("NaN"), json!("-inf")]);
    }

    #[test]
    fn times_say_their_zone() {
        let times = TimestampMillisecondArray::from(vec![1_769_860_800_250]).with_timezone("+00:00");
        assert_eq!(values(Arc::new(times)), [json!("2026-01-31T12:00:00.250Z")]);
    }
}
