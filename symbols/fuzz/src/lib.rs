//! What has to hold for any input.

pub mod elf;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use profiler_unwind::Rule;
use rustix::fs::{MemfdFlags, memfd_create};
use symbols::all_registers::Frame;
use symbols::frame_pointer_rules::UnwindInfo;
use symbols::unwind_rows::{UnwindRowsError, UnwindTable};

/// Rows and runs of one table that are looked up.
const LOOK_UPS: usize = 256;

/// Makes the unwind table of a file of these bytes, and panics if it is not what every table has to be: in proportion to
/// the file, the same after it was stored, and fit to be asked anything.
pub fn check_file(bytes: &[u8]) -> Result<(), UnwindRowsError> {
    let path = Path::new("fuzzed");
    let mut file = File::from(memfd_create("fuzzed", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("memory");
    let table = UnwindTable::read(&file, path)?;
    let stats = table.stats();
    // An instruction makes a row at most. Functions of Go can share what describes them.
    let of_go = if stats.entries_of_go > 0 { 8 * bytes.len() as u64 } else { 0 };
    // One of code, too, and behind it a gap may begin.
    let of_code = if stats.entries_of_code > 0 { 2 * bytes.len() as u64 } else { 0 };
    let most = stats.eh_frame_bytes + stats.debug_frame_bytes + of_go + of_code;
    assert!(stats.rows <= most, "{stats:?}");
    let most = 64 * (bytes.len() as u64 + stats.debug_frame_bytes) + 4096;
    assert!(stats.bytes <= most, "{stats:?} of {} bytes", bytes.len());
    let stored = UnwindTable::from_bytes(&table.to_bytes());
    assert!(stored.as_ref() == Ok(&table), "{:?}", stored.map(|stored| *stored.stats()));
    look_up(&table);
    if let Ok(info) = UnwindInfo::read(&file, path) {
        step(&info, &table);
    }
    Ok(())
}

/// Asks for the rule at the borders of runs, and goes through all rows.
pub fn look_up(table: &UnwindTable) {
    let ends = table.runs().iter().flat_map(|run| [run.start_vaddr, run.end_vaddr]).take(LOOK_UPS);
    for vaddr in ends.chain([0, u64::MAX]) {
        let _ = (table.rule_at(vaddr), table.rule_at(vaddr.wrapping_sub(1)));
    }
    let mut before = None;
    for (number, (vaddr, rule)) in table.rows().enumerate() {
        assert!(before.is_none_or(|before| before < vaddr), "row {number} at {vaddr:#x} does not ascend");
        before = Some(vaddr);
        if number < LOOK_UPS {
            assert_eq!(table.rule_at(vaddr).unwrap_or(Rule::NONE), rule, "at {vaddr:#x}");
        }
    }
}

/// What walks without tables ask of the same file, at the table's first rows.
fn step(info: &UnwindInfo, table: &UnwindTable) {
    for (vaddr, _) in table.rows().take(LOOK_UPS / 4) {
        let registers = std::array::from_fn(|number| Some(vaddr ^ (number as u64) << 40));
        let frame = Frame { ip: vaddr, registers, is_caller: false };
        let read = |address: u64| (address & 64 == 0).then_some(address ^ vaddr);
        let _ = (info.rule_at(vaddr), info.caller(vaddr, &frame, &read));
    }
}
