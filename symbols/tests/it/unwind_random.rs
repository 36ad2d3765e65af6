//! Random call frame information: valid instructions in any order, most of which no compiler would write.

use crate::common::Random;
use crate::unwind_agreement::compare;
use crate::unwind_hostile::{executable, read, section};
use crate::unwind_oracle::Oracle;
use crate::unwind_rows::described_by;

/// An unsigned number in seven bits a byte.
fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A signed number in seven bits a byte.
fn sleb(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !(-64..64).contains(&value) {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8 & 127);
    bytes
}

/// An offset: mostly of a usual size, at times one that takes two words, or fits nowhere.
fn offset(random: &mut Random) -> i64 {
    let bits = [6, 6, 6, 10, 10, 17, 33, 40][random.below(8)];
    (random.next() as i64 >> (64 - bits)) * 8
}

/// Mostly one of those that matter.
fn register(random: &mut Random) -> u8 {
    [6, 7, 16, 6, 7, 16, 3, 10, 12, 0, 17][random.below(11)]
}

/// An expression that needs nothing but registers and memory.
fn expression(random: &mut Random) -> Vec<u8> {
    const DEREF: u8 = 0x06;
    const PLUS_CONSTANT: u8 = 0x23;
    let mut bytes = vec![0x70 + [6, 7, 7, 10][random.below(4)]];
    bytes.extend(sleb(offset(random)));
    match random.below(5) {
        0 => {}
        1 => bytes.push(DEREF),
        2 => bytes.extend([&[DEREF, PLUS_CONSTANT], &leb(random.next() >> 50)[..]].concat()),
        3 => bytes.extend([DEREF, 0x38, 0x22]), // + 8
        _ => {
            return vec![0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x30 + random.below(17) as u8, 0x2a, 0x33, 0x24, 0x22];
        }
    }
    bytes
}

/// One instruction.
fn instruction(random: &mut Random) -> Vec<u8> {
    let operand = |opcode: u8, operands: &[Vec<u8>]| [&[opcode][..], &operands.concat()].concat();
    let with_expression = |opcode: u8, register: Option<u8>, expression: Vec<u8>| {
        let register = register.map_or(Vec::new(), |register| vec![register]);
        operand(opcode, &[register, leb(expression.len() as u64), expression])
    };
    let (number, distance) = (register(random), offset(random));
    match random.below(18) {
        0..5 => vec![0x40 | random.below(40) as u8], // advance
        5 => operand(0x03, &[(random.below(700) as u16).to_le_bytes().into()]), // advance by two bytes
        6 => operand(0x0c, &[vec![number], leb(distance.unsigned_abs())]), // CFA
        7 => operand(0x0d, &[vec![number]]),
        8 | 9 => operand(0x0e, &[leb(distance.unsigned_abs())]),
        10 => operand(0x11, &[vec![number], sleb(distance / 8)]), // at CFA + offset
        11 => operand(0x14, &[vec![number], leb(random.below(4) as u64)]), // is CFA + offset
        12 => operand([0x07, 0x08][random.below(2)], &[vec![number]]), // undefined, the same
        13 => operand(0x09, &[vec![number], vec![random.below(18) as u8]]), // in a register
        14 => with_expression(0x0f, None, expression(random)),
        15 => with_expression([0x10, 0x16][random.below(2)], Some(number), expression(random)),
        16 => vec![[0x0a, 0x0b][random.below(2)]], // remember, restore the state
        _ => vec![0xc0 | number & 0x3f],           // as at the start
    }
}

#[test]
fn random_call_frame_information_gives_rows_as_gimli_evaluates_it() {
    let mut random = Random(0x0cf1);
    let (mut same, mut unsupported, mut broken) = (0, 0, 0);
    for _ in 0..200 {
        let programs: Vec<Vec<u8>> =
            (0..40).map(|_| (0..random.below(60)).flat_map(|_| instruction(&mut random)).collect()).collect();
        let mut start = 0x1000;
        let entries = programs.iter().map(|program| {
            start += random.below(40) as u64;
            let entry = (start, 1 + random.below(900) as u64, program.as_slice());
            start += entry.1;
            entry
        });
        let bytes = executable(0x10_0000, &section(&[], entries.collect::<Vec<_>>()));
        let mut padded = bytes;
        padded.resize(0x10_0000, 0);
        read(&padded).unwrap();
        let table = described_by(&padded);
        let agreement = compare(&table, &Oracle::of_bytes(&padded), 1);
        same += agreement.same;
        unsupported += agreement.unsupported.values().sum::<u64>();
        broken += table.stats().broken_entries;
    }
    assert!(same > 50_000 && unsupported > 1_000 && broken > 100, "{same} {unsupported} {broken}");
}
