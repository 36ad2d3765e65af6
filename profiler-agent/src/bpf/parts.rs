//! What the parts of the sampling program take.

use aya::{
    Ebpf, Pod,
    maps::{MapData, PerCpuArray},
};
use profiler_abi::{Part, PartCost};
use serde::Serialize;

use super::{BpfError, map_error, take};

/// [`PartCost`] as the map has it: nanoseconds, runs, frames.
type Raw = [u64; 3];

/// The map they are counted in.
pub(crate) struct PartCosts(PerCpuArray<MapData, Raw>);

/// One part, all CPUs together.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PartSummary {
    pub(crate) part: &'static str,
    /// Times it was gone through.
    pub(crate) runs: u64,
    /// Nanoseconds a time.
    pub(crate) ns_per_run: u64,
    /// Frames a time; 0 for the parts that find none.
    pub(crate) frames_per_run: f64,
}

impl PartCosts {
    pub(super) fn take_from(ebpf: &mut Ebpf, measured: bool) -> Result<Option<Self>, BpfError> {
        const { assert!(size_of::<Raw>() == size_of::<PartCost>()) };
        const fn is_pod<T: Pod>() {}
        is_pod::<Raw>();
        if !measured {
            return Ok(None);
        }
        let map = PerCpuArray::try_from(take(ebpf, "PART_COSTS")?).map_err(map_error("PART_COSTS"))?;
        Ok(Some(Self(map)))
    }

    /// The sums so far, of the parts that were gone through.
    pub(crate) fn read(&self) -> Result<Vec<PartSummary>, BpfError> {
        let mut summaries = Vec::new();
        for part in Part::ALL {
            let by_cpu = self.0.get(&(part as u32), 0).map_err(map_error("PART_COSTS"))?;
            let [ns, runs, frames] =
                by_cpu.iter().fold([0; 3], |sum: Raw, cpu| std::array::from_fn(|i| sum[i] + cpu[i]));
            if runs > 0 {
                let frames_per_run = frames as f64 / runs as f64;
                summaries.push(PartSummary { part: name(part), runs, ns_per_run: ns / runs, frames_per_run });
            }
        }
        Ok(summaries)
    }
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Identity => "identity",
        Part::KernelStack => "kernel_stack",
        Part::UserStack => "user_stack",
        Part::Output => "output",
        Part::StackCopy => "stack_copy",
    }
}
