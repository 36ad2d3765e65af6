use super::*;
use crate::rule::Rbp;

/// Words by address, sparse.
struct Words(&'static [(u64, u64)]);

impl Memory for Words {
    fn word(&self, address: u64) -> Option<u64> {
        self.0.iter().find(|(at, _)| *at == address).map(|(_, word)| *word)
    }
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address + 8)?])
    }
    fn register(&self, number: u8) -> Option<u64> {
        (number != 15).then(|| 0x7000 + u64::from(number) * 0x10)
    }
    fn thread_pointer(&self) -> Option<u64> {
        self.word(THREAD_POINTER_AT)
    }
}

/// Where [`Words`] say what the thread pointer is.
const THREAD_POINTER_AT: u64 = 0x1008;

fn walk(memory: &Words, mut walk: Walk) -> (Vec<u64>, WalkEnd) {
    let mut frames = vec![walk.ip];
    loop {
        match walk.step(memory) {
            Ok(_) => frames.push(walk.ip),
            Err(end) => return (frames, end),
        }
        assert!(frames.len() < 100, "the walk does not end");
    }
}

extern crate std;
use std::{vec, vec::Vec};

const NOP: u64 = 0x9090_9090_9090_9090;
/// `call rel32` in the last five of eight bytes.
const CALL: u64 = 0x0000_0000_e890_9090;

#[test]
fn a_chain_is_followed_to_its_zero() {
    let memory = Words(&[(0x5000, NOP), (0x7000, 0x7100), (0x7008, 0x5100), (0x7100, 0), (0x7108, 0x5200)]);
    let got = walk(&memory, Walk::leaf(0x5000, 0x6ff0, 0x7000));
    assert_eq!(got, (vec![0x5000, 0x5100, 0x5200], WalkEnd::ZeroFramePointer));
}

#[test]
fn at_entry_and_after_push_and_at_return_the_caller_is_kept() {
    // f is called by g (frame at 0x7000), g by h
    let chain: [(u64, u64); 5] =
        [(0x7000, 0), (0x7008, 0x5200), (0x6ff0, 0x5100), (0x6ff8, 0x5100), (0x50f8, CALL)];
    for (code, sp, method) in [
        (0x90_e589_4855, 0x6ff0, Method::AtEntry),
        (0x0055_fa1e_0ff3, 0x6ff0, Method::AtEntry),
        (0x90e5_8948, 0x6ff0, Method::AfterPush),
        (0x90ec_8b48, 0x6ff0, Method::AfterPush),
        (0x0090_90c3, 0x6ff0, Method::AtEntry),
        (0x90_c3f3, 0x6ff0, Method::AtEntry),
    ] {
        let mut words = vec![(0x5000, code)];
        words.extend(chain);
        let memory = Words(words.leak());
        let mut at = Walk::leaf(0x5000, sp, 0x7000);
        assert_eq!(at.step(&memory), Ok(method), "{code:x}");
        assert_eq!((at.ip, at.bp), (0x5100, 0x7000), "{code:x}");
        assert_eq!(at.step(&memory), Ok(Method::FramePointer));
        assert_eq!(at.ip, 0x5200);
        assert_eq!(at.step(&memory), Err(WalkEnd::ZeroFramePointer));
    }
}

#[test]
fn a_push_amid_other_pushes_is_no_entry() {
    // the word on top of the stack is data, no call stands before it
    let memory = Words(&[(0x5000, 0x55), (0x6ff0, 0x5100), (0x50f8, NOP), (0x7000, 0), (0x7008, 0x5200)]);
    let mut at = Walk::leaf(0x5000, 0x6ff0, 0x7000);
    assert_eq!(at.step(&memory), Ok(Method::FramePointer));
    assert_eq!(at.ip, 0x5200);
}

#[test]
fn the_edge_of_a_caller_is_not_looked_at() {
    // the return address points at a `ret`: that belongs to the caller's own end, its frame still stands
    let memory = Words(&[
        (0x5000, NOP),
        (0x7000, 0x7100),
        (0x7008, 0x5100),
        (0x5100, 0xc3),
        (0x7100, 0),
        (0x7108, 0x5200),
    ]);
    let got = walk(&memory, Walk::leaf(0x5000, 0x6ff0, 0x7000));
    assert_eq!(got.0, [0x5000, 0x5100, 0x5200]);
}

