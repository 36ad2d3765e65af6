use super::*;

/// Code at 0x1000, words elsewhere, and a file from 0x9000 on with one rule.
struct Made {
    code: Vec<u8>,
    words: Vec<(u64, u64)>,
    in_file: Option<Rule>,
}

const START: u64 = 0x1000;
const FILE: u64 = 0x9000;

impl RunningCode for Made {
    fn bytes(&mut self, address: u64) -> Option<([u8; INSTRUCTION_BYTES], usize)> {
        let rest = self.code.get(address.checked_sub(START)? as usize..)?;
        let count = rest.len().min(INSTRUCTION_BYTES);
        let mut bytes = [0; INSTRUCTION_BYTES];
        bytes[..count].copy_from_slice(&rest[..count]);
        Some((bytes, count))
    }
    fn word(&mut self, address: u64) -> Option<u64> {
        self.words.iter().find(|(at, _)| *at == address).map(|(_, word)| *word)
    }
    fn in_file(&mut self, address: u64) -> Option<Option<Rule>> {
        (address >= FILE).then_some(self.in_file)
    }
}

fn out_of(code: &[u8]) -> Vec<Rule> {
    ways_out(&mut Made { code: code.to_vec(), words: Vec::new(), in_file: None }, START).returns
}

/// The rule of which the CFA is so far from rsp, and rbp where it was.
fn from_rsp(offset: i32) -> Rule {
    Rule::register(7, offset)
}

#[test]
fn the_way_leads_to_the_return_whatever_it_takes_off_the_stack() {
    // add $0x18,%rsp; pop %rbx; ret
    assert_eq!(out_of(&[0x48, 0x83, 0xc4, 0x18, 0x5b, 0xc3]), [from_rsp(0x28)]);
    // call; pop %rbp; ret: the caller's rbp was on top
    let saved = Rule { rbp: Rbp::AtRsp, rbp_operand: 0, ..from_rsp(0x10) };
    assert_eq!(out_of(&[0xe8, 0, 0, 0, 0, 0x5d, 0xc3]), [saved]);
    // ret $0x10
    let rule = Rule { return_address_operand: -24, ..from_rsp(0x18) };
    assert_eq!(out_of(&[0xc2, 0x10, 0]), [rule]);
    assert_eq!(out_of(&[0x90, 0x90]), []);
    // push %rax; ret: a jump
    assert_eq!(out_of(&[0x50, 0xc3]), []);
    // leave; ret: by a frame pointer, of which nothing is known here
    assert_eq!(out_of(&[0xc9, 0xc3]), []);
}

#[test]
fn a_stack_that_was_left_is_where_rbp_says() {
    // call; mov %rbp,%rsp; test %rax,%rax; ret: Erlang's code has called C on the thread's stack
    let rule = Rule::other_stack(8);
    assert_eq!(out_of(&[0xe8, 0, 0, 0, 0, 0x48, 0x89, 0xec, 0x48, 0x85, 0xc0, 0xc3]), [rule]);
    // mov %rbp,%rsp; add $0x10,%rsp; ret, also if C is called in between once more:
    // mov %rsp,%rbp; lea -0x80(%rbx),%rsp; call; mov %rbp,%rsp
    let again = [0x48, 0x89, 0xe5, 0x48, 0x8d, 0x63, 0x80, 0xe8, 0, 0, 0, 0, 0x48, 0x89, 0xec];
    let [back, end] = [&[0x48, 0x89, 0xec][..], &[0x48, 0x83, 0xc4, 0x10, 0xc3]];
    assert_eq!(out_of(&[back, end].concat()), [Rule::other_stack(0x18)]);
    let with_call = Rule { rbp: Rbp::Undefined, ..Rule::other_stack(0x18) };
    assert_eq!(out_of(&[back, &again, end].concat()), [with_call]);
    // mov %rbp,%rsp; pop %rbp; ret: a frame pointer
    let saved = Rule { rbp: Rbp::AtRbp, rbp_operand: 0, ..Rule::other_stack(0x10) };
    assert_eq!(out_of(&[0x48, 0x89, 0xec, 0x5d, 0xc3]), [saved]);
}

