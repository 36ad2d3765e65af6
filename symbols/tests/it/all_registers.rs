//! Steps with all registers, by rules in assembler that say just what is wanted.

use symbols::all_registers::{Frame, NoCaller};
use symbols::frame_pointer_rules::UnwindInfo;

use crate::common::symbol;
use crate::unwind_rules::{DEREF_RSP, PLT, SCALED, function, library};

/// Register n holds 0x1000 + 0x100 n, but rsp: the stack starts at 0x8000, and each word holds its own address + 1.
const SP: u64 = 0x8000;

fn leaf(ip: u64) -> Frame {
    let mut registers: [Option<u64>; 16] = std::array::from_fn(|number| Some(register(number as u64)));
    registers[7] = Some(SP);
    Frame { ip, registers, is_caller: false }
}

fn register(number: u64) -> u64 {
    0x1000 + 0x100 * number
}

fn word(address: u64) -> u64 {
    address + 1
}

/// One step from the first instruction of a function that says this.
fn step(cfi: &str, change: impl Fn(&mut Frame)) -> Result<Frame, NoCaller> {
    let (_folder, path) = library("step.s", &function("f", cfi), &[]);
    let unwind = UnwindInfo::read(&std::fs::File::open(&path).unwrap(), &path).unwrap();
    let at = symbol(&path, "f").start;
    let mut frame = leaf(at);
    change(&mut frame);
    let readable = |address: u64| (0x1000..0x10_0000).contains(&address).then(|| word(address));
    unwind.caller(at, &frame, &readable)
}

fn caller(cfi: &str) -> Frame {
    match step(cfi, |_| ()) {
        Ok(frame) => frame,
        other => panic!("{cfi}: {other:?}"),
    }
}

#[test]
fn the_cfa_may_be_in_any_register_and_what_is_not_saved_stays() {
    for number in [0, 3, 10, 13, 15] {
        let got = caller(&format!(".cfi_def_cfa {number}, 24"));
        let cfa = register(number) + 24;
        assert_eq!((got.ip, got.registers[7], got.is_caller), (word(cfa - 8), Some(cfa), true));
        assert_eq!((got.registers[12], got.registers[6]), (Some(register(12)), Some(register(6))));
    }
}

#[test]
fn saved_registers_come_from_where_they_are() {
    let got = caller(
        ".cfi_def_cfa_offset 64\n.cfi_offset 3, -16\n.cfi_register 12, 0\n.cfi_undefined 13\n.cfi_val_offset 14, -24",
    );
    let cfa = SP + 64;
    assert_eq!(got.registers[3], Some(word(cfa - 16)));
    assert_eq!(got.registers[12], Some(register(0)));
    assert_eq!(got.registers[13], None);
    assert_eq!(got.registers[14], Some(cfa - 24));
}

#[test]
fn expressions_are_evaluated() {
    assert_eq!(caller(DEREF_RSP).registers[7], Some(word(SP + 120) + 8));
    // CFA = rsp + 8 + rcx * 8, which no table can say
    assert_eq!(caller(SCALED).registers[7], Some(SP + 8 + register(2) * 8));
    // the linkage table's rule depends on the low bits of the address: its function is aligned to 16
    assert_eq!(caller(PLT).registers[7], Some(SP + 8));
    let at_11 = step(PLT, |frame| frame.ip += 11);
    assert!(matches!(at_11, Ok(frame) if frame.registers[7] == Some(SP + 16)), "{at_11:?}");
}

#[test]
fn the_return_address_may_be_in_a_register_and_signal_frames_are_told() {
    let popped = caller(".cfi_def_cfa_offset 0\n.cfi_register 16, 11");
    assert_eq!((popped.ip, popped.registers[7]), (register(11), Some(SP)));
    assert!(!caller(".cfi_signal_frame").is_caller);
}

#[test]
fn what_cannot_be_followed_says_why() {
    assert_eq!(step(".cfi_undefined 16", |_| ()), Err(NoCaller::End));
    assert_eq!(step(".cfi_def_cfa 10, 0", |frame| frame.registers[10] = None), Err(NoCaller::Unknown));
    assert_eq!(step(".cfi_def_cfa 17, 0", |_| ()), Err(NoCaller::Unknown));
    assert_eq!(step("", |frame| frame.registers[7] = Some(8)), Err(NoCaller::Unreadable));
    // an expression that jumps back to its own start: DW_OP_skip -3
    assert_eq!(step(".cfi_escape 0x0f, 0x03, 0x2f, 0xfd, 0xff", |_| ()), Err(NoCaller::Unknown));
    let (_folder, path) = library("step.s", &function("f", ""), &[]);
    let unwind = UnwindInfo::read(&std::fs::File::open(&path).unwrap(), &path).unwrap();
    assert_eq!(unwind.caller(8, &leaf(8), &|_| None), Err(NoCaller::NoRow));
}