#[test]
fn what_is_no_frame_is_said_to_be_none() {
    let below = Walk::leaf(0x5000, 0x7000, 0x6000);
    assert_eq!(walk(&Words(&[]), below).1, WalkEnd::NotAscending);
    let unreadable = Walk::leaf(0x5000, 0x6000, 0x7000);
    assert_eq!(walk(&Words(&[]), unreadable).1, WalkEnd::UnreadableStack);
    let data = Words(&[(0x7000, 0x7100), (0x7008, 17)]);
    assert_eq!(walk(&data, unreadable).1, WalkEnd::BadReturnAddress);
    let kernel = Words(&[(0x7000, 0x7100), (0x7008, 0xffff_ffff_8100_0000)]);
    assert_eq!(walk(&kernel, unreadable).1, WalkEnd::BadReturnAddress);
}

#[test]
fn a_loop_ends() {
    let memory = Words(&[(0x7000, 0x7000), (0x7008, 0x5100)]);
    assert_eq!(walk(&memory, Walk::leaf(0x5000, 0x6000, 0x7000)).1, WalkEnd::NotAscending);
}

#[test]
fn every_form_of_call_is_known() {
    let tail = |bytes: &[u8]| {
        let mut word = [0x90u8; 8];
        word[8 - bytes.len()..].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    for call in [
        &[0xe8, 1, 2, 3, 4][..],
        &[0xff, 0xd0],
        &[0x41, 0xff, 0xd4],
        &[0xff, 0x10],
        &[0xff, 0x50, 0x18],
        &[0xff, 0x14, 0xd8],
        &[0xff, 0x54, 0x24, 0x08],
        &[0xff, 0x15, 1, 2, 3, 4],
        &[0xff, 0x90, 1, 2, 3, 4],
        &[0x64, 0xff, 0x14, 0x25, 0x40, 6, 0, 0],
    ] {
        assert!(code::ends_in_call(tail(call)), "{call:x?}");
    }
    assert!(!code::ends_in_call(NOP));
    assert!(!code::ends_in_call(tail(&[0xff, 0xe0])), "a jump is no call");
}

/// A leaf at 0x5040 of a function at 0x5000 without frame and rules; on top of the stack lies 0x6100.
fn frameless(words: &[(u64, u64)]) -> Result<(Method, u64, u64), WalkEnd> {
    let mut all = vec![(0x5000, NOP), (0x5040, NOP), (0x7000, 0x6100)];
    all.extend(words);
    let mut walk = Walk::leaf(0x5040, 0x7000, 0x7100);
    walk.step(&Words(all.leak())).map(|method| (method, walk.ip, walk.bp))
}

/// The eight bytes before 0x6100, with a direct call to an address.
fn call(target: u64) -> (u64, u64) {
    (0x60f8, 0xe800_0000 | u64::from(target.wrapping_sub(0x6100) as u32) << 32)
}

/// A frame that rbp leads to.
const FRAME: [(u64, u64); 2] = [(0x7100, 0x7200), (0x7108, 0x6200)];

#[test]
fn a_leaf_that_its_caller_calls_directly_needs_no_frame() {
    let stepped = Ok((Method::AtEntry, 0x6100, 0x7100));
    assert_eq!(frameless(&[call(0x5000), FRAME[0], FRAME[1]]), stepped);
    // By the linkage table: a jump to what the slot at 0xb000 says.
    for entry in [
        &[0xff, 0x25, 0xfa, 0x2f, 0, 0][..],
        &[0xf2, 0xff, 0x25, 0xf9, 0x2f, 0, 0],
        &[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 0xf6, 0x2f, 0, 0],
        &[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xf5, 0x2f, 0, 0],
    ] {
        let mut bytes = [0x90; 16];
        bytes[..entry.len()].copy_from_slice(entry);
        let [first, second] = [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
        let table = [call(0x8000), (0x8000, first), (0x8008, second), (0xb000, 0x5000), FRAME[0], FRAME[1]];
        assert_eq!(frameless(&table), stepped, "{entry:x?}");
    }
}

#[test]
fn a_leaf_that_another_function_was_called_for_has_a_frame_or_was_called_indirectly() {
    // What lies on top is left over: the call led elsewhere, and rbp leads to a frame.
    let framed = Ok((Method::FramePointer, 0x6200, 0x7200));
    assert_eq!(frameless(&[call(0x9000), FRAME[0], FRAME[1]]), framed);
    assert_eq!(frameless(&[call(0x5041), FRAME[0], FRAME[1]]), framed, "a function behind the leaf");
    assert_eq!(frameless(&[(0x60f8, NOP), FRAME[0], FRAME[1]]), framed);
    let pushes = [(0x5020, 0x9090_9055), call(0x5020), FRAME[0], FRAME[1]];
    assert_eq!(frameless(&pushes), framed, "a function that keeps a frame");
    let indirect = (0x60f8, 0xd0ff << 48);
    assert_eq!(frameless(&[indirect, FRAME[0], FRAME[1]]), framed);
    // Without a frame there it is the better guess.
    assert_eq!(frameless(&[indirect]), Ok((Method::AtEntry, 0x6100, 0x7100)));
    assert_eq!(frameless(&[(0x60f8, NOP)]), Err(WalkEnd::UnreadableStack));
}

mod by_rule {
    use super::*;
    use crate::rule::{Cfa, Rbp, Reason, ReturnAddress, Rule};

    /// The caller; where it was read is another test's matter.
    fn step(memory: &'static [(u64, u64)], walk: Walk, rule: Rule) -> Result<Walk, WalkEnd> {
        let mut at = walk;
        at.step_by_rule(&Words(memory), &rule).map(|method| {
            assert_eq!(method, if rule.interrupts { Method::Interrupted } else { Method::Table });
            Walk { origin: origin::UNKNOWN, ..at }
        })
    }

    const LEAF: Walk = Walk::leaf(0x5000, 0x7000, 0x7100);

    fn caller(ip: u64, sp: u64, bp: u64) -> Walk {
        Walk { ip, sp, bp, is_caller: true, registers: registers::UNKNOWN, origin: origin::UNKNOWN }
    }

    #[test]
    fn the_return_address_lies_below_the_cfa_and_rbp_where_the_rule_says() {
        let from_sp = Rule::register(7, 16);
        assert_eq!(step(&[(0x7008, 0x5100)], LEAF, from_sp), Ok(caller(0x5100, 0x7010, 0x7100)));
        // rbp beside the return address, and away from it
        let beside = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..from_sp };
        assert_eq!(
            step(&[(0x7000, 0x7200), (0x7008, 0x5100)], LEAF, beside),
            Ok(caller(0x5100, 0x7010, 0x7200))
        );
        let away = Rule { rbp: Rbp::AtCfa, rbp_operand: -48, ..Rule::register(7, 64) };
        assert_eq!(
            step(&[(0x7010, 0x7200), (0x7038, 0x5100)], LEAF, away),
            Ok(caller(0x5100, 0x7040, 0x7200))
        );
        let from_bp = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(6, 16) };
        assert_eq!(
            step(&[(0x7100, 0x7200), (0x7108, 0x5100)], LEAF, from_bp),
            Ok(caller(0x5100, 0x7110, 0x7200))
        );
    }

    #[test]
    fn realigned_stacks_and_the_linkage_table_are_followed() {
        let realigned = Rule { rbp: Rbp::AtRbp, rbp_operand: 0, ..Rule::deref_rbp(-8, 0) };
        assert_eq!(
            step(&[(0x70f8, 0x7400), (0x7100, 0x7300), (0x73f8, 0x5100)], LEAF, realigned),
            Ok(caller(0x5100, 0x7400, 0x7300))
        );
        let plt = Rule::plt(8, 11);
        assert_eq!(step(&[(0x7000, 0x5100)], LEAF, plt), Ok(caller(0x5100, 0x7008, 0x7100)));
        let pushed = Walk { ip: 0x500b, ..LEAF };
        assert_eq!(step(&[(0x7008, 0x5100)], pushed, plt), Ok(caller(0x5100, 0x7010, 0x7100)));
    }

    #[test]
    fn a_signal_leads_to_the_instruction_it_interrupted() {
        let memory: &[(u64, u64)] =
            &[(0x7000 + SIGNAL_BP, 0x7700), (0x7000 + SIGNAL_SP, 0x7600), (0x7000 + SIGNAL_SP + 8, 0x5100)];
        let interrupted = Walk {
            ip: 0x5100,
            sp: 0x7600,
            bp: 0x7700,
            is_caller: false,
            registers: 0x7028,
            origin: origin::UNKNOWN,
        };
        assert_eq!(step(memory, LEAF, Rule::SIGNAL), Ok(interrupted));
    }
    const SIGNAL_BP: u64 = 120;
    const SIGNAL_SP: u64 = 160;

    /// Return address in r11, after it was popped.
    const POPPED: Rule = Rule {
        return_address: ReturnAddress::InRegister,
        return_address_operand: 11,
        ..Rule::register(7, 0)
    };

    #[test]
    fn a_frame_that_made_no_call_has_all_its_registers() {
        // r10 is 0x70a0, r11 0x70b0
        assert_eq!(
            step(&[(0x70a8, 0x5100)], LEAF, Rule::register(10, 16)),
            Ok(caller(0x5100, 0x70b0, 0x7100))
        );
        assert_eq!(step(&[], LEAF, POPPED), Ok(caller(0x70b0, 0x7000, 0x7100)));
        let moved = Rule { rbp: Rbp::InRegister, rbp_operand: 3, ..Rule::register(7, 16) };
        assert_eq!(step(&[(0x7008, 0x5100)], LEAF, moved), Ok(caller(0x5100, 0x7010, 0x7030)));
    }

    #[test]
    fn an_interrupted_frame_has_those_that_the_kernel_saved() {
        // r10 lies in the third word of those at 0x6000, rax in the 14th
        let interrupted = Walk { registers: 0x6000, ..LEAF };
        let memory = &[(0x6010, 0x7400), (0x6000 + 13 * 8, 0x7600), (0x7408, 0x5100), (0x7608, 0x5200)];
        assert_eq!(step(memory, interrupted, Rule::register(10, 16)), Ok(caller(0x5100, 0x7410, 0x7100)));
        assert_eq!(step(memory, interrupted, Rule::register(0, 16)), Ok(caller(0x5200, 0x7610, 0x7100)));
    }

    #[test]
    fn a_caller_has_only_the_three_that_are_carried_along() {
        let from = caller(0x5000, 0x7000, 0x7100);
        assert_eq!(step(&[(0x70a8, 0x5100)], from, Rule::register(10, 16)), Err(WalkEnd::UnknownRegister));
        assert_eq!(step(&[], from, POPPED), Err(WalkEnd::UnknownRegister));
    }

    #[test]
    fn the_places_of_registers_are_those_of_the_headers() {
        // sys/ucontext.h and asm/ptrace.h, in the order of DWARF's numbers
        let gregs = [13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7];
        let pt_regs = [10, 12, 11, 5, 13, 14, 4, 0, 9, 8, 7, 6, 3, 2, 1, 0];
        for number in 0..16u8 {
            assert_eq!(registers::in_gregs(number), gregs[usize::from(number)] * 8, "{number}");
            assert_eq!(registers::in_pt_regs(number), pt_regs[usize::from(number)] * 8, "{number}");
        }
    }

    #[test]
    fn what_cannot_be_followed_says_why() {
        assert_eq!(step(&[], LEAF, Rule::END), Err(WalkEnd::Proven));
        assert_eq!(step(&[], LEAF, Rule::NONE), Err(WalkEnd::NoRow));
        assert_eq!(step(&[], LEAF, Rule::unsupported(Reason::Crowded)), Err(WalkEnd::UnsupportedRule));
        assert_eq!(step(&[], LEAF, Rule::register(15, 8)), Err(WalkEnd::UnknownRegister));
        assert_eq!(step(&[], LEAF, Rule::register(7, 16)), Err(WalkEnd::UnreadableStack));
        assert_eq!(step(&[], LEAF, Rule::register(7, 0)), Err(WalkEnd::NotAscending));
        assert_eq!(step(&[], LEAF, Rule::register(6, -0x7000)), Err(WalkEnd::NotAscending));
        assert_eq!(step(&[(0x7008, 3)], LEAF, Rule::register(7, 16)), Err(WalkEnd::BadReturnAddress));
    }

    #[test]
    fn where_a_rule_finds_zero_there_is_no_caller() {
        let plain = Rule::register(7, 16);
        let other = Rule { return_address_operand: -16, ..plain };
        assert_eq!(step(&[(0x7008, 0)], LEAF, plain), Err(WalkEnd::Proven));
        assert_eq!(step(&[(0x7000, 0)], LEAF, other), Err(WalkEnd::Proven));
        let switched = Rule { cfa: Cfa::OtherStack, cfa_offset: 0x10, ..plain };
        assert_eq!(step(&[(0x7108, 0)], LEAF, switched), Err(WalkEnd::BadReturnAddress));
    }

    #[test]
    fn a_lost_frame_pointer_is_zero_so_that_no_one_follows_it() {
        let lost = Rule { rbp: Rbp::Undefined, ..Rule::register(7, 16) };
        assert_eq!(step(&[(0x7008, 0x5100)], LEAF, lost), Ok(caller(0x5100, 0x7010, 0)));
    }

    /// What compilers make has a short way of its own: it leads to where the long one leads.
    #[test]
    fn the_short_way_for_plain_rules_is_the_long_one() {
        let stack: &[(u64, u64)] = &[
            (0x6ff8, 0x5300),
            (0x7000, 0x7100),
            (0x7008, 0x5100),
            (0x7010, 0x7300),
            (0x7018, 3),
            (0x7108, 0x5200),
            (0x7110, 1 << 60),
        ];
        let mut ways = 0;
        for (number, offset) in [6, 7].into_iter().flat_map(|n| (-32..48).map(move |at| (n, at * 8))) {
            for rbp in [Rbp::Same, Rbp::AtCfa] {
                for rbp_operand in (-48..24).step_by(8) {
                    let rbp_operand = if rbp == Rbp::Same { 0 } else { rbp_operand };
                    let (word, second) = Rule { rbp, rbp_operand, ..Rule::register(number, offset) }.pack();
                    assert!(Rule::is_plain(word));
                    for from in [LEAF, caller(0x5000, 0x7000, 0x7100)] {
                        let (mut short, mut long) = (from, from);
                        let memory = Words(stack);
                        let ends = (
                            short.step_by_packed(&memory, word, second),
                            long.step_by_any(&memory, word, second),
                        );
                        assert_eq!(ends.0.err(), ends.1, "{number} {offset} {rbp_operand}");
                        assert_eq!(short, long);
                        ways += u32::from(ends.0.is_ok());
                    }
                }
            }
        }
        assert!(ways > 50, "{ways}");
        for unusual in [
            Rule::END,
            Rule::NONE,
            Rule::SIGNAL,
            POPPED,
            Rule::register(3, 8),
            Rule::plt(8, 11),
            Rule::deref_rbp(-8, 0),
            Rule { rbp: Rbp::Undefined, ..Rule::register(7, 8) },
            Rule { interrupts: true, ..Rule::register(7, 8) },
            Rule { return_address_operand: 8, ..Rule::register(7, 8) },
        ] {
            assert!(!Rule::is_plain(unusual.pack().0), "{unusual:?}");
        }
    }

    #[test]
    fn a_step_from_a_caller_says_where_it_has_read() {
        let from = caller(0x5000, 0x7000, 0x7100);
        let origin_of = |memory: &'static [(u64, u64)], walk: Walk, rule: Rule| {
            let mut at = walk;
            at.step_by_rule(&Words(memory), &rule).unwrap();
            at.origin
        };
        let saved = Rule { rbp: Rbp::AtCfa, rbp_operand: -48, ..Rule::register(7, 64) };
        let memory: &[(u64, u64)] = &[(0x7010, 0x7200), (0x7038, 0x5100)];
        let origin = origin_of(memory, from, saved);
        assert!(origin::still_holds(&Words(memory), origin, 0x5100, 0x7200));
        assert!(!origin::still_holds(&Words(memory), origin, 0x5101, 0x7200));
        assert!(!origin::still_holds(&Words(memory), origin, 0x5100, 0x7201));
        assert!(!origin::still_holds(&Words(&[(0x7010, 0x7200), (0x7038, 0x5101)]), origin, 0x5100, 0x7200));
        assert!(!origin::still_holds(&Words(&[(0x7038, 0x5100)]), origin, 0x5100, 0x7200));
        // The frame pointer is not read.
        let kept = origin_of(&[(0x7008, 0x5100)], from, Rule::register(7, 16));
        assert!(origin::still_holds(&Words(&[(0x7008, 0x5100)]), kept, 0x5100, 0x7100));
        assert!(!origin::still_holds(&Words(&[(0x7008, 0x5200)]), kept, 0x5100, 0x7100));
        // By frame pointers.
        let mut framed = from;
        let frame: &[(u64, u64)] = &[(0x7100, 0x7200), (0x7108, 0x6100)];
        framed.step(&Words(frame)).unwrap();
        assert!(origin::still_holds(&Words(frame), framed.origin, 0x6100, 0x7200));
        assert!(!origin::still_holds(
            &Words(&[(0x7100, 0x7208), (0x7108, 0x6100)]),
            framed.origin,
            0x6100,
            0x7200
        ));
    }

    #[test]
    fn a_step_that_depends_on_more_than_two_words_of_the_stack_has_no_origin() {
        let from = caller(0x5000, 0x7000, 0x7100);
        let memory: &[(u64, u64)] = &[
            (0x70f8, 0x7400),
            (0x7100, 0x7300),
            (0x73f8, 0x5100),
            (0x7008, 0x5100),
            (0x7000 + SIGNAL_BP, 0x7700),
            (0x7000 + SIGNAL_SP, 0x7600),
            (0x7000 + SIGNAL_SP + 8, 0x5100),
        ];
        let interrupting = Rule { interrupts: true, ..Rule::register(7, 16) };
        for (walk, rule) in [
            (from, Rule::deref_rbp(-8, 0)),
            (from, Rule::SIGNAL),
            (from, interrupting),
            (LEAF, Rule::register(7, 16)),
        ] {
            let mut at = walk;
            at.step_by_rule(&Words(memory), &rule).unwrap();
            assert_eq!(at.origin, origin::UNKNOWN, "{rule:?}");
            assert!(!origin::still_holds(&Words(memory), at.origin, at.ip, at.bp));
        }
        // Beyond what a word has room for.
        assert_eq!(origin::of(1 << 47, 0), origin::UNKNOWN);
        assert_eq!(origin::of(0x7000, 0x7008), origin::UNKNOWN);
        assert_eq!(origin::of(0x7000, 0x6ffc), origin::UNKNOWN);
        assert_eq!(origin::of(0x90_0000, 0x90_0000 - (8 << 16)), origin::UNKNOWN);
    }
}