#[test]
fn ends_that_disagree_are_told_the_nearest_first() {
    // je to the second; add $8,%rsp; ret; add $X,%rsp; ret
    let both = |second: u8| [0x74, 0x05, 0x48, 0x83, 0xc4, 0x08, 0xc3, 0x48, 0x83, 0xc4, second, 0xc3];
    assert_eq!(out_of(&both(8)), [from_rsp(0x10)]);
    assert_eq!(out_of(&both(16)), [from_rsp(0x10), from_rsp(0x18)]);
    // Behind a call, which may not come back, another function may stand: what is nearer counts.
    let far = [0x74, 0x05, 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0xc4, 0x10, 0xc3];
    assert_eq!(out_of(&far), [from_rsp(0x18)]);
}

#[test]
fn code_of_a_file_says_how_deep_its_stack_is() {
    // sub $8,%rsp; mov $0x9000,%rax; jmp *%rax
    let code = [0x48, 0x83, 0xec, 0x08, 0x48, 0xb8, 0, 0x90, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];
    let there = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..from_rsp(0x40) };
    let mut made = Made { code: code.to_vec(), words: Vec::new(), in_file: Some(there) };
    assert_eq!(ways_out(&mut made, START).returns, [Rule { cfa_offset: 0x38, ..there }]);
    made.in_file = None;
    assert_eq!(ways_out(&mut made, START).returns, []);
    // jmp *0x10(%rip)
    let mut by_word =
        Made { code: vec![0xff, 0x25, 0x10, 0, 0, 0], words: vec![(0x1016, FILE)], in_file: Some(there) };
    assert_eq!(ways_out(&mut by_word, START).returns, [there]);
    by_word.words.clear();
    assert_eq!(ways_out(&mut by_word, START).returns, []);
    let by_rbp = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(6, 16) };
    made = Made { code: vec![0x90], words: Vec::new(), in_file: Some(by_rbp) };
    made.code.extend([0xe9, 0xfa, 0x7f, 0, 0]);
    assert_eq!(ways_out(&mut made, START).returns, [by_rbp]);
}

#[test]
fn a_loop_without_a_way_out_ends_the_search() {
    assert_eq!(out_of(&[0xeb, 0xfe]), []);
    assert_eq!(out_of(&[0x90; 4096]), []);
    // jmp *%rax, to nobody knows where
    assert_eq!(out_of(&[0xff, 0xe0]), []);
}

#[test]
fn a_loop_that_calls_itself_last_begins_with_the_return_address_on_top() {
    // mov (%rsp),%rdi; add $8,%rsp; jmp to behind it: sub $8,%rsp; call; jmp to the start
    let code = [
        0x48, 0x8b, 0x3c, 0x24, 0x48, 0x83, 0xc4, 0x08, 0xeb, 0x00, 0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0,
        0xeb, 0xeb,
    ];
    let mut made = Made { code: code.to_vec(), words: Vec::new(), in_file: None };
    let ways = ways_out(&mut made, START);
    assert_eq!((ways.returns, ways.jumps), (Vec::new(), vec![from_rsp(0x10)]));
    // The same with a way that returns: that is asked. je to a ret
    made.code[8..10].copy_from_slice(&[0x74, 0x0b]);
    made.code.push(0xc3);
    let ways = ways_out(&mut made, START);
    assert_eq!((ways.returns, ways.jumps), (vec![from_rsp(0x10)], Vec::new()));
    // A loop that leaves the stack as it is says nothing.
    let ways = ways_out(&mut Made { code: vec![0xeb, 0xfe], words: Vec::new(), in_file: None }, START);
    assert_eq!((ways.returns, ways.jumps), (Vec::new(), Vec::new()));
}
