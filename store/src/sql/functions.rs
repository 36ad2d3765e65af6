//! The functions of stacks: what an id of a stack leads to.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, ListBuilder, StringViewBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::{DataType, Field};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::sources::{Sources, StackId, key_of, node_of};
use crate::model::{FrameId, NodeId, Profile};
use crate::query::FunctionName;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    StackFrames,
    Leaf,
    ContainsFunction,
}

/// A function of stacks, of the sources of one statement.
#[derive(Debug)]
struct StackFunction {
    kind: Kind,
    signature: Signature,
    sources: Arc<Sources>,
}

/// The functions.
pub(super) fn all(sources: &Arc<Sources>) -> Vec<Arc<ScalarUDF>> {
    let of = |kind, arguments| {
        let signature = Signature::exact(arguments, Volatility::Stable);
        Arc::new(ScalarUDF::new_from_impl(StackFunction { kind, signature, sources: sources.clone() }))
    };
    vec![
        of(Kind::StackFrames, vec![DataType::Int64]),
        of(Kind::Leaf, vec![DataType::Int64]),
        of(Kind::ContainsFunction, vec![DataType::Int64, DataType::Utf8View]),
    ]
}

impl PartialEq for StackFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.sources, &other.sources)
    }
}

impl Eq for StackFunction {}

impl Hash for StackFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for StackFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::StackFrames => "stack_frames",
            Kind::Leaf => "leaf",
            Kind::ContainsFunction => "contains_function",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::StackFrames => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
            Kind::Leaf => DataType::Utf8View,
            Kind::ContainsFunction => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (ids, name) = match &args.args[..] {
            [ids] => (ids, None),
            [ids, name] => (ids, Some(name)),
            other => {
                return Err(DataFusionError::Internal(format!(
                    "{} arguments of {}",
                    other.len(),
                    self.name()
                )));
            }
        };
        // One stack and one name make one value.
        let is_one =
            matches!(ids, ColumnarValue::Scalar(_)) && !matches!(name, Some(ColumnarValue::Array(_)));
        let ids = ids.to_array(if is_one { 1 } else { rows })?;
        let ids = ids.as_primitive_opt::<Int64Type>();
        let ids = ids.ok_or_else(|| DataFusionError::Internal("a stack is no whole number".to_owned()))?;
        let values = match (self.kind, name) {
            (Kind::ContainsFunction, Some(name)) => {
                let name = name.to_array(ids.len())?;
                self.contain(ids, &name)?
            }
            (Kind::Leaf, _) => self.leaves(ids)?,
            _ => self.frames(ids)?,
        };
        if is_one {
            let value = datafusion::common::ScalarValue::try_from_array(&values, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// Finds stacks; neighbours are mostly of one segment.
struct Finder<'a> {
    sources: &'a Sources,
    last: Option<(u32, Option<Arc<Profile>>)>,
}

impl Finder<'_> {
    /// The tables that hold a stack; none for an id that names none.
    fn find(&mut self, id: StackId) -> Result<Option<(u32, &Profile, NodeId)>> {
        let Some(key) = key_of(id) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(known, _)| *known != key) {
            self.sources.check()?;
            self.last = Some((key, self.sources.by_key(key)?));
        }
        let tables = self.last.as_ref().and_then(|(_, tables)| tables.as_deref());
        let node = node_of(id);
        Ok(tables.filter(|tables| (node.0 as usize) < tables.stacks.len()).map(|tables| (key, tables, node)))
    }
}

impl StackFunction {
    fn finder(&self) -> Finder<'_> {
        Finder { sources: &self.sources, last: None }
    }

    /// Names of functions from the outermost caller to the leaf.
    fn frames(&self, ids: &Int64Array) -> Result<ArrayRef> {
        let mut finder = self.finder();
        let mut lists = ListBuilder::new(StringViewBuilder::new().with_deduplicate_strings());
        let mut frames: Vec<FrameId> = Vec::new();
        for id in ids {
            let found = id.map(|id| finder.find(id)).transpose()?.flatten();
            if let Some((_, tables, node)) = found {
                frames.clear();
                frames.extend(tables.stacks.leaf_to_root(node));
                for frame in frames.iter().rev() {
                    lists.values().append_value(tables.text(tables.frame(*frame).function));
                }
            }
            lists.append(found.is_some());
        }
        Ok(Arc::new(lists.finish()))
    }

    /// Name of the function that a stack ends in.
    fn leaves(&self, ids: &Int64Array) -> Result<ArrayRef> {
        let mut finder = self.finder();
        let mut names = StringViewBuilder::new().with_deduplicate_strings();
        for id in ids {
            let found = id.map(|id| finder.find(id)).transpose()?.flatten();
            let frame = found.and_then(|(_, tables, node)| Some((tables, tables.stacks.frame(node)?)));
            names.append_option(frame.map(|(tables, frame)| tables.text(tables.frame(frame).function)));
        }
        Ok(Arc::new(names.finish()))
    }

    /// Whether functions are on stacks.
    fn contain(&self, ids: &Int64Array, names: &ArrayRef) -> Result<ArrayRef> {
        let names = names.as_string_view_opt();
        let names = names.ok_or_else(|| DataFusionError::Internal("a name is no text".to_owned()))?;
        let mut finder = self.finder();
        let mut holds = BooleanBuilder::with_capacity(ids.len());
        let mut function: Option<(&str, FunctionName)> = None;
        let mut nodes: Option<(u32, Arc<Vec<bool>>)> = None;
        for row in 0..ids.len() {
            if ids.is_null(row) || names.is_null(row) {
                holds.append_null();
                continue;
            }
            let name = names.value(row);
            let function = match &mut function {
                Some((known, function)) if *known == name => function,
                other => {
                    nodes = None;
                    let parsed = FunctionName::parse(name).map_err(DataFusionError::Execution)?;
                    &mut other.insert((name, parsed)).1
                }
            };
            let Some((key, tables, node)) = finder.find(ids.value(row))? else {
                holds.append_null();
                continue;
            };
            let known = match &nodes {
                Some((known, nodes)) if *known == key => nodes,
                _ => &nodes.insert((key, self.sources.nodes_with(key, tables, name, function)?)).1,
            };
            holds.append_value(known[node.0 as usize]);
        }
        Ok(Arc::new(holds.finish()))
    }
}
