//! The rule of an address in the kernel's code, out of the kernel's own unwind tables, where they lie.
//!
//! Nearly all addresses come again and again: return addresses do. So rules are kept beside their address, one word each,
//! and most frames cost one cache line. The kernel's own look-up touches three tables, the sampled stack's code paths
//! being cold at usual frequencies (docs/adr/0007).

use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::Array};
use profiler_abi::{KERNEL_BLOCK_SHIFT, KERNEL_BLOCKS_A_RUN, KERNEL_BLOCKS_MAX};
use profiler_unwind::orc::OrcRule;

use crate::{
    globals,
    kernel_memory::read,
    scratch::{KernelTurns, Scratch},
};

/// Bits of a slot's number. The kernel code that one machine runs has some thousand return addresses; 64 KiB.
const SLOT_BITS: u32 = 13;
/// Address (its lower half: the kernel's code lies in the last 2 GiB) and rule, by a hash of the address. A word is
/// written at once, by whichever CPU; the rules of the kernel's image never change.
#[map]
static KERNEL_RULES: Array<u64> = Array::with_max_entries(1 << SLOT_BITS, 0);
/// Block of code → the numbers of entries at or before its start, and its end: what a search can be confined to. The
/// loader sets the size by the kernel's code.
#[map]
static KERNEL_BLOCKS: Array<u64> = Array::with_max_entries(KERNEL_BLOCKS_MAX, 0);

/// Turns of a bisection over all entries.
const BISECTION_TURNS: u32 = 24;
/// Bytes of an entry.
const ENTRY_BYTES: u64 = 6;

/// Whether an address lies in the kernel's image, and is not put there by a tracer instead of the true one.
#[inline(always)]
pub(crate) fn is_known_code(address: u64) -> bool {
    address >= globals::kernel_text_start()
        && address < globals::kernel_text_end()
        && address != globals::return_to_handler()
        && address != globals::rethook_trampoline()
}

/// The rule at an address of the kernel's image.
#[inline(always)]
pub(crate) fn find(scratch: &mut Scratch, address: u64) -> OrcRule {
    let key = address as u32;
    // Fibonacci hashing: the golden ratio's bits spread neighbours.
    let slot = key.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS);
    let Some(kept) = KERNEL_RULES.get_ptr_mut(slot) else { return OrcRule::UNSUPPORTED };
    // SAFETY: a value of the map; another CPU may write the word, as a whole.
    let word = unsafe { read_volatile(kept) };
    if (word >> 32) as u32 == key {
        return OrcRule(word as u32);
    }
    let rule = search(scratch, address);
    // SAFETY: as above.
    unsafe { write_volatile(kept, u64::from(key) << 32 | u64::from(rule.0)) };
    rule
}

/// The rule at an address by the kernel's entries.
#[inline(always)]
fn search(scratch: &mut Scratch, address: u64) -> OrcRule {
    let block = (address.wrapping_sub(globals::kernel_text_start()) >> KERNEL_BLOCK_SHIFT) as u32;
    let Some(range) = KERNEL_BLOCKS.get(block) else { return OrcRule::UNSUPPORTED };
    let range = *range;
    let count = entries_up_to(scratch, range as u32, (range >> 32) as u32, address);
    // Before the first entry, or the blocks are not filled.
    if count == 0 {
        return OrcRule::UNSUPPORTED;
    }
    let at = globals::orc_entries().wrapping_add(u64::from(count - 1) * ENTRY_BYTES);
    let Some(entry) = read::<[u16; 3]>(at) else { return OrcRule::UNSUPPORTED };
    OrcRule::pack(entry, globals::orc_layout())
}

/// How many entries begin at or before an address, if it is between `low` and `high`.
#[inline(always)]
fn entries_up_to(mut scratch: &mut Scratch, low: u32, high: u32, address: u64) -> u32 {
    let turns = &mut scratch.kernel;
    (turns.low, turns.high, turns.wanted) = (low, high, address);
    // SAFETY: the callback has the signature that the helper wants; its context is a pointer to a reference on this
    // stack.
    unsafe {
        bpf_loop(BISECTION_TURNS, bisect as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
    scratch.kernel.low
}

/// Halves the range in which the first entry after the wanted address lies.
unsafe extern "C" fn bisect(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `entries_up_to` gave to the loop.
    let turns = unsafe { &mut (**(scratch as *mut &mut Scratch)).kernel };
    let KernelTurns { low, high, wanted, .. } = *turns;
    if low >= high {
        return 1;
    }
    let middle = low.wrapping_add((high - low) >> 1);
    let at = globals::orc_starts().wrapping_add(u64::from(middle) * 4);
    // A start is a distance from its own place.
    let Some(distance) = read::<i32>(at) else { return 1 };
    if at.wrapping_add(distance as i64 as u64) <= wanted {
        turns.low = middle.wrapping_add(1);
    } else {
        turns.high = middle;
    }
    0
}

/// Fills some blocks from `first` on.
#[inline(always)]
pub(crate) fn fill_blocks(mut scratch: &mut Scratch, first: u32) {
    scratch.kernel.block = first;
    scratch.kernel.before = 0;
    // SAFETY: as in `entries_up_to`.
    unsafe {
        bpf_loop(KERNEL_BLOCKS_A_RUN, fill_block as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
}

unsafe extern "C" fn fill_block(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `fill_blocks` gave to the loop.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let (block, before) = (scratch.kernel.block, scratch.kernel.before);
    let end = globals::kernel_text_start().wrapping_add((u64::from(block) + 1) << KERNEL_BLOCK_SHIFT);
    let until = entries_up_to(scratch, before, globals::orc_count(), end.wrapping_sub(1));
    let Some(range) = KERNEL_BLOCKS.get_ptr_mut(block) else { return 1 };
    // SAFETY: a value of the map; nothing is sampled yet.
    unsafe { *range = u64::from(until) << 32 | u64::from(before) };
    scratch.kernel.block = block.wrapping_add(1);
    scratch.kernel.before = until;
    0
}
