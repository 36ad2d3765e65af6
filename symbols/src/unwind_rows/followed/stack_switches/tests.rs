use super::*;

const START: u64 = 0x1000;

fn found(name: &str, code: &[u8]) -> Option<StackSwitch> {
    find(name.as_bytes(), START, code, Some(0xc0))
}

/// push %rbp; mov %rsp,%rbp; mov 0x38(%rdx),%rsp; call *%rdi; mov 0x68(%rax),%rbp; pop %rbp; ret
const WITH_FRAME: &[u8] =
    &[0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x62, 0x38, 0xff, 0xd7, 0x48, 0x8b, 0x68, 0x68, 0x5d, 0xc3];
/// mov 0x38(%rdx),%rbx; mov %rbx,%rsp; call *%rdi; mov 0x38(%rax),%rsp; ret; jmp *%rdi
const WITHOUT_FRAME: &[u8] =
    &[0x48, 0x8b, 0x5a, 0x38, 0x48, 0x89, 0xdc, 0xff, 0xd7, 0x48, 0x8b, 0x60, 0x38, 0xc3, 0xff, 0xe7];

#[test]
fn a_function_with_a_frame_pointer_gets_back_by_it_whatever_its_name() {
    let rule = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::other_stack(16) };
    let switch = StackSwitch { range: 0x1004..0x100e, rule, returns: true };
    assert_eq!(found("runtime.systemstack", WITH_FRAME), Some(switch.clone()));
    assert_eq!(found("runtime.another", WITH_FRAME), Some(switch));
    // sub $0x20,%rsp; mov %rbp,0x18(%rsp); lea 0x18(%rsp),%rbp; mov %rdi,%rsp; mov 0x18(%rsp),%rbp; add $0x20,%rsp; ret
    let before = [
        0x48, 0x83, 0xec, 0x20, 0x48, 0x89, 0x6c, 0x24, 0x18, 0x48, 0x8d, 0x6c, 0x24, 0x18, 0x48, 0x89, 0xfc,
        0x48, 0x8b, 0x6c, 0x24, 0x18, 0x48, 0x83, 0xc4, 0x20, 0xc3,
    ];
    assert_eq!(found("runtime.cgocallback", &before).map(|switch| switch.range), Some(0x100e..0x1016));
    // mov $0,%ebp in place of what gives it back: mcall
    let mut lost = WITH_FRAME.to_vec();
    lost.splice(10..15, [0xbd, 0, 0, 0, 0, 0x90]);
    assert_eq!(found("runtime.another", &lost), None);
    let scheduler = found("runtime.mcall", &lost);
    assert_eq!(scheduler, Some(StackSwitch { range: 0x1008..0x1011, rule: Rule::END, returns: true }));
}

#[test]
fn without_a_frame_pointer_the_goroutine_says_it() {
    let switch = StackSwitch { range: 0x1007..0x100e, rule: Rule::goroutine(8, 0xc0), returns: true };
    assert_eq!(found("runtime.systemstack", WITHOUT_FRAME), Some(switch));
    assert_eq!(found("runtime.morestack", WITHOUT_FRAME).map(|switch| switch.rule), Some(Rule::parked(0xc0)));
    assert_eq!(found("runtime.another", WITHOUT_FRAME), None);
    assert_eq!(find(b"runtime.systemstack", START, WITHOUT_FRAME, None), None);
    // mov 0x38(%rsi),%rsp; call *%rax; sub 0x28(%rsp),%rsi; mov %rsi,%rsp; ret
    let c = [0x48, 0x8b, 0x66, 0x38, 0xff, 0xd0, 0x48, 0x2b, 0x74, 0x24, 0x28, 0x48, 0x89, 0xf4, 0xc3, 0x90];
    let switch = StackSwitch { range: 0x1004..0x100f, rule: Rule::left_goroutine(0x28, 8), returns: false };
    assert_eq!(found("runtime.asmcgocall", &c), Some(switch));
    assert_eq!(found("runtime.systemstack", &[]), None);
}

#[test]
fn the_goroutine_is_where_systemstack_looks_for_it() {
    // cmp 0x50(%rbx),%rax; cmp 0xc0(%rbx),%rax; cmp 0x1000(%rip),%rax
    let code = [0x48, 0x3b, 0x43, 0x50, 0x48, 0x3b, 0x83, 0xc0, 0, 0, 0, 0x48, 0x3b, 0x05, 0, 0x10, 0, 0];
    assert_eq!(goroutine_at(START, &code), Some(0xc0));
    assert_eq!(goroutine_at(START, &code[..4]), None);
}

#[test]
fn rows_are_replaced_within_the_switch_and_cut_at_its_ends() {
    let said = |returns, rows: Range<u64>| {
        let switch = StackSwitch { range: 10..20, rule: Rule::END, returns };
        let mut all = Vec::new();
        switch.instead(rows, Rule::register(7, 8), &mut |at, rule| all.push((at, rule)));
        all
    };
    let (before, unknown) = (Rule::register(7, 8), Rule::unsupported(Reason::StackPointer));
    assert_eq!(said(true, 0..30), [(0, before), (10, Rule::END), (20, before)]);
    assert_eq!(said(false, 15..30), [(15, Rule::END), (20, unknown)]);
    assert_eq!(said(true, 0..10), [(0, before)]);
    assert_eq!(said(false, 12..14), [(12, Rule::END)]);
}
