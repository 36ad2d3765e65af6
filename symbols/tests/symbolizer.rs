//! Names of addresses in the test programs and in the system's files.
mod common;

use symbols::symbolizer::{Name, Symbolizer};
use testprogs::{Program, Variant, build};

#[test]
fn dbg_print() {
    let path = build(Program::Threads, Variant::FramePointers);
    let mut s = Symbolizer::default();
    for (program, function, offset) in
        [(Program::Threads, "_ZN4mill5pressEmi", 0x40u64), (Program::Threads, "_ZN4mill5pressEmi", 4)]
    {
        let path = build(program, Variant::FramePointers);
        let at = common::symbol(&path, function).start + offset;
        println!("{:#?}", s.file(&path, &[at]));
    }
    let _: Option<Name> = None;
    let _ = path;
}
