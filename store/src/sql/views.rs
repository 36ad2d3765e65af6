//! The views: tables of all sources one after the other, with the columns that their files have and some more.

mod samples;
mod tables;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::prune::{Conditions, time_range};
use super::sources::Sources;
use crate::segment::{PROMOTED, Table, schema_of};

/// Rows handed to the engine at once.
pub(super) const BATCH: usize = 8192;

/// The views there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Samples,
    Series,
    Stacks,
    Frames,
    Binaries,
    Accounts,
    Segments,
}

impl View {
    pub(super) const ALL: [Self; 7] = [
        Self::Samples,
        Self::Series,
        Self::Stacks,
        Self::Frames,
        Self::Binaries,
        Self::Accounts,
        Self::Segments,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
            Self::Stacks => "stacks",
            Self::Frames => "frames",
            Self::Binaries => "binaries",
            Self::Accounts => "accounts",
            Self::Segments => "segments",
        }
    }

    /// The table of segments behind it.
    fn table(self) -> Option<Table> {
        match self {
            Self::Samples => Some(Table::Samples),
            Self::Series => Some(Table::Series),
            Self::Stacks => Some(Table::Stacks),
            Self::Frames => Some(Table::Frames),
            Self::Binaries => Some(Table::Binaries),
            Self::Accounts => Some(Table::Accounts),
            Self::Segments => None,
        }
    }

    /// The columns; docs/formats.md says what they mean.
    pub(super) fn schema(self) -> Schema {
        let text = |name: &str| Field::new(name, DataType::Utf8View, false);
        let maybe_text = |name: &str| Field::new(name, DataType::Utf8View, true);
        let long = |name: &str| Field::new(name, DataType::Int64, false);
        let at = |name: &str| Field::new(name, timestamp(), false);
        let more: Vec<Field> = match self {
            Self::Samples => {
                let labels = PROMOTED.iter().map(|label| maybe_text(label));
                [at("timestamp"), long("stack"), text("unit")].into_iter().chain(labels).collect()
            }
            Self::Stacks => {
                vec![long("stack"), Field::new("parent_stack", DataType::Int64, true), maybe_text("function")]
            }
            Self::Frames => vec![maybe_text("path")],
            Self::Accounts => vec![at("timestamp")],
            Self::Series | Self::Binaries => Vec::new(),
            Self::Segments => vec![
                Field::new("start", timestamp(), false),
                Field::new("end", timestamp(), false),
                Field::new("level", DataType::Int32, true),
                long("resolution_ms"),
                long("rows"),
                Field::new("samples", DataType::Int64, true),
                Field::new("bytes", DataType::Int64, true),
                Field::new("schema_version", DataType::Int32, true),
                maybe_text("path"),
            ],
        };
        let stored = self.table().map(schema_of);
        let stored = stored.iter().flat_map(|schema| schema.fields()).map(|field| as_text_view(field));
        Schema::new([text("segment")].into_iter().chain(stored).chain(more).collect::<Vec<_>>())
    }
}

/// All times are in UTC, and say so.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()))
}

/// Texts that repeat are handed to the engine as views of one copy.
fn as_text_view(field: &Field) -> Field {
    let is_text = matches!(field.data_type(), DataType::Dictionary(..) | DataType::Utf8);
    if is_text { field.clone().with_data_type(DataType::Utf8View) } else { field.clone() }
}

/// A view as the engine sees it.
#[derive(Debug)]
pub(super) struct Provider {
    view: View,
    schema: SchemaRef,
    sources: Arc<Sources>,
}

impl Provider {
    pub(super) fn new(view: View, sources: &Arc<Sources>) -> Self {
        Self { view, schema: Arc::new(view.schema()), sources: sources.clone() }
    }
}

/// One scan of a view.
#[derive(Debug)]
struct Scan {
    view: View,
    /// The columns asked for.
    schema: SchemaRef,
    sources: Arc<Sources>,
    /// Places of the sources that may have rows.
    places: Vec<usize>,
    conditions: Conditions,
    /// Of `time`, Unix milliseconds.
    range: std::ops::Range<i64>,
    partitions: usize,
}

/// The part of a scan that one thread does.
#[derive(Debug)]
struct Partition {
    scan: Arc<Scan>,
    number: usize,
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // They tell what not to read; the engine still looks at every row.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let has_time = matches!(self.view, View::Samples | View::Accounts);
        let has_series = matches!(self.view, View::Samples | View::Series);
        let range = if has_time { time_range(filters) } else { i64::MIN..i64::MAX };
        let conditions = Conditions::new(session, has_series, filters)?;
        let places = self.sources.list().iter().enumerate().filter(|(_, source)| {
            let (from, until) = source.span();
            from < range.end && range.start < until && conditions.may_have_rows(source)
        });
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        let partitions = match self.view {
            View::Segments => 1,
            _ => session.config().target_partitions().max(1),
        };
        let sources = self.sources.clone();
        let scan =
            Scan { view: self.view, schema: schema.clone(), sources, places, conditions, range, partitions };
        let scan = Arc::new(scan);
        let parts = (0..partitions).map(|number| {
            let part: Arc<dyn PartitionStream> = Arc::new(Partition { scan: scan.clone(), number });
            part
        });
        Ok(Arc::new(StreamingTableExec::try_new(schema, parts.collect(), None, None, false, limit)?))
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.scan.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (scan, number) = (self.scan.clone(), self.number);
        let stream: futures::stream::BoxStream<'static, _> = match scan.view {
            View::Samples => Box::pin(futures::stream::iter(samples::Rows::new(scan, number))),
            _ => Box::pin(futures::stream::iter(tables::Rows::new(scan, number))),
        };
        Box::pin(RecordBatchStreamAdapter::new(self.scan.schema.clone(), stream))
    }
}
