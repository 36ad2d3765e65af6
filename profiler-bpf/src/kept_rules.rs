//! Rules of user code that were looked up lately, beside their place: one cache line instead of the four of a look-up
//! (index, block, rows, rule). Most frames of a stack were there in the last one, too.
//!
//! A place is where an address lies in the space of tables: 2 KiB for each index entry. It means another rule only when
//! its table has given way to another one, and the agent clears all of this before it reuses a table's words.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{macros::map, maps::Array};
use profiler_abi::{KEPT_RULES, KEPT_RULES_BITS};

/// By a hash of the place. A word is read and written at once, by whichever CPU.
#[map]
static RULES: Array<[u64; KEPT_RULES]> = Array::with_max_entries(1, 0);

/// No packed rule.
pub(crate) const NOTHING: u64 = u64::MAX;

/// Bits of a packed rule that is kept: see [`shorten`].
const RULE_BITS: u32 = 38;

/// The packed rule kept for a place; zero if it is known that there is none, [`NOTHING`] if nothing is kept.
#[inline(always)]
pub(crate) fn find(place: u64) -> u64 {
    let Some(slot) = slot(number(place)) else { return NOTHING };
    // SAFETY: an element of the map; another CPU may write the word, as a whole.
    let word = unsafe { read_volatile(slot) };
    if word >> RULE_BITS != tag(place) {
        return NOTHING;
    }
    lengthen(word)
}

/// Keeps a packed rule for a place, if it is of those that are kept.
#[inline(always)]
pub(crate) fn keep(place: u64, packed: u64) {
    if !is_short(packed) {
        return;
    }
    let Some(slot) = slot(number(place)) else { return };
    // SAFETY: as above.
    unsafe { write_volatile(slot, tag(place) << RULE_BITS | shorten(packed)) };
}

/// What tells a place from others of the same slot; not zero.
#[inline(always)]
fn tag(place: u64) -> u64 {
    (place >> KEPT_RULES_BITS).wrapping_add(1)
}

/// The slot of a place: its low bits, turned by a hash of the others, so that slot and tag give the place.
#[inline(always)]
fn number(place: u64) -> u64 {
    let high = (place >> KEPT_RULES_BITS) as u32;
    // Fibonacci hashing: the golden ratio's bits spread neighbours.
    let turn = high.wrapping_mul(0x9e37_79b1) >> (32 - KEPT_RULES_BITS);
    place ^ u64::from(turn)
}

#[inline(always)]
fn slot(mut number: u64) -> Option<*mut u64> {
    let words = RULES.get_ptr_mut(0)?;
    // SAFETY: a register-only instruction; the verifier sees the bound, which LLVM would drop.
    unsafe {
        core::arch::asm!(
            "{0} &= {1}",
            inout(reg) number,
            const KEPT_RULES - 1,
            options(pure, nomem, nostack)
        )
    };
    // SAFETY: masked to the array's length.
    Some(unsafe { (words as *mut u64).add(number as usize) })
}

/// Whether a packed rule fits: one word, the operands multiples of 8, the CFA's below 512 KiB, the frame pointer's within
/// 1 KiB of it. That leaves out a rule in a thousand.
#[inline(always)]
fn is_short(packed: u64) -> bool {
    const LEFT_OUT: u64 = 1 << 11 | 0b11 << 14 | 7 << 16 | 7 << 32 | !0 << 51;
    let rbp = (packed >> 16) as i16;
    packed & LEFT_OUT == 0 && (-1024..1024).contains(&rbp)
}

/// Kinds 14 bits, frame-pointer operand 8, CFA operand 16.
#[inline(always)]
fn shorten(packed: u64) -> u64 {
    packed & 0x3fff | (packed >> 19 & 0xff) << 14 | (packed >> 35 & 0xffff) << 22
}

#[inline(always)]
fn lengthen(word: u64) -> u64 {
    let rbp = ((word >> 14) as i8 as i16 as u16) << 3;
    word & 0x3fff | u64::from(rbp) << 16 | (word >> 22 & 0xffff) << 35
}
