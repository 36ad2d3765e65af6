//! Running a statement: parsed, planned and executed within limits, and anew when a segment goes away under it.
//!
//! It runs on threads of its own with large stacks, since plans are trees as deep as a statement cares to nest, and
//! ends when its token is cancelled. Nothing but the views can be named, and nothing can be made or changed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{DataFusionError, Result};
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateDefaults};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as Ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use futures::StreamExt;

use super::metered::metered;
use super::sources::{Sources, Unreadable};
use super::values::{append, type_name};
use super::views::{BATCH, Provider, View};
use super::{SqlAnswer, SqlColumn, SqlError, functions, guard, words};
use crate::error::Error;
use crate::handle::Store;
use crate::query::Cancel;

/// A statement starts over when a segment vanishes under it or turns out to be damaged, at most this often.
const MAX_TRIES: usize = 8;
/// Of each thread; only what is used takes memory.
const STACK_BYTES: usize = 128 << 20;
/// Words and signs of a statement. Chains such as `1+1+1` become plans half as deep as they have tokens, which are
/// walked level by level: 128 KiB of stack for each is ten times what they were seen to take.
const MAX_TOKENS: usize = 2_000;
/// How deep parentheses and subqueries may nest.
pub(super) const MAX_NESTING: usize = 50;
/// How often it is looked whether the statement is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// Answers a statement with at most so many rows.
pub(super) fn answer(store: &Store, statement: &str, max_rows: usize) -> crate::error::Result<SqlAnswer> {
    let parsed = parse(statement).map_err(|error| words::told(error, statement, 0))?;
    let run = || {
        let mut unreadable = Unreadable::new();
        for tries in 1.. {
            let task = Task { store, statement, max_rows };
            let is_last = tries == MAX_TRIES;
            match task.run(parsed.clone(), &unreadable, is_last)? {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::Again(more) if !is_last => unreadable = more,
                Outcome::Again(_) => break,
            }
        }
        let sentence = "the data changes faster than it can be read, or much of it is damaged";
        Err(Error::Sql(SqlError::new(sentence)))
    };
    // The engine may give up by panicking on what its authors did not think of.
    let guarded = || catch_unwind(AssertUnwindSafe(run));
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, guarded);
        thread.map(|thread| thread.join().unwrap_or_else(Err))
    });
    match done {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Sql(SqlError::new("the engine gave up on the statement"))),
        Err(source) => Err(Error::Io { action: "start a thread for", path: store.path().to_owned(), source }),
    }
}

/// The one statement of a text, if it only reads.
fn parse(text: &str) -> Result<Statement> {
    let plan_error = |message: &str| Err(DataFusionError::Plan(message.to_owned()));
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| DataFusionError::SQL(Box::new(error.into()), None))?;
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    if tokens.iter().filter(is_word).count() > MAX_TOKENS {
        return plan_error("the statement has more than 2000 words and signs");
    }
    let mut statements =
        DFParserBuilder::new(tokens).with_recursion_limit(MAX_NESTING).build()?.parse_statements()?;
    let Some(statement) = statements.pop_front() else { return plan_error("there is no statement") };
    if !statements.is_empty() {
        return plan_error("there are several statements; one is answered at a time");
    }
    match only_reads(&statement) {
        true => Ok(statement),
        false => plan_error("only SELECT, EXPLAIN, DESCRIBE and SHOW TABLES or COLUMNS are answered"),
    }
}

fn only_reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(ast) => matches!(
            **ast,
            Ast::Query(_) | Ast::ExplainTable { .. } | Ast::ShowTables { .. } | Ast::ShowColumns { .. }
        ),
        Statement::Explain(explain) => is_query(&explain.statement),
        _ => false,
    }
}

fn is_query(statement: &Statement) -> bool {
    matches!(statement, Statement::Statement(ast) if matches!(**ast, Ast::Query(_)))
}

enum Outcome {
    Answer(SqlAnswer),
    /// The statement has to be run anew, without these.
    Again(Unreadable),
}

/// One statement on its way.
struct Task<'a> {
    store: &'a Store,
    statement: &'a str,
    max_rows: usize,
}