/// A thread whose own stack is at 0x7000 and whose goroutine, `g` at 0x9000, has left its stack, which ends at 0x4000, at 0x3f00.
const OF_GO: &[(u64, u64)] = &[
    (THREAD_POINTER_AT, 0x8000),
    (0x7ff8, 0x8800),
    (0x8830, 0xa000),
    (0xa0c0, 0x9000),
    (0x9008, 0x4000),
    (0x9030, 0xa000),
    (0x9038, 0x3f00),
    (0x9040, 0x5200),
    (0x3f00, 0x5100),
    (0x3ef0, 0x7200),
    (0x3ef8, 0x5300),
    (0x7000, 0x100),
    (0x7008, 0x9000),
];

#[test]
fn a_rule_of_go_leads_to_the_stack_that_the_goroutine_left() {
    let memory = Words(OF_GO);
    let step = |rule: Rule| {
        let mut at = Walk::caller(0x5000, 0x7000, 0x3ef0);
        at.step_by_rule(&memory, &rule).map(|method| (method, at.ip, at.sp, at.bp))
    };
    let table = Method::Table;
    assert_eq!(step(Rule::goroutine(8, 0xc0)), Ok((table, 0x5100, 0x3f08, 0x3ef0)));
    assert_eq!(step(Rule::left_goroutine(0, 8)), Ok((table, 0x5100, 0x3f08, 0x3ef0)));
    assert_eq!(step(Rule::parked(0xc0)), Ok((table, 0x5200, 0x3f00, 0)));
    let by_rbp = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::other_stack(16) };
    assert_eq!(step(by_rbp), Ok((table, 0x5300, 0x3f00, 0x7200)));
    // On the same stack a caller lies higher.
    assert_eq!(step(Rule::register(6, 16)), Err(WalkEnd::NotAscending));
}

#[test]
fn a_goroutine_that_does_not_know_its_thread_is_none() {
    for at in [THREAD_POINTER_AT, 0x7ff8, 0x8830, 0xa0c0, 0x9030] {
        let words: Vec<_> = OF_GO
            .iter()
            .map(|&(place, word)| (place, if place == at { word + 0x10 } else { word }))
            .collect();
        let memory = Words(words.leak());
        for rule in [Rule::goroutine(8, 0xc0), Rule::parked(0xc0)] {
            let mut walk = Walk::caller(0x5000, 0x7000, 0x3ef0);
            assert_eq!(walk.step_by_rule(&memory, &rule), Err(WalkEnd::UnreadableStack), "{at:#x} {rule:?}");
        }
    }
}
