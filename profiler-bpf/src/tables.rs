//! The unwind tables of the process that is sampled, as the agent has laid them out (`profiler_abi::tables`).

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    btf_maps::{Array as InnerArray, ArrayOfMaps},
    helpers::generated::bpf_loop,
    macros::{btf_map, map},
    maps::{Array, HashMap},
};
use profiler_abi::{
    CodeKind, CodeMapping, MAPPINGS_MAX, PAGE_WORDS, PROCESSES_MAX, ProcessTables, SLAB_PAGES, SLAB_WORDS,
    SLABS_MAX, SampleHeader,
};
use profiler_unwind::{
    TableBase, Tables,
    table::{self, Turn},
};

use crate::scratch::{Scratch, Turns};

/// Process id → its code mappings.
#[map]
static PROCESSES: HashMap<u32, ProcessTables> = HashMap::with_max_entries(PROCESSES_MAX, 0);
/// Start addresses of code mappings, eight to a cache line.
#[map]
static STARTS: Array<u64> = Array::with_max_entries(MAPPINGS_MAX, 0);
/// The rest of them, under the same numbers.
#[map]
static MAPPINGS: Array<CodeMapping> = Array::with_max_entries(MAPPINGS_MAX, 0);
/// One space of words for all tables; slabs are made as it grows.
#[btf_map]
static SLABS: ArrayOfMaps<InnerArray<[u64; PAGE_WORDS], SLAB_PAGES, 0>, SLABS_MAX> = ArrayOfMaps::new();

/// Turns of a bisection over [`MAPPINGS_MAX`] numbers.
const BISECTION_TURNS: u32 = 17;

/// Finds the process's tables, if they are of this process and this exec.
#[inline(always)]
pub(crate) fn open(header: &mut SampleHeader, turns: &mut Turns) {
    (turns.first, turns.count) = (0, 0);
    (turns.start, turns.mapping) = (0, CodeMapping { end: 0, kind: 0, index: 0, words: 0, rules: 0 });
    header.had_tables = 0;
    let Some(tables) = PROCESSES.get_ptr(header.pid) else { return };
    // SAFETY: a value of the map, which stays readable. Another process may be given its place while we read, from its
    // first field on: so that one is read again at the end.
    let (start, exec_id, first, count, again) = unsafe {
        (
            read_volatile(&raw const (*tables).start_time_ns),
            read_volatile(&raw const (*tables).exec_id),
            read_volatile(&raw const (*tables).first),
            read_volatile(&raw const (*tables).count),
            read_volatile(&raw const (*tables).start_time_ns),
        )
    };
    if start == header.start_time_ns && again == start && exec_id == header.exec_id {
        (turns.first, turns.count) = (first, count);
        header.had_tables = 1;
    }
}

/// Makes `turns.mapping` the mapping of an address; whether there is one.
#[inline(always)]
pub(crate) fn find_mapping(mut scratch: &mut Scratch, address: u64) -> bool {
    let turns = &mut scratch.turns;
    if address >= turns.start && address < turns.mapping.end {
        return true;
    }
    if turns.count == 0 {
        return false;
    }
    (turns.low, turns.high, turns.wanted) = (turns.first, turns.first.wrapping_add(turns.count), address);
    // SAFETY: as in `user_stack::walk`.
    unsafe {
        bpf_loop(BISECTION_TURNS, bisect as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
    let turns = &mut scratch.turns;
    if turns.low == turns.first {
        return false;
    }
    let number = turns.low.wrapping_sub(1);
    let Some(start) = STARTS.get(number) else { return false };
    let Some(mapping) = MAPPINGS.get(number) else { return false };
    if address >= mapping.end {
        return false;
    }
    turns.start = *start;
    turns.mapping = *mapping;
    true
}

/// Halves the range in which the first start above the wanted address lies.
unsafe extern "C" fn bisect(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `find_mapping` gave to the loop.
    let turns = unsafe { &mut (**(scratch as *mut &mut Scratch)).turns };
    if turns.low >= turns.high {
        return 1;
    }
    let middle = turns.low.wrapping_add((turns.high - turns.low) >> 1);
    let Some(start) = STARTS.get(middle) else { return 1 };
    if *start <= turns.wanted {
        turns.low = middle + 1;
    } else {
        turns.high = middle;
    }
    0
}

/// What to do at an address.
pub(crate) enum Found {
    /// Step by the rule that was found.
    Rule,
    /// Follow the frame pointer.
    FramePointer,
}

/// Finds the rule at an address, into `rule`.
#[inline(always)]
pub(crate) fn find_rule(turns: &mut Turns, address: u64, rule: &mut profiler_unwind::Rule) -> Found {
    let mapping = &turns.mapping;
    if mapping.kind != CodeKind::Table as u32 {
        if mapping.kind == CodeKind::Pending as u32 {
            turns.missed = 1;
        }
        return Found::FramePointer;
    }
    let base = TableBase { index: mapping.index, words: mapping.words, rules: mapping.rules };
    let Some(found) = table::find(&KernelTables, base, address.wrapping_sub(turns.start)) else {
        return Found::FramePointer;
    };
    *rule = found;
    Found::Rule
}

/// The slabs as `profiler_unwind` sees them.
struct KernelTables;

/// A word of the space.
#[inline(always)]
fn word(number: u32) -> Option<u64> {
    let Some(slab) = SLABS.get(number / SLAB_WORDS) else { return None };
    let Some(page) = slab.get((number / PAGE_WORDS as u32) & (SLAB_PAGES as u32 - 1)) else { return None };
    let mut at = u64::from(number);
    // SAFETY: a register-only instruction; the verifier sees the bound, which LLVM would drop.
    unsafe { core::arch::asm!("{0} &= 63", inout(reg) at, options(pure, nomem, nostack)) };
    const { assert!(PAGE_WORDS == 64) };
    // SAFETY: masked to the page's length.
    Some(unsafe { *page.get_unchecked(at as usize) })
}

impl Tables for KernelTables {
    #[inline(always)]
    fn index(&self, number: u32) -> Option<u32> {
        let Some(pair) = word(number >> 1) else { return None };
        Some((pair >> ((number & 1) * 32)) as u32)
    }
    #[inline(always)]
    fn word(&self, number: u32) -> Option<u64> {
        word(number)
    }
    #[inline(always)]
    fn rule(&self, number: u32) -> Option<u64> {
        word(number)
    }
    #[inline(always)]
    fn repeat<B: Turn<Self>>(&self, turns: u32, body: &mut B) {
        // SAFETY: the callback takes what is given here, and the body lies on the stack.
        unsafe {
            bpf_loop(turns, take_turn::<B> as *mut c_void, body as *mut B as *mut c_void, 0);
        }
    }
}

/// One turn of a loop of `profiler_unwind`.
unsafe extern "C" fn take_turn<B: Turn<KernelTables>>(_turn: u32, body: *mut c_void) -> i64 {
    // SAFETY: the body that `repeat` gave to the loop.
    i64::from(!unsafe { &mut *(body as *mut B) }.turn(&KernelTables))
}