impl Task<'_> {
    fn run(
        &self,
        statement: Statement,
        unreadable: &Unreadable,
        is_last: bool,
    ) -> crate::error::Result<Outcome> {
        let limits = self.store.limits();
        let bytes = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
        let sources = Arc::new(Sources::new(self.store, pool.clone(), unreadable, is_last)?);
        let told = |error| words::told(error, self.statement, limits.memory_bytes);
        let context = context(&sources, pool, limits.threads.max(1)).map_err(told)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(limits.threads.max(1))
            .thread_name("sql-work")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build();
        let runtime = runtime.map_err(|source| Error::Io {
            action: "start threads for",
            path: self.store.path().to_owned(),
            source,
        })?;
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                () = gone(&limits.cancel) => Err(super::sources::external(Error::Cancelled)),
                result = self.execute(&context, statement, &sources) => result,
            }
        });
        // Waits for the threads: nothing of a statement runs on after it.
        drop(runtime);
        limits.cancel.check()?;
        if sources.must_restart() {
            return Ok(Outcome::Again(sources.skipped().clone()));
        }
        let mut answer = result.map_err(told)?;
        answer.skipped = sources.skipped().keys().cloned().collect();
        Ok(Outcome::Answer(answer))
    }

    async fn execute(
        &self,
        context: &SessionContext,
        statement: Statement,
        sources: &Sources,
    ) -> Result<SqlAnswer> {
        let is_query = is_query(&statement);
        let state = context.state();
        let plan = state.statement_to_plan(statement).await?;
        let only_reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        only_reading.with_allow_statements(false).verify_plan(&plan)?;
        guard::check(&plan)?;
        let mut frame = DataFrame::new(state, plan);
        if is_query {
            // One more, to know whether there are more.
            frame = frame.limit(0, Some(self.max_rows.saturating_add(1)))?;
        }
        let task = Arc::new(frame.task_ctx());
        let plan = metered(frame.create_physical_plan().await?)?;
        let stream = execute_stream(plan, task)?;
        self.collect(stream, sources.reservation("the answer")).await
    }

    async fn collect(
        &self,
        mut stream: SendableRecordBatchStream,
        memory: MemoryReservation,
    ) -> Result<SqlAnswer> {
        let schema = stream.schema();
        let column = |field: &Arc<arrow_schema::Field>| SqlColumn {
            name: field.name().clone(),
            kind: type_name(field.data_type()),
            values: Vec::new(),
        };
        let mut answer =
            SqlAnswer { columns: schema.fields().iter().map(column).collect(), ..SqlAnswer::default() };
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let left = self.max_rows - answer.rows;
            let batch = batch.slice(0, batch.num_rows().min(left.saturating_add(1)));
            answer.truncated = batch.num_rows() > left;
            let batch = batch.slice(0, batch.num_rows().min(left));
            for (column, values) in answer.columns.iter_mut().zip(batch.columns()) {
                memory.try_grow(append(values, &mut column.values)?)?;
            }
            answer.rows += batch.num_rows();
            if answer.truncated {
                break;
            }
        }
        Ok(answer)
    }
}

/// Ready when nobody waits for the answer any more.
async fn gone(cancel: &Cancel) {
    while cancel.check().is_ok() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A session that knows the views and the functions, and nothing else.
fn context(sources: &Arc<Sources>, pool: Arc<dyn MemoryPool>, threads: usize) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_batch_size(BATCH)
        .with_information_schema(true)
        .with_default_catalog_and_schema("vesta", "store");
    let options = config.options_mut();
    // What grows with each round could grow beyond any memory.
    options.execution.enable_recursive_ctes = false;
    options.sql_parser.collect_spans = true;
    let mut scalar = SessionStateDefaults::default_scalar_functions();
    scalar.retain(guard::is_allowed);
    scalar.extend(functions::all(sources));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime_env(pool)?)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar)
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .build();
    let context = SessionContext::new_with_state(state);
    for view in View::ALL {
        context.register_table(view.name(), Arc::new(Provider::new(view, sources)))?;
    }
    Ok(context)
}

/// Memory up to a limit, and no files.
fn runtime_env(pool: Arc<dyn MemoryPool>) -> Result<Arc<RuntimeEnv>> {
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(no_files).build_arc()
}
