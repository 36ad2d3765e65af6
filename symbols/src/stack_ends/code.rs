//! Return addresses whose code ends the process or the thread, told by the machine code itself.
//!
//! Each pattern is a proof: whatever returns there never returns further. It is needed because the C library's
//! functions that call `main` and a thread's function are nameless where the library is stripped, and set up no
//! frame pointer. The encodings: Intel SDM, volume 2.

use super::RootKind;

/// Bytes before a return address that hold the longest indirect call.
pub(super) const BEFORE: usize = 8;
/// Bytes looked at from a return address on.
pub(super) const AFTER: usize = 64;

/// Where the functions lie that never come back, or that only a thread's start calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Landmarks {
    /// `exit`.
    pub(super) exit: Vec<u64>,
    /// `pthread_exit`.
    pub(super) pthread_exit: Vec<u64>,
    /// `__call_tls_dtors`, which runs the destructors of a thread's variables.
    pub(super) call_tls_dtors: Vec<u64>,
}

/// `mov %eax,%edi; call`: the result is passed on as an `int`.
const PASS_INT_AND_CALL: &[u8] = &[0x89, 0xc7, 0xe8];
/// `mov %rax,%rdi; call`: the result is passed on as a pointer.
const PASS_POINTER_AND_CALL: &[u8] = &[0x48, 0x89, 0xc7, 0xe8];
/// `movslq %eax,%rdi; call`: an `int` result is passed on as a pointer.
const PASS_WIDENED_AND_CALL: &[u8] = &[0x48, 0x63, 0xf8, 0xe8];
/// The result passed to the system call `exit` (60) in the ways that C libraries write it.
const PASS_TO_EXIT_SYSTEM_CALL: [&[u8]; 3] = [
    // mov %rax,%rdi; mov $60,%eax; syscall
    &[0x48, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05],
    // mov %eax,%edi; mov $60,%eax; syscall
    &[0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05],
    // mov %eax,%edi; xor %eax,%eax; mov $60,%al; syscall
    &[0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05],
];
/// `cltq`: an `int` result made a pointer.
const WIDEN: &[u8] = &[0x48, 0x98];
/// `mov %rax,%fs:offset`
const STORE_IN_THREAD_BLOCK: &[u8] = &[0x64, 0x48, 0x89, 0x04, 0x25];
/// `mov %rsp-as-the-kernel-set-it,%rsp; jmp *%r12`: the dynamic linker gives the stack to the program's entry.
const JUMP_TO_PROGRAM: &[u8] = &[0x4c, 0x89, 0xec, 0x41, 0xff, 0xe4];
/// `mov %rsp,%rdi; call`: the first two instructions of the dynamic linker.
const ENTRY_AND_CALL: &[u8] = &[0x48, 0x89, 0xe7, 0xe8];
/// The C library's description of a thread is about 2,300 bytes, right above the thread pointer. A program's
/// own thread variables lie below it (x86-64 TLS variant II), so that only the C library writes there.
const THREAD_DESCRIPTOR_BYTES: i32 = 4096;

/// Bytes from a program's entry on.
pub(super) const ENTRY: usize = 256;

/// Bytes from the start of a function in which it shows what it does with its argument.
pub(super) const FUNCTION: usize = 128;

/// A return address: the bytes before it, and the bytes that run when the call returns.
pub(super) struct Site<'a> {
    /// Ends right before the return address.
    pub(super) before: &'a [u8],
    /// Starts at `vaddr`.
    pub(super) after: &'a [u8],
    /// The return address, or where a jump there leads.
    pub(super) vaddr: u64,
}

