//! Set-up: look at the machine ([`probe`]), decide what is missing ([`plan`]), install it ([`apply`]).
//!
//! Deciding is a pure function, so that it is tested for machines we do not have.

mod apply;
mod plan;
mod probe;

use anyhow::{Result, bail};

pub(crate) use plan::Scope;

use crate::process::say;
use plan::{Step, plan};
use probe::Probe;

/// First the packages, then what is built on them (bpf-linker can only be built for an LLVM that is there).
const ROUNDS: usize = 2;

/// Installs what is missing; true if there was anything.
pub(crate) fn ensure(scope: Scope) -> Result<bool> {
    let mut did_something = false;
    for _ in 0..ROUNDS {
        let probe = Probe::take();
        let steps = plan(&probe, scope)?;
        if steps.is_empty() {
            return Ok(did_something);
        }
        list(&steps);
        apply::apply(&steps, &probe)?;
        did_something = true;
    }
    let still = plan(&Probe::take(), scope)?;
    if let Some(step) = still.first() {
        bail!("{} was installed, but is still not found ({})", step.what, step.why);
    }
    Ok(did_something)
}

/// Prints what [`ensure`] would do.
pub(crate) fn explain(scope: Scope) -> Result<()> {
    let probe = Probe::take();
    let steps = plan(&probe, scope)?;
    if steps.is_empty() {
        say("nothing is missing");
    } else {
        list(&steps);
        apply::commands(&steps, &probe)?.iter().for_each(|line| println!("  $ {line}"));
    }
    Ok(())
}

fn list(steps: &[Step]) {
    say("missing on this machine:");
    for step in steps {
        println!("  {:<24} {}", step.what, step.why);
    }
}
