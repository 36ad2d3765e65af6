//! The unwind tables of the process that is sampled, as the agent has laid them out (`profiler_abi::tables`).

use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    btf_maps::{Array as InnerArray, ArrayOfMaps},
    helpers::generated::bpf_loop,
    macros::{btf_map, map},
    maps::Array,
};
use profiler_abi::{
    CodeKind, CodeMapping, MAPPINGS_MAX, PAGE_WORDS, PROCESS_SETS, ProcessTables, SET_PROCESSES, SLAB_PAGES,
    SLAB_WORDS, SLABS_MAX, SampleHeader,
};
use profiler_unwind::{
    TableBase, Tables,
    table::{self, BLOCK_SHIFT, Turn},
};

use crate::{
    kept_rules,
    scratch::{RECENT_MAPPINGS, Scratch, Turns},
};

/// Sets of processes and their code mappings. A hash map of the kernel would be ten cache lines for each sample; this is
/// one or two.
#[map]
static PROCESSES: Array<[ProcessTables; SET_PROCESSES]> = Array::with_max_entries(PROCESS_SETS, 0);
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
    (turns.start, turns.mapping.end) = (0, 0);
    header.had_tables = 0;
    let Some(set) = PROCESSES.get_ptr(header.pid & (PROCESS_SETS - 1)) else { return };
    for at in 0..SET_PROCESSES {
        // SAFETY: an element of a value of the map. The agent may be changing it: `ProcessTables` says how.
        let entry = unsafe { &raw const (*set)[at] };
        // SAFETY: as above.
        if unsafe { read_volatile(&raw const (*entry).pid) } == header.pid {
            return open_entry(entry, header, turns);
        }
    }
}

#[inline(always)]
fn open_entry(entry: *const ProcessTables, header: &mut SampleHeader, turns: &mut Turns) {
    // SAFETY: as in `open`.
    let (generation, start, exec_id, first, count, pid_again, generation_again) = unsafe {
        (
            read_volatile(&raw const (*entry).generation),
            read_volatile(&raw const (*entry).start_time_ns),
            read_volatile(&raw const (*entry).exec_id),
            read_volatile(&raw const (*entry).first),
            read_volatile(&raw const (*entry).count),
            read_volatile(&raw const (*entry).pid),
            read_volatile(&raw const (*entry).generation),
        )
    };
    if pid_again != header.pid || generation_again != generation {
        return;
    }
    if start != header.start_time_ns || exec_id != header.exec_id {
        return;
    }
    (turns.first, turns.count) = (first, count);
    header.had_tables = 1;
    if turns.generation != generation {
        turns.generation = generation;
        for at in 0..RECENT_MAPPINGS {
            turns.recent[at].mapping.end = 0;
        }
    }
}

/// Whether `turns.mapping` is the mapping of an address.
#[inline(always)]
pub(crate) fn is_in_last_mapping(turns: &Turns, address: u64) -> bool {
    address >= turns.start && address < turns.mapping.end
}

/// Makes `turns.mapping` the mapping of an address; whether there is one.
#[inline(never)]
pub(crate) fn find_mapping(mut scratch: &mut Scratch, address: u64) -> bool {
    let turns = &mut scratch.turns;
    if turns.count == 0 {
        return false;
    }
    for at in 0..RECENT_MAPPINGS {
        let recent = &turns.recent[at];
        if address >= recent.start && address < recent.mapping.end {
            turns.start = recent.start;
            copy(&recent.mapping, &mut turns.mapping);
            return true;
        }
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
    copy(mapping, &mut turns.mapping);
    const { assert!(RECENT_MAPPINGS == 8) };
    let mut place = u64::from(turns.next_recent);
    // SAFETY: a register-only instruction; the verifier sees the bound, which LLVM would drop.
    unsafe { core::arch::asm!("{0} &= 7", inout(reg) place, options(pure, nomem, nostack)) };
    // SAFETY: masked to the array's length.
    let recent = unsafe { turns.recent.get_unchecked_mut(place as usize) };
    recent.start = *start;
    copy(mapping, &mut recent.mapping);
    turns.next_recent = turns.next_recent.wrapping_add(1);
    true
}

/// Copies a mapping by words: LLVM would call a function that does so byte by byte.
#[inline(always)]
fn copy(from: &CodeMapping, to: &mut CodeMapping) {
    // SAFETY: both are valid for as many words; volatile so that it stays as it is written here.
    unsafe {
        let (from, to) = (&raw const *from as *const u64, &raw mut *to as *mut u64);
        write_volatile(to, read_volatile(from));
        write_volatile(to.add(1), read_volatile(from.add(1)));
        write_volatile(to.add(2), read_volatile(from.add(2)));
    }
    const { assert!(size_of::<CodeMapping>() == 24) };
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

/// The packed rule at an address of the mapping, its second word in `turns.second`; zero where nothing is known.
#[inline(always)]
pub(crate) fn find_rule(turns: &mut Turns, address: u64) -> u64 {
    let mapping = &turns.mapping;
    if mapping.kind != CodeKind::Table as u32 {
        if mapping.kind == CodeKind::Pending as u32 {
            turns.missed = 1;
        } else if turns.made == 0 {
            turns.made = 1;
            turns.made_bp = turns.bp;
        }
        return 0;
    }
    let offset = address.wrapping_sub(turns.start);
    let place = (u64::from(mapping.index) << BLOCK_SHIFT).wrapping_add(offset);
    let kept = kept_rules::find(place);
    if kept != kept_rules::NOTHING { kept } else { look_up(turns, offset, place) }
}

/// The same out of the table.
#[inline(never)]
fn look_up(turns: &mut Turns, offset: u64, place: u64) -> u64 {
    let mapping = &turns.mapping;
    let base = TableBase { index: mapping.index, words: mapping.words, rules: mapping.rules };
    let Some([word, second]) = table::find_packed(&KernelTables, base, offset) else { return 0 };
    kept_rules::keep(place, word);
    turns.second = second;
    word
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
