use super::*;

/// Words by address, sparse.
struct Words(&'static [(u64, u64)]);

impl KernelMemory for Words {
    fn word(&self, address: u64) -> Option<u64> {
        self.0.iter().find(|(at, _)| *at == address).map(|(_, word)| *word)
    }
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address + 8)?])
    }
}

const SP: u16 = register::SP as u16;
const BP: u16 = register::BP as u16;
const PREVIOUS_SP: u16 = register::PREVIOUS_SP as u16;

/// A rule of the layout since 6.4.
fn rule(kind: u32, sp: (u16, i16), bp: (u16, i16)) -> OrcRule {
    OrcRule::pack(
        [sp.1 as u16, bp.1 as u16, sp.0 | bp.0 << 4 | (kind as u16) << 8],
        Layout::WithSignal as u32,
    )
}

const LEAF: KernelWalk = KernelWalk { ip: 0x5000, sp: 0x7000, bp: 0x7100, bp_at: 0, is_caller: false };

fn step(memory: &'static [(u64, u64)], mut walk: KernelWalk, rule: OrcRule) -> Result<KernelWalk, KernelEnd> {
    walk.step(&Words(memory), rule).map(|()| walk)
}

#[test]
fn a_call_is_left_by_the_stack_pointer() {
    let got = step(&[(0x7018, 0x5100)], LEAF, rule(kind::CALL, (SP, 32), (0, 0)));
    assert_eq!(got, Ok(KernelWalk { ip: 0x5100, sp: 0x7020, is_caller: true, ..LEAF }));
}

#[test]
fn a_saved_frame_pointer_is_read_only_where_it_is_needed() {
    let saves = rule(kind::CALL, (SP, 32), (PREVIOUS_SP, -16));
    let caller = step(&[(0x7018, 0x5100)], LEAF, saves).unwrap();
    assert_eq!(caller.bp_at, 0x7010);
    let by_bp = rule(kind::CALL, (BP, 16), (PREVIOUS_SP, -16));
    let got = step(&[(0x7010, 0x7200), (0x7208, 0x5200)], caller, by_bp).unwrap();
    assert_eq!(got, KernelWalk { ip: 0x5200, sp: 0x7210, bp: 0x7200, bp_at: 0x7200, is_caller: true });
    assert_eq!(step(&[(0x7208, 0x5200)], caller, by_bp), Err(KernelEnd::UnreadableStack));
}

#[test]
fn another_stack_is_reached_through_a_word() {
    let on_top = rule(kind::CALL, (register::SP_INDIRECT as u16, 8), (0, 0));
    let got = step(&[(0x7000, 0x2000), (0x2000, 0x5100)], LEAF, on_top).unwrap();
    assert_eq!((got.ip, got.sp), (0x5100, 0x2008));
    let by_bp = rule(kind::CALL, (register::BP_INDIRECT as u16, -8), (0, 0));
    let got = step(&[(0x70f8, 0x2000), (0x1ff8, 0x5100)], LEAF, by_bp).unwrap();
    assert_eq!((got.ip, got.sp), (0x5100, 0x2000));
}

#[test]
fn an_interrupt_leads_to_the_instruction_it_interrupted() {
    let memory = &[(0x7088, 0x5100), (0x7090, 0x10), (0x70a0, 0x6000), (0x7028, 0x6600)];
    let interrupted = OrcRule(rule(kind::REGISTERS, (SP, 8), (0, 0)).0 | 1 << 9);
    let got = step(memory, LEAF, interrupted).unwrap();
    assert_eq!(got, KernelWalk { ip: 0x5100, sp: 0x6000, bp: 0x7100, bp_at: 0x7028, is_caller: false });
    let pushed = OrcRule(rule(kind::PARTIAL, (SP, 0), (0, 0)).0 | 1 << 9);
    let got = step(&[(0x7000, 0x5100), (0x7008, 0x10), (0x7018, 0x6000)], LEAF, pushed).unwrap();
    assert_eq!(got, KernelWalk { ip: 0x5100, sp: 0x6000, ..LEAF });
}

#[test]
fn user_code_and_a_threads_start_are_the_end() {
    let entry = rule(kind::REGISTERS, (SP, 0), (0, 0));
    assert_eq!(step(&[(0x7080, 0x40_0000), (0x7088, 0x33)], LEAF, entry), Err(KernelEnd::Complete));
    assert_eq!(step(&[], LEAF, rule(kind::END, (0, 0), (0, 0))), Err(KernelEnd::Complete));
    assert_eq!(step(&[], LEAF, rule(kind::UNDEFINED, (0, 0), (0, 0))), Err(KernelEnd::Undefined));
}

#[test]
fn what_cannot_be_followed_says_why() {
    assert_eq!(step(&[], LEAF, rule(kind::CALL, (SP, 8), (0, 0))), Err(KernelEnd::UnreadableStack));
    assert_eq!(step(&[], LEAF, rule(kind::CALL, (SP, -8), (0, 0))), Err(KernelEnd::NotAscending));
    for unsupported in [
        rule(kind::CALL, (7, 8), (0, 0)),
        rule(kind::CALL, (SP, 12), (0, 0)),
        rule(kind::CALL, (SP, 16), (PREVIOUS_SP, -4096)),
        rule(kind::CALL, (SP, 16), (6, 8)),
        rule(6, (SP, 16), (0, 0)),
        OrcRule::UNSUPPORTED,
    ] {
        assert_eq!(step(&[(0x7018, 0x5100)], LEAF, unsupported), Err(KernelEnd::Unsupported));
    }
}

#[test]
fn offsets_keep_their_sign_and_size() {
    for offset in [-32768, -8, 0, 8, 2048, 32760] {
        assert_eq!(rule(kind::CALL, (SP, offset), (0, 0)).sp_offset(), offset as i64 as u64);
    }
    for offset in [-2048, -16, 0, 8, 2040] {
        assert_eq!(rule(kind::CALL, (SP, 8), (PREVIOUS_SP, offset)).bp_offset(), offset as i64 as u64);
    }
}

#[test]
fn the_older_layout_means_the_same() {
    let old = |fields: u16| OrcRule::pack([16, 0, fields], Layout::WithEnd as u32);
    assert_eq!(old(SP), rule(kind::CALL, (SP, 16), (0, 0)));
    // Interrupts had no mark of their own: both kinds of registers are of interrupted code.
    assert_eq!(old(SP | 1 << 8).0, rule(kind::REGISTERS, (SP, 16), (0, 0)).0 | 1 << 9);
    assert_eq!(old(SP | 2 << 8).0, rule(kind::PARTIAL, (SP, 16), (0, 0)).0 | 1 << 9);
    assert_eq!(old(0).0, kind::UNDEFINED);
    assert_eq!(old(1 << 10).0, kind::END);
}
