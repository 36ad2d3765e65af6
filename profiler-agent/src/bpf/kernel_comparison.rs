//! The kernel program's other use: comparing the two ways to take a kernel stack.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    programs::PerfEvent,
};
use profiler_abi::KernelComparison;
use profiler_unwind::orc::KernelEnd;

use super::{
    BTF_PATH, BpfError, Btf, KernelRules, OBJECT, attach::Attachments, map_error, program, program_error,
};

const PROGRAM: &str = "compare_kernel_stacks";
/// Room for records of 32 bytes that wait: a second of the highest frequency, on 64 CPUs.
const RING_BYTES: u32 = 16 << 20;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComparisonError {
    #[error("the kernel's unwind tables cannot be used: {0}")]
    NoRules(String),
    #[error(transparent)]
    Bpf(#[from] BpfError),
}

/// Both ways, tried on a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) rules_ns: u64,
    pub(crate) kernel_ns: u64,
    pub(crate) frames: u64,
    /// How the walk by the tables ended.
    pub(crate) end: Option<KernelEnd>,
    pub(crate) rules_first: bool,
    pub(crate) is_same: bool,
}

impl Comparison {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<KernelComparison>()] = bytes.try_into().ok()?;
        let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let (rules_ns, kernel_ns, frames, rest) = (word(0)?, word(8)?, word(16)?, word(24)?);
        Some(Self {
            rules_ns,
            kernel_ns,
            // A negative number of frames is an errno: none.
            frames: u64::try_from(frames as i64 >> 32).unwrap_or(0),
            end: KernelEnd::from_raw(rest as u8),
            rules_first: rest >> 8 & 0xff == 1,
            is_same: rest >> 16 & 0xff == 1,
        })
    }
}

/// The running comparison.
pub(crate) struct KernelComparisons {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    events: Attachments,
}

impl KernelComparisons {
    /// Starts to compare on all CPUs.
    pub(crate) fn start(frequency_hz: u64) -> Result<Self, ComparisonError> {
        let btf = Btf::read(Path::new(BTF_PATH)).map_err(BpfError::from)?;
        let rules = KernelRules::find(&btf).map_err(ComparisonError::NoRules)?;
        let mut loader = EbpfLoader::new();
        rules.set(&mut loader);
        loader.map_max_entries("SAMPLES", RING_BYTES);
        let mut ebpf = loader.load(OBJECT).map_err(|error| BpfError::Load(Box::new(error)))?;
        rules.fill(&mut ebpf)?;
        let ring = RingBuf::try_from(super::take(&mut ebpf, "SAMPLES")?).map_err(map_error("SAMPLES"))?;
        let compare: &mut PerfEvent = program(&mut ebpf, PROGRAM)?;
        compare.load().map_err(program_error(PROGRAM))?;
        let mut events = Attachments::new(frequency_hz);
        events.follow_online_cpus(compare)?;
        Ok(Self { ebpf, ring, events })
    }

    /// Takes out what has been compared so far.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Comparison)) {
        while let Some(record) = self.ring.next() {
            if let Some(comparison) = Comparison::decode(&record) {
                each(comparison);
            }
        }
    }

    /// Stops; what is in the ring stays there to be drained.
    pub(crate) fn stop(&mut self) -> Result<(), BpfError> {
        let program: &mut PerfEvent = program(&mut self.ebpf, PROGRAM)?;
        self.events.detach_all(program);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        for word in [900u64, 12_000, 5 | 6 << 32, 1 | 1 << 8 | 1 << 16] {
            bytes.extend(word.to_le_bytes());
        }
        let got = Comparison::decode(&bytes).unwrap();
        assert_eq!((got.rules_ns, got.kernel_ns, got.frames), (900, 12_000, 6));
        assert_eq!((got.end, got.rules_first, got.is_same), (Some(KernelEnd::Complete), true, true));
        bytes[20..24].copy_from_slice(&(-14i32).to_le_bytes());
        bytes[24] = 99;
        let got = Comparison::decode(&bytes).unwrap();
        assert_eq!((got.frames, got.end), (0, None));
        assert!(Comparison::decode(&bytes[1..]).is_none());
    }
}
