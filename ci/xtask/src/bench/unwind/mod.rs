//! `cargo xtask bench unwind`: stacks of real programs, by Vesta and by its peers.

mod options;
mod tools;
mod workloads;

use anyhow::Result;

pub(crate) use options::{HELP, Options};

use crate::paths;
use tools::Tool;
use workloads::{Need, WORKLOADS};

/// Lists what there is.
pub(crate) fn run(_: &Options) -> Result<()> {
    list();
    Ok(())
}

/// Prints what there is, and what this machine lacks.
fn list() {
    println!("Workloads:");
    for workload in &WORKLOADS {
        let optional = if workload.optional { "optional; " } else { "" };
        println!("  {:<12} {optional}{}{}", workload.name, workload.what, lacking(workload.needs));
    }
    println!("Tools:");
    for tool in Tool::ALL {
        println!("  {:<12} {}{}", tool.name(), tool.what(), lacking(tool.needs()));
    }
}

fn lacking(needs: &[Need]) -> String {
    let packages: Vec<&str> =
        needs.iter().filter(|need| paths::program(need.program).is_none()).map(|need| need.package).collect();
    if packages.is_empty() { String::new() } else { format!("; MISSING: {}", packages.join(", ")) }
}