impl Site<'_> {
    /// What ends here, if the code proves that anything does.
    pub(super) fn root(&self, landmarks: &Landmarks) -> Option<RootKind> {
        if PASS_TO_EXIT_SYSTEM_CALL.iter().any(|pattern| self.after.starts_with(pattern)) {
            return Some(RootKind::Thread);
        }
        // Behind a `lea`, 7 bytes, that loads what the program is to call at its end.
        if self.after.get(7..).is_some_and(|rest| rest.starts_with(JUMP_TO_PROGRAM)) {
            return Some(RootKind::Process);
        }
        // `main` and a thread's function are called by pointer. Without this, a program that says
        // `exit(serve())` in the middle of its own `main` would pass for the C library.
        if !ends_with_indirect_call(self.before) {
            return None;
        }
        if self.calls(PASS_INT_AND_CALL, &landmarks.exit) {
            return Some(RootKind::Process);
        }
        let is_thread = self.calls(PASS_POINTER_AND_CALL, &landmarks.pthread_exit)
            || self.stores_in_thread_descriptor()
            || self.soon_calls(&landmarks.call_tls_dtors);
        is_thread.then_some(RootKind::Thread)
    }

    /// Whether the result of a call by pointer is passed on as an `int`, as the code that calls `main` does.
    pub(super) fn passes_int_on(&self) -> bool {
        ends_with_indirect_call(self.before) && self.after.starts_with(PASS_INT_AND_CALL)
    }

    /// The function that the result of a call by pointer is passed on to as a pointer.
    pub(super) fn passes_pointer_to(&self) -> Option<u64> {
        let ways = [PASS_POINTER_AND_CALL, PASS_WIDENED_AND_CALL];
        let way = ways.into_iter().find(|way| self.after.starts_with(way))?;
        ends_with_indirect_call(self.before).then(|| self.call_target(way.len() - 1))?
    }

    /// Where the code first jumps to, if it starts with a direct jump.
    pub(super) fn jump_target(&self) -> Option<u64> {
        let (distance, length) = match *self.after {
            [0xeb, distance, ..] => (i64::from(distance.cast_signed()), 2),
            [0xe9, a, b, c, d, ..] => (i64::from(i32::from_le_bytes([a, b, c, d])), 5),
            _ => return None,
        };
        Some(self.vaddr.wrapping_add(length).wrapping_add_signed(distance))
    }

    /// Whether this is the return address of the first call that the dynamic linker makes, from where the process
    /// starts.
    pub(super) fn is_first_call_from(&self, entry: u64) -> bool {
        let length = ENTRY_AND_CALL.len() as u64 + 4;
        let start = self.before.len().checked_sub(length as usize);
        let first = start.and_then(|start| self.before.get(start..)).unwrap_or_default();
        entry != 0 && self.vaddr == entry.wrapping_add(length) && first.starts_with(ENTRY_AND_CALL)
    }

    /// Whether the code starts with `pattern`, which ends in a call's opcode, and the call goes to one of `targets`.
    fn calls(&self, pattern: &[u8], targets: &[u64]) -> bool {
        self.after.starts_with(pattern)
            && self.call_target(pattern.len() - 1).is_some_and(|target| targets.contains(&target))
    }

    /// Whether one of `targets` is called within the next bytes. Looks for the call at every byte: that other bytes
    /// look like a call of just these addresses is as good as impossible.
    fn soon_calls(&self, targets: &[u64]) -> bool {
        (0..self.after.len()).any(|at| self.call_target(at).is_some_and(|target| targets.contains(&target)))
    }

    /// Target of the direct call whose opcode lies `at` bytes after the return address.
    fn call_target(&self, at: usize) -> Option<u64> {
        let &[0xe8, a, b, c, d] = self.after.get(at..)?.first_chunk()? else { return None };
        let next = self.vaddr.wrapping_add(at as u64 + 5);
        Some(next.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into()))
    }

    fn stores_in_thread_descriptor(&self) -> bool {
        let code = self.after.strip_prefix(WIDEN).unwrap_or(self.after);
        let offset = code.strip_prefix(STORE_IN_THREAD_BLOCK).and_then(|rest| rest.first_chunk());
        offset.is_some_and(|&offset| (0..THREAD_DESCRIPTOR_BYTES).contains(&i32::from_le_bytes(offset)))
    }
}

