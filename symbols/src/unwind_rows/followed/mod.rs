//! Rows for code without call frame information, read off the code itself: what each instruction makes of the stack
//! pointer.
//!
//! Media libraries, big-number arithmetic and other code written in assembler has no call frame information, and no frame
//! pointers either; programs can be built without all of it. But a function that returns has to leave the stack pointer, and the caller's
//! rbp, where it found them. So from where a function may begin all ways are followed up to their ends, with
//! what is known of the stack before each instruction ([`state`]). What is found counts only if it proves itself: every
//! way has to leave the stack as callers expect it, to agree with all others that it meets, and one of them has to
//! return ([`explore`]). Code that was taken for the start of a function and is not one has another depth of the stack, and is
//! found out at its first return.
//!
//! What changes here changes tables that are stored: `VERSION` in `unwind_rows/bytes.rs` is to be counted up.
//!
//! Functions begin where nothing that is known leads, behind code that does not go on. Code behind jumps through tables
//! is tried with what is known at such a jump of the function before it.

mod explore;
mod known;
pub(super) mod nobody_called;
pub(super) mod stack_switches;
mod state;
pub(super) mod way_out;
mod ways;

use std::ops::Range;

use iced_x86::{Instruction, Mnemonic};
use profiler_unwind::Rule;

use super::entries::{Entry, Source};
use explore::{Explorer, goes_on, is_call};
use known::Known;
use state::State;

/// Instructions that are decoded, for each byte of code: one of some four bytes four times for a place where functions may
/// begin, and that for four such places. Bounds what a hostile file costs.
const WORK_PER_BYTE: usize = 4;
const WORK_AT_LEAST: usize = 65_536;

/// The rows of one stretch of code, by address: from each on its rule holds. Where nothing is known it is [`Rule::NONE`].
pub(super) fn follow(start: u64, bytes: &[u8]) -> Vec<(u64, Rule)> {
    let mut known = Known::new(start, bytes.len());
    let work = bytes.len().saturating_mul(WORK_PER_BYTE).max(WORK_AT_LEAST);
    let mut explorer = Explorer::new(start, bytes, work);
    explorer.learn_calls();
    let all = start..start.saturating_add(bytes.len() as u64);
    sweep(all.clone(), false, &mut explorer, &mut known);
    // What was not understood at first may lead to what is known by then.
    if sweep(all.clone(), true, &mut explorer, &mut known) {
        sweep(all, false, &mut explorer, &mut known);
    }
    known.rows()
}

/// Tries all places at which a function may begin: behind code that does not go on, where calls lead to, and if wanted behind
/// calls, which may not come back. Whether any was found.
fn sweep(code: Range<u64>, behind_calls: bool, explorer: &mut Explorer<'_>, known: &mut Known) -> bool {
    let (mut at, mut at_jumps, mut any): (u64, Option<State>, bool) = (code.start, None, false);
    while at < code.end && explorer.work > 0 {
        // No function begins with a zero; some linkers pad with them.
        if known.covers(at) || explorer.byte(at) == Some(0) {
            at += 1;
            continue;
        }
        let Some(instruction) = explorer.decode(at) else {
            at += 1;
            continue;
        };
        if is_padding(&instruction) {
            at = instruction.next_ip();
            continue;
        }
        if let Some(found) = explorer.explore(at, State::at_entry(), known) {
            known.add(&found.rules);
            (at_jumps, any) = (found.at_jumps, true);
        } else if let Some(state) = &at_jumps
            && let Some(found) = explorer.explore(at, state.clone(), known)
        {
            known.add(&found.rules);
            any = true;
        } else {
            at = after(instruction, behind_calls, known, explorer);
        }
    }
    any
}

/// The next place at which a function may begin.
fn after(
    mut instruction: Instruction,
    behind_calls: bool,
    known: &Known,
    explorer: &mut Explorer<'_>,
) -> u64 {
    loop {
        let next = instruction.next_ip();
        let ends = !goes_on(&instruction) || behind_calls && is_call(&instruction);
        if ends || known.covers(next) || explorer.is_called(next) {
            return next;
        }
        match explorer.decode(next) {
            Some(following) => instruction = following,
            None => return next,
        }
    }
}

fn is_padding(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
}

/// The stretches that rows describe, by the numbers of their first ones.
pub(super) fn entries(rows: &[(u64, Rule)]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut first: Option<(u64, usize)> = None;
    for (number, (address, rule)) in rows.iter().enumerate() {
        match (*rule == Rule::NONE, first) {
            (false, None) => first = Some((*address, number)),
            (true, Some((start, number))) => {
                // Fits: there are fewer rows than bytes of code that are followed.
                entries.push(Entry { start, end: *address, offset: number as u32, source: Source::Code });
                first = None;
            }
            _ => {}
        }
    }
    entries
}

/// Less is padding in front of a function that is aligned.
const GAP_AT_LEAST: u64 = 16;

/// What `all` has beside `described`; both ascend. Where entries overlap, it may be less, or more that is described elsewhere.
pub(super) fn gaps(all: &[Range<u64>], described: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    for area in all {
        let mut at = area.start;
        let from = described.partition_point(|entry| entry.end <= area.start);
        for entry in described[from..].iter().take_while(|entry| entry.start < area.end) {
            if entry.start > at {
                gaps.push(at..entry.start);
            }
            at = at.max(entry.end);
        }
        if at < area.end {
            gaps.push(at..area.end);
        }
    }
    gaps.retain(|gap| gap.end - gap.start >= GAP_AT_LEAST);
    gaps
}
