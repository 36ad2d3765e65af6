//! Where a step has read what it found.
//!
//! The step from one caller to the next depends on the code's rule and on one or two words of the stack. As long as the
//! code is the same and these words are, it leads to the same frame: that is what lets a walk follow an earlier one
//! ([`still_holds`]) instead of looking everything up again. It is a word, for a BPF map's value: the return address's
//! place in the upper 48 bits, in the others how far below it the frame pointer was saved, in words; zero if it was not
//! read.

use crate::Memory;

/// The step has read something else, or nothing; or it was the first one, which looks at code and registers, too.
pub const UNKNOWN: u64 = 0;

/// Bits of an address that fit; those of programs that do not ask for more.
const ADDRESS_BITS: u32 = 47;

/// The origin of a frame whose return address was read at `ip_at`, and whose frame pointer at `bp_at`; 0: nowhere.
#[inline(always)]
pub const fn of(ip_at: u64, bp_at: u64) -> u64 {
    if ip_at >> ADDRESS_BITS != 0 {
        return UNKNOWN;
    }
    if bp_at == 0 {
        return ip_at << 16;
    }
    let below = ip_at.wrapping_sub(bp_at);
    // Above it, or not in step with it, or far away: unusual enough to be looked up anew.
    if below & 7 != 0 || below == 0 || below >= 8 << 16 { UNKNOWN } else { ip_at << 16 | below >> 3 }
}

/// Whether the words that led to a caller with this `ip` and `bp` are still where they were. The frame before it has to
/// be the same as then, in code, stack and frame pointer.
#[inline(always)]
pub fn still_holds<M: Memory>(memory: &M, origin: u64, ip: u64, bp: u64) -> bool {
    if origin == UNKNOWN {
        return false;
    }
    let ip_at = origin >> 16;
    let below = (origin & 0xffff) << 3;
    if below != 0 {
        let Some(word) = memory.stack_word(ip_at.wrapping_sub(below)) else { return false };
        if word != bp {
            return false;
        }
    }
    let Some(word) = memory.stack_word(ip_at) else { return false };
    word == ip
}
