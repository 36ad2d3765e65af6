//! `vesta`: the composition root, and all that touches the live machine.

mod account;
mod bpf;
mod cache_folder;
mod capture;
mod cli;
mod config;
mod debuginfod;
mod exit;
mod http_client;
mod jit;
mod keeper;
#[cfg_attr(not(feature = "kubernetes"), path = "kubernetes_off.rs")]
mod kubernetes;
mod late;
mod live;
mod metrics;
mod naming;
#[cfg_attr(not(feature = "object-store"), path = "objects_off.rs")]
mod objects;
mod pipeline;
mod processes;
mod processor;
mod roles;
mod room;
mod signals;
mod sink;
#[cfg(test)]
mod test_server;
mod unwind_tables;
mod window;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, debug::DebugCommand};
use exit::Failure;

/// One heap that gives back what is free: the C library's keeps most of what each of our threads ever had
/// (docs/adr/0026-what-the-agent-keeps-in-memory.md). Its settings are in .cargo/config.toml.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = start_log(&cli.log).and_then(|()| match &cli.command {
        Command::Run(args) => roles::run::run(args, cli.config.as_deref()),
        Command::Record(args) => roles::record::record(args),
        Command::Query(args) => roles::query::query(args, cli.config.as_deref()),
        Command::Sql(args) => roles::sql::sql(args, cli.config.as_deref()),
        Command::Import(args) => roles::import::import(args, cli.config.as_deref()),
        Command::Convert(args) => roles::convert::convert(args),
        Command::Doctor(args) => roles::doctor::doctor(args, cli.config.as_deref()),
        Command::Store(command) => roles::care::care(command, cli.config.as_deref()),
        Command::Symbols(command) => roles::symbols::symbols(command, cli.config.as_deref()),
        Command::Debug(DebugCommand::UnwindTable(args)) => roles::debug::unwind_table(args),
        Command::Debug(DebugCommand::Names(args)) => roles::debug_names::names(args),
        Command::Debug(DebugCommand::KernelStack(args)) => roles::kernel_stack::run(args),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code.into()
        }
    }
}

/// Logs go to standard error: standard output is for results.
fn start_log(filter: &str) -> Result<(), Failure> {
    // To the filter a word is the name of a module: of a level that is typed wrong it would log nothing, and say nothing.
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    if !filter.is_empty() && filter.bytes().all(|b| b.is_ascii_alphanumeric()) && !is_level(filter) {
        let levels = "error, warn, info, debug, or a filter such as `vesta=debug`";
        return Err(Failure::usage(format!("there is no log level `{filter}`: use {levels}")));
    }
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::usage(format!("the log filter `{filter}` is not understood: {error}")))?;
    // Whoever sets NO_COLOR to anything wants no escapes (no-color.org).
    let plain = !std::io::IsTerminal::is_terminal(&std::io::stderr())
        || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!plain).init();
    Ok(())
}
