//! `cargo xtask`: what a developer or CI types, so that one command leads from a bare machine to the result.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks on standard output")]

mod apt;
mod bench;
mod commands;
mod e2e;
mod fuzz;
mod lint;
mod page;
mod paths;
mod process;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match commands::parse(&arguments) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("xtask: {message}");
            return ExitCode::from(2);
        }
    };
    match commands::execute(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
