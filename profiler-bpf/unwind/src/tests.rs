use super::*;

/// Words by address, sparse.
struct Words(&'static [(u64, u64)]);

impl Memory for Words {
    fn word(&self, address: u64) -> Option<u64> {
        self.0.iter().find(|(at, _)| *at == address).map(|(_, word)| *word)
    }
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address + 8)?])
    }
}

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
