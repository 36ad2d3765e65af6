//! The kernel's own unwind tables: where they lie, and whether their format is known.
//!
//! They are read where they are, by the kernel program; nothing is copied. Where something is missing or unknown, the
//! kernel's own walk is used instead.

use std::ops::Range;

use aya::{
    Ebpf, EbpfLoader,
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use profiler_abi::{KERNEL_BLOCK_SHIFT, KERNEL_BLOCKS_A_RUN, KERNEL_BLOCKS_MAX};
use profiler_unwind::orc::Layout;
use symbols::kernel;

use super::{BpfError, Btf};

/// Bytes of a start, and of an entry.
const START_BYTES: u64 = 4;
const ENTRY_BYTES: u64 = 6;
/// No return address: what stands for a symbol that this kernel does not have.
const NO_ADDRESS: u64 = 1;

/// The last version whose entries are known to number registers as `profiler_unwind::orc` does. 7.3 numbers them in
/// another way (3 is rsp, 5 was), in bit-fields that look the same.
const NEWEST_KNOWN: (u32, u32) = (6, 18);

/// The tables of the kernel's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelRules {
    text: Range<u64>,
    starts: u64,
    entries: u64,
    count: u32,
    layout: u32,
    return_to_handler: u64,
    rethook_trampoline: u64,
}

impl KernelRules {
    /// Finds them; says why not if they cannot be used.
    pub(super) fn find(btf: &Btf) -> Result<Self, String> {
        let release = kernel::release();
        if version(&release).is_none_or(|version| version > NEWEST_KNOWN) {
            return Err(format!("the meaning of their numbers is known up to 6.18, and this is {release}"));
        }
        let layout = layout(btf).ok_or("the format of their entries is not known")?;
        let addresses = kernel::addresses_of([
            "_stext",
            "_etext",
            "__start_orc_unwind_ip",
            "__stop_orc_unwind_ip",
            "__start_orc_unwind",
            "__stop_orc_unwind",
            "return_to_handler",
            "arch_rethook_trampoline",
            // Its name before 5.19.
            "__kretprobe_trampoline",
        ])
        .map_err(|error| error.to_string())?;
        Self::from_addresses(addresses, layout)
    }

    fn from_addresses(addresses: [Option<u64>; 9], layout: Layout) -> Result<Self, String> {
        let [
            Some(text_start),
            Some(text_end),
            Some(starts),
            Some(starts_end),
            Some(entries),
            Some(entries_end),
            return_to_handler,
            rethook_trampoline,
            older_trampoline,
        ] = addresses
        else {
            return Err(
                "the kernel does not list them (no CONFIG_UNWINDER_ORC, or no right to see addresses)".into(),
            );
        };
        let bytes = starts_end.saturating_sub(starts);
        let count = bytes / START_BYTES;
        if count == 0 || entries_end.checked_sub(entries) != Some(count * ENTRY_BYTES) {
            return Err(format!("{bytes} bytes of starts do not belong to their entries"));
        }
        let rules = Self {
            text: text_start..text_end,
            starts,
            entries,
            count: u32::try_from(count).map_err(|_| format!("there are {count} entries"))?,
            layout: layout as u32,
            return_to_handler: return_to_handler.unwrap_or(NO_ADDRESS),
            rethook_trampoline: rethook_trampoline.or(older_trampoline).unwrap_or(NO_ADDRESS),
        };
        match rules.blocks() {
            0 => Err("the kernel's code has no size".into()),
            blocks if blocks > KERNEL_BLOCKS_MAX => Err(format!("the kernel's code has {blocks} blocks")),
            _ => Ok(rules),
        }
    }

    /// Blocks of the kernel's code.
    fn blocks(&self) -> u32 {
        let bytes = self.text.end.saturating_sub(self.text.start);
        u32::try_from(bytes.div_ceil(1 << KERNEL_BLOCK_SHIFT)).unwrap_or(u32::MAX)
    }

