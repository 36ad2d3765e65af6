//! Any rules, tables, registers and memory: no step panics, and each leads upwards or says why it cannot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_unwind::rule::{Cfa, ReturnAddress};
use profiler_unwind::table::{self, Turn};
use profiler_unwind::{Memory, Rule, TableBase, Tables, Walk};

/// The stack: words from an address on.
struct Stack<'a> {
    words: &'a [u64],
    address: u64,
}

/// The arrays of a table of which nothing is true: all the same words.
struct Arrays<'a>(&'a [u64]);

/// More than a walk may have in the kernel.
const STEPS: usize = 2_000;

impl Memory for Stack<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok()?;
        let (word, shift) = (*self.words.get(offset / 8)?, offset % 8 * 8);
        if shift == 0 {
            return Some(word);
        }
        Some(word >> shift | self.words.get(offset / 8 + 1)? << (64 - shift))
    }

    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address.checked_add(8)?)?])
    }

    fn register(&self, number: u8) -> Option<u64> {
        self.words.get(usize::from(number)).copied()
    }

    fn thread_pointer(&self) -> Option<u64> {
        self.words.first().copied()
    }
}

impl Tables for Arrays<'_> {
    fn index(&self, number: u32) -> Option<u32> {
        self.0.get(number as usize).map(|&word| word as u32)
    }

    fn word(&self, number: u32) -> Option<u64> {
        self.0.get(number as usize).copied()
    }

    fn rule(&self, number: u32) -> Option<u64> {
        self.0.get(number as usize).copied()
    }

    fn repeat<B: Turn<Self>>(&self, turns: u32, body: &mut B) {
        for _ in 0..turns {
            if !body.turn(self) {
                return;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (words, _) = bytes.as_chunks();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let Some((&[ip, sp, bp, address, index, base], words)) = words.split_first_chunk() else { return };
    let (stack, tables) = (Stack { words, address }, Arrays(words));
    let base = TableBase { index: base as u32, words: (base >> 32) as u32, rules: (base >> 48) as u32 };
    let word = |at: usize| words.get(at % words.len().max(1)).copied().unwrap_or_default();

    let mut walk = Walk::leaf(ip, sp, bp);
    for step in 0..STEPS {
        let before = walk;
        // A rule out of the table, or one that the input says.
        let at = (index as usize).wrapping_add(step);
        let rule = table::find(&tables, base, walk.ip ^ index);
        let rule = rule.unwrap_or_else(|| Rule::unpack(word(at), word(at.wrapping_add(1))));
        let packed = rule.pack();
        assert_eq!(Rule::unpack(packed.0, packed.1).pack(), packed);
        let by_rule = step % 3 != 2;
        let result = if by_rule { walk.step_by_rule(&stack, &rule) } else { walk.step(&stack) };
        match result {
            // A signal handler's stack may lie anywhere, and a goroutine's.
            Ok(_) if by_rule && (rule.cfa == Cfa::Signal || rule.cfa.is_on_other_stack()) => {}
            // The stack pointer stays where the return address was popped; how many frames there may be is bounded.
            Ok(_) if by_rule && rule.return_address == ReturnAddress::InRegister => {
                assert!(walk.sp >= before.sp, "{before:?} to {walk:?} by {rule:?}");
            }
            Ok(_) => assert!(walk.sp > before.sp, "{before:?} to {walk:?} by {rule:?}"),
            Err(_) => return assert_eq!(walk, before, "a step that fails changes nothing"),
        }
    }
});