/// Whether a function keeps its first argument in the C library's description of the thread that runs it: `mov %fs:0,%reg`,
/// then `mov %rdi,offset(%reg)`. That is what `pthread_exit` does with a thread's result, where it has no name. Looks at every byte.
pub(super) fn keeps_argument_in_thread_descriptor(code: &[u8]) -> bool {
    (0..code.len()).any(|at| {
        let &[0x64, 0x48, 0x8b, modrm, 0x25, 0, 0, 0, 0, ref rest @ ..] = &code[at..] else { return false };
        let register = modrm >> 3 & 7;
        // What has %rsp or one of the later registers for its base is written in more bytes, and not looked for.
        modrm & 0xc7 == 4 && register != 4 && stores_argument_at(rest, register)
    })
}

/// Whether the code has `mov %rdi,offset(%register)` with a place in the thread's description.
fn stores_argument_at(code: &[u8], register: u8) -> bool {
    let (by_byte, by_word) = ([0x48, 0x89, 0x78 | register], [0x48, 0x89, 0xb8 | register]);
    (0..code.len()).any(|at| {
        let code = &code[at..];
        let offset = match (code.strip_prefix(&by_byte), code.strip_prefix(&by_word)) {
            (Some([offset, ..]), _) => i32::from(offset.cast_signed()),
            (_, Some([a, b, c, d, ..])) => i32::from_le_bytes([*a, *b, *c, *d]),
            _ => return false,
        };
        (1..THREAD_DESCRIPTOR_BYTES).contains(&offset)
    })
}

/// `call` and `jmp` to a distance.
pub(super) const CALL_OR_JUMP: &[&[u8]] = &[&[0xe8], &[0xe9]];
/// `lea distance(%rip)` to the first eight registers but %rsp, which stays what it is.
pub(super) const LOAD_ADDRESS: &[&[u8]] = &[
    &[0x48, 0x8d, 0x05],
    &[0x48, 0x8d, 0x0d],
    &[0x48, 0x8d, 0x15],
    &[0x48, 0x8d, 0x1d],
    &[0x48, 0x8d, 0x2d],
    &[0x48, 0x8d, 0x35],
    &[0x48, 0x8d, 0x3d],
];

/// Where code at `vaddr` leads by instructions that begin with one of `opcodes` and go on with a distance. Looks at every byte.
pub(super) fn targets<'a>(
    code: &'a [u8],
    vaddr: u64,
    opcodes: &'a [&[u8]],
) -> impl Iterator<Item = u64> + 'a {
    (0..code.len()).flat_map(move |at| {
        opcodes.iter().filter_map(move |opcode| {
            let &[a, b, c, d] = code[at..].strip_prefix(*opcode)?.first_chunk()?;
            let next = vaddr.wrapping_add((at + opcode.len() + 4) as u64);
            Some(next.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into()))
        })
    })
}