    /// Tells the program before it is loaded.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global("KERNEL_TEXT_START", &self.text.start, true)
            .override_global("KERNEL_TEXT_END", &self.text.end, true)
            .override_global("ORC_STARTS", &self.starts, true)
            .override_global("ORC_ENTRIES", &self.entries, true)
            .override_global("ORC_COUNT", &self.count, true)
            .override_global("ORC_LAYOUT", &self.layout, true)
            .override_global("RETURN_TO_HANDLER", &self.return_to_handler, true)
            .override_global("RETHOOK_TRAMPOLINE", &self.rethook_trampoline, true);
        loader.map_max_entries("KERNEL_BLOCKS", self.blocks());
    }

    /// Lets the program fill its blocks: 22 ms of one CPU for a kernel of 19 MB, in runs of 40 µs. To be called before
    /// anything is sampled, as the program's memory is the sampling program's.
    pub(super) fn fill(&self, ebpf: &mut Ebpf) -> Result<(), BpfError> {
        const PROGRAM: &str = "fill_kernel_blocks";
        let program: &mut RawTracePoint = super::program(ebpf, PROGRAM)?;
        program.load().map_err(super::program_error(PROGRAM))?;
        for first in (0..self.blocks()).step_by(KERNEL_BLOCKS_A_RUN as usize) {
            let mut options = RawTracePointRunOptions::new();
            options.args[0] = u64::from(first);
            program.test_run(options).map_err(super::program_error(PROGRAM))?;
        }
        Ok(())
    }
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The format of the entries, by the kernel's own description of them.
fn layout(btf: &Btf) -> Option<Layout> {
    let field = |member| btf.bit_field("orc_entry", member);
    if btf.offset("orc_entry", "bp_offset").ok()? != 2
        || field("sp_reg") != Some((32, 4))
        || field("bp_reg") != Some((36, 4))
    {
        return None;
    }
    match (field("type"), field("signal"), field("end")) {
        (Some((40, 3)), Some((43, 1)), None) => Some(Layout::WithSignal),
        (Some((40, 2)), None, Some((42, 1))) => Some(Layout::WithEnd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0xffff_ffff_8100_0000;

    fn addresses() -> [Option<u64>; 9] {
        let at = |offset| Some(START + offset);
        [at(0), at(0x1001), at(0x8000), at(0x8028), at(0x9000), at(0x903c), None, at(0x40), None]
    }

    #[test]
    fn tables_that_fit_together_are_taken() {
        let rules = KernelRules::from_addresses(addresses(), Layout::WithSignal).unwrap();
        assert_eq!((rules.count, rules.blocks()), (10, 9));
        assert_eq!((rules.return_to_handler, rules.rethook_trampoline), (NO_ADDRESS, START + 0x40));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |change: fn(&mut [Option<u64>; 9])| {
            let mut addresses = addresses();
            change(&mut addresses);
            KernelRules::from_addresses(addresses, Layout::WithEnd).unwrap_err()
        };
        assert!(refused(|a| a[0] = None).contains("does not list them"));
        assert!(refused(|a| a[5] = Some(START + 0x903d)).contains("do not belong"));
        assert!(refused(|a| a[3] = a[2]).contains("do not belong"));
        assert!(refused(|a| a[3] = Some(0)).contains("do not belong"));
        assert!(refused(|a| a[1] = a[0]).contains("no size"));
        assert!(refused(|a| a[1] = Some(u64::MAX)).contains("blocks"));
    }

    #[test]
    fn a_release_tells_its_version() {
        assert_eq!(version("6.18.44-custom"), Some((6, 18)));
        assert_eq!(version("6.1.0-50-amd64"), Some((6, 1)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert_eq!(version("next"), None);
        assert!(version("6.19.0").unwrap() > NEWEST_KNOWN);
    }

    #[test]
    fn this_kernels_tables_are_found() {
        let btf = Btf::read(std::path::Path::new(super::super::BTF_PATH)).unwrap();
        match KernelRules::find(&btf) {
            Ok(rules) => assert!(rules.count > 10_000, "{rules:?}"),
            Err(reason) => assert!(version(&kernel::release()).unwrap() > NEWEST_KNOWN, "{reason}"),
        }
    }
}
