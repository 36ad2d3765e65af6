extern crate std;
use std::vec::Vec;

use super::*;

/// One of every kind of CFA, with extreme operands.
fn cfas() -> Vec<Rule> {
    let mut rules = Vec::from([Rule::END, Rule::SIGNAL]);
    rules.extend(Reason::ALL.map(Rule::unsupported));
    for offset in [i32::MIN, -8, 0, 8, 0x1_0000, i32::MAX] {
        rules.extend((0..16).map(|number| Rule::register(number, offset)));
        rules.push(Rule::other_stack(offset));
    }
    for (offset, addend) in [(0, 0), (8, 11), (-1, i16::MIN), (i16::MIN, -1), (i16::MAX, i16::MAX)] {
        rules.extend([
            Rule::plt(offset, addend),
            Rule::deref_rsp(offset, addend),
            Rule::deref_rbp(offset, addend),
            Rule::goroutine(offset, addend),
            Rule::left_goroutine(offset, addend),
            Rule::parked(offset),
        ]);
    }
    rules
}

fn round_trip(rule: Rule) {
    let (word, second) = rule.pack();
    assert_eq!(Rule::unpack(word, second), rule, "{word:#x} {second:#x}");
    assert!(Rule::is_wide(word) || second == 0, "{rule:?}");
    assert!(Rule::is_packed(word, second), "{rule:?}");
}

#[test]
fn every_kind_packs_and_unpacks_to_itself() {
    let rbps =
        [Rbp::Same, Rbp::AtCfa, Rbp::AtRbp, Rbp::AtRsp, Rbp::InRegister, Rbp::Undefined, Rbp::Unsupported];
    let addresses = [
        (ReturnAddress::AtCfa, -8),
        (ReturnAddress::AtCfa, 0),
        (ReturnAddress::AtCfa, -16),
        (ReturnAddress::AtCfa, i32::MIN),
        (ReturnAddress::InRegister, 11),
        (ReturnAddress::InRegister, RETURN_ADDRESS_OFFSET),
    ];
    let mut count = 0;
    for cfa in cfas() {
        for rbp in rbps {
            for rbp_operand in [0, -16, i16::MIN.into(), i16::MAX.into(), 0x8000, -0x8001, i32::MIN] {
                for (return_address, return_address_operand) in addresses {
                    for interrupts in [false, true] {
                        let rule = Rule {
                            rbp,
                            rbp_operand,
                            return_address,
                            return_address_operand,
                            interrupts,
                            ..cfa
                        };
                        round_trip(rule);
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 50_000, "{count}");
}

#[test]
fn random_operands_come_back_and_different_rules_pack_differently() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let kinds = cfas();
    for _ in 0..200_000 {
        let mut rule = kinds[next() as usize % kinds.len()];
        match rule.cfa {
            Cfa::Rsp | Cfa::Rbp | Cfa::Register => rule.cfa_offset = next() as i32,
            Cfa::Plt | Cfa::DerefRsp | Cfa::DerefRbp => {
                (rule.cfa_offset, rule.cfa_addend) = ((next() as i16).into(), next() as i16);
            }
            _ => {}
        }
        rule.rbp = Rbp::AtCfa;
        rule.rbp_operand = next() as i32 >> (next() % 32);
        round_trip(rule);
        let other = Rule { rbp_operand: rule.rbp_operand.wrapping_add(1), ..rule };
        assert_ne!(rule.pack(), other.pack());
    }
}

#[test]
fn usual_rules_take_one_word_and_unusual_ones_two() {
    let pushed = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(7, i32::MAX) };
    assert_eq!(pushed.pack().1, 0);
    assert!(!Rule::is_wide(pushed.pack().0));
    assert!(Rule::is_wide(Rule { rbp_operand: -40_000, ..pushed }.pack().0));
    let in_register = Rule { return_address: ReturnAddress::InRegister, return_address_operand: 0, ..pushed };
    assert!(Rule::is_wide(in_register.pack().0));
}

#[test]
fn nothing_known_is_the_zero_word() {
    assert_eq!(Rule::NONE.pack(), (0, 0));
    assert!(Rule::is_packed(0, 0));
    assert_eq!(Rule::unpack(0, 0), Rule::NONE);
}

#[test]
fn words_that_no_rule_packs_to_are_found_out() {
    let usual = Rule::register(7, 8).pack().0;
    for (word, second) in [
        (14, 0),                               // an unknown kind
        (usual | 7 << RBP_KIND, 0),            // an unknown place of rbp
        (usual | 1 << 14, 0),                  // an unused bit
        (usual | WIDE, 0xffff_fff8_0000_0000), // two words where one does
        (usual, 1),                            // one word and another
        (1 << RBP_KIND, 0),                    // nothing known but where rbp is
        (Cfa::Unsupported as u64 | 6 << 4, 0), // an unknown reason
    ] {
        assert!(!Rule::is_packed(word, second), "{word:#x} {second:#x}");
    }
    assert!(Rule::is_packed(usual, 0));
}