/// Whether the last instruction is a call through a register or memory: opcode `ff /2`, at any of its lengths.
fn ends_with_indirect_call(code: &[u8]) -> bool {
    (2..=7).any(|length| {
        let Some(&[0xff, modrm]) = code.len().checked_sub(length).and_then(|at| code.get(at..at + 2)) else {
            return false;
        };
        let (mode, operation, rm) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        let has_sib = mode != 3 && rm == 4;
        let sib_base = if has_sib { code.get(code.len() - length + 2).map_or(0, |sib| sib & 7) } else { 0 };
        let displacement = match mode {
            0 if rm == 5 || (has_sib && sib_base == 5) => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        operation == 2 && length == 2 + usize::from(has_sib) + displacement
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL_RAX: &[u8] = &[0xff, 0xd0];

    fn landmarks() -> Landmarks {
        Landmarks { exit: vec![0x2000], pthread_exit: vec![0x3000], call_tls_dtors: vec![0x4000] }
    }

    /// `pattern`, which ends in a call's opcode, with a call to `target` from `vaddr`.
    fn call(pattern: &[u8], vaddr: u64, target: u64) -> Vec<u8> {
        let next = vaddr + pattern.len() as u64 + 4;
        let mut code = pattern.to_vec();
        code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
        code
    }

    fn root(before: &[u8], after: &[u8]) -> Option<RootKind> {
        Site { before, after, vaddr: 0x1000 }.root(&landmarks())
    }

    #[test]
    fn a_result_passed_to_exit_ends_the_process() {
        let code = call(PASS_INT_AND_CALL, 0x1000, 0x2000);
        assert_eq!(root(CALL_RAX, &code), Some(RootKind::Process));
        assert_eq!(root(&[0xe8, 1, 2, 3, 4], &code), None, "called directly: not main");
        assert_eq!(root(CALL_RAX, &call(PASS_INT_AND_CALL, 0x1000, 0x2001)), None, "another function");
        assert_eq!(root(CALL_RAX, &code[..6]), None, "cut short");
    }

    #[test]
    fn a_result_passed_to_pthread_exit_ends_the_thread() {
        let code = call(PASS_POINTER_AND_CALL, 0x1000, 0x3000);
        assert_eq!(root(CALL_RAX, &code), Some(RootKind::Thread));
        assert_eq!(root(CALL_RAX, &call(PASS_POINTER_AND_CALL, 0x1000, 0x2000)), None);
    }

    #[test]
    fn a_result_passed_to_the_exit_system_call_ends_the_thread() {
        for code in PASS_TO_EXIT_SYSTEM_CALL {
            assert_eq!(root(CALL_RAX, code), Some(RootKind::Thread));
            assert_eq!(root(CALL_RAX, &code[..code.len() - 1]), None);
        }
    }

    #[test]
    fn a_result_stored_in_the_thread_descriptor_ends_the_thread_but_not_one_in_a_thread_variable() {
        let store = |offset: i32| [STORE_IN_THREAD_BLOCK, &offset.to_le_bytes()].concat();
        assert_eq!(root(CALL_RAX, &store(0x628)), Some(RootKind::Thread));
        assert_eq!(root(CALL_RAX, &[WIDEN, &store(0x628)].concat()), Some(RootKind::Thread));
        assert_eq!(root(CALL_RAX, &store(-8)), None);
        assert_eq!(root(CALL_RAX, &store(THREAD_DESCRIPTOR_BYTES)), None);
        assert_eq!(root(&[0x90; 8], &store(0x628)), None);
    }

    #[test]
    fn destructors_of_thread_variables_run_soon_after_a_threads_function() {
        let mut code = vec![0x48, 0x89, 0x43, 0x10];
        code.extend(call(&[0xe8], 0x1004, 0x4000));
        assert_eq!(root(CALL_RAX, &code), Some(RootKind::Thread));
        assert_eq!(root(&[0x90; 8], &code), None);
    }

    #[test]
    fn a_result_is_passed_on_after_a_call_by_pointer_only() {
        fn site<'a>(before: &'a [u8], after: &'a [u8]) -> Site<'a> {
            Site { before, after, vaddr: 0x1000 }
        }
        for pattern in [PASS_POINTER_AND_CALL, PASS_WIDENED_AND_CALL] {
            let code = call(pattern, 0x1000, 0x3000);
            assert_eq!(site(CALL_RAX, &code).passes_pointer_to(), Some(0x3000));
            assert_eq!(site(&[0x90; 8], &code).passes_pointer_to(), None);
            assert_eq!(site(CALL_RAX, &code[..code.len() - 1]).passes_pointer_to(), None);
            assert!(!site(CALL_RAX, &code).passes_int_on());
        }
        let code = call(PASS_INT_AND_CALL, 0x1000, 0x2000);
        assert!(site(CALL_RAX, &code).passes_int_on() && !site(&[0x90; 8], &code).passes_int_on());
    }

    #[test]
    fn an_argument_kept_above_the_thread_pointer_is_a_threads_result() {
        let own = |register: u8| [0x64, 0x48, 0x8b, 4 | register << 3, 0x25, 0, 0, 0, 0];
        let by_byte = |register: u8, offset: i8| vec![0x48, 0x89, 0x78 | register, offset as u8];
        let by_word =
            |register: u8, offset: i32| [&[0x48, 0x89, 0xb8 | register][..], &offset.to_le_bytes()].concat();
        let keeps = |code: &[&[u8]]| keeps_argument_in_thread_descriptor(&code.concat());
        // In %rbx, with other code in between.
        assert!(keeps(&[&[0x53], &own(3), &[0x31, 0xc0], &by_byte(3, 0x70)]));
        assert!(keeps(&[&own(0), &by_word(0, 0x630)]));
        assert!(!keeps(&[&own(3), &by_byte(0, 0x70)]), "elsewhere");
        assert!(!keeps(&[&own(3), &by_byte(3, -8)]), "a variable of the program");
        assert!(!keeps(&[&own(3), &by_word(3, THREAD_DESCRIPTOR_BYTES)]));
        assert!(!keeps(&[&by_byte(3, 0x70), &own(3)]), "before it is known");
        assert!(!keeps(&[&own(3), &by_byte(3, 0x70)[..3]]), "cut short");
    }

    #[test]
    fn code_leads_where_its_distances_say() {
        let code =
            [&[0x90, 0x90][..], &call(&[0xe8], 0x1002, 0x3000), &[0x48, 0x8d, 0x05, 1, 0, 0, 0]].concat();
        assert_eq!(targets(&code, 0x1000, CALL_OR_JUMP).collect::<Vec<_>>(), [0x3000]);
        assert_eq!(targets(&code, 0x1000, LOAD_ADDRESS).collect::<Vec<_>>(), [0x100f]);
        assert_eq!(targets(&code[..5], 0x1000, CALL_OR_JUMP).count(), 0);
    }

    #[test]
    fn jumps_are_followed_to_where_they_lead() {
        let target = |after: &[u8]| Site { before: &[], after, vaddr: 0x1000 }.jump_target();
        assert_eq!(target(&[0xeb, 0xfe]), Some(0x1000));
        assert_eq!(target(&[0xe9, 0x28, 0xfe, 0xff, 0xff]), Some(0xe2d));
        assert_eq!(target(&[0xe9, 0x28, 0xfe, 0xff]), None);
        assert_eq!(target(&[0x90, 0xeb, 0xfe]), None);
    }

    #[test]
    fn indirect_calls_are_told_in_every_encoding() {
        let calls: [&[u8]; 9] = [
            &[0xff, 0xd2],                                     // call *%rdx
            &[0x41, 0xff, 0xd4],                               // call *%r12
            &[0xff, 0x10],                                     // call *(%rax)
            &[0xff, 0x50, 0x08],                               // call *0x8(%rax)
            &[0xff, 0x93, 0x38, 0x06, 0x00, 0x00],             // call *0x638(%rbx)
            &[0xff, 0x15, 0x38, 0x06, 0x00, 0x00],             // call *0x638(%rip)
            &[0xff, 0x54, 0x24, 0x18],                         // call *0x18(%rsp)
            &[0xff, 0x94, 0x24, 0x18, 0x01, 0x00, 0x00],       // call *0x118(%rsp)
            &[0x64, 0xff, 0x14, 0x25, 0x40, 0x06, 0x00, 0x00], // call *%fs:0x640
        ];
        for code in calls {
            assert!(ends_with_indirect_call(code), "{code:x?}");
        }
        let others: [&[u8]; 5] = [
            &[],
            &[0xff],
            &[0xe8, 0x12, 0x34, 0x56, 0x78], // call, direct
            &[0xff, 0xe0],                   // jmp *%rax
            &[0xff, 0xd2, 0x90],             // call *%rdx; nop
        ];
        for code in others {
            assert!(!ends_with_indirect_call(code), "{code:x?}");
        }
    }
}
