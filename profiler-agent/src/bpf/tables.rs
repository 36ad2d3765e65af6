//! The maps of unwind tables, as the agent writes them. Who may be reading, and when, is the caller's business
//! (`unwind_tables`).

use std::array;

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, HashMap, MapData},
};
use profiler_abi::{CodeMapping, PAGE_WORDS, ProcessTables, SLAB_PAGES, SLAB_WORDS, SLABS_MAX};

use super::{BpfError, map_error, take};

type Page = [u64; PAGE_WORDS];
type Slab = Array<MapData, Page>;

/// The maps.
pub(crate) struct TableMaps {
    slabs: Vec<Slab>,
    outer: ArrayOfMaps<MapData, Slab>,
    starts: Array<MapData, u64>,
    mappings: Array<MapData, [u64; 3]>,
    processes: HashMap<MapData, u32, [u64; 3]>,
}

impl TableMaps {
    pub(super) fn take_from(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            slabs: Vec::new(),
            outer: ArrayOfMaps::try_from(take(ebpf, "SLABS")?).map_err(map_error("SLABS"))?,
            starts: Array::try_from(take(ebpf, "STARTS")?).map_err(map_error("STARTS"))?,
            mappings: Array::try_from(take(ebpf, "MAPPINGS")?).map_err(map_error("MAPPINGS"))?,
            processes: HashMap::try_from(take(ebpf, "PROCESSES")?).map_err(map_error("PROCESSES"))?,
        })
    }

    /// Writes words from number `at` on; slabs are made as needed. Whole pages only: `at` is a multiple of
    /// [`PAGE_WORDS`], and what is left of the last page becomes zero.
    pub(crate) fn write_words(&mut self, at: u32, words: impl Iterator<Item = u64>) -> Result<(), BpfError> {
        debug_assert_eq!(at as usize % PAGE_WORDS, 0);
        let mut words = words.peekable();
        for number in at as usize / PAGE_WORDS.. {
            if words.peek().is_none() {
                break;
            }
            let page: Page = array::from_fn(|_| words.next().unwrap_or(0));
            let slab = number / SLAB_PAGES;
            self.make_slabs(slab + 1)?;
            self.slabs[slab].set((number % SLAB_PAGES) as u32, page, 0).map_err(map_error("SLABS"))?;
        }
        Ok(())
    }

    fn make_slabs(&mut self, wanted: usize) -> Result<(), BpfError> {
        while self.slabs.len() < wanted.min(SLABS_MAX) {
            let slab = Slab::create(SLAB_PAGES as u32, 0).map_err(map_error("SLABS"))?;
            self.outer.set(self.slabs.len() as u32, &slab, 0).map_err(map_error("SLABS"))?;
            self.slabs.push(slab);
        }
        Ok(())
    }

    /// Writes code mappings from number `at` on.
    pub(crate) fn write_mappings(
        &mut self,
        at: u32,
        mappings: &[(u64, CodeMapping)],
    ) -> Result<(), BpfError> {
        for (number, (start, mapping)) in (at..).zip(mappings) {
            self.starts.set(number, start, 0).map_err(map_error("STARTS"))?;
            self.mappings.set(number, mapping.to_words(), 0).map_err(map_error("MAPPINGS"))?;
        }
        Ok(())
    }

    /// Makes a process's mappings visible to the kernel program, in place of what it saw before.
    pub(crate) fn publish(&mut self, pid: u32, tables: ProcessTables) -> Result<(), BpfError> {
        self.processes.insert(pid, tables.to_words(), 0).map_err(map_error("PROCESSES"))
    }

    /// Takes a process's mappings back; it need not have any.
    pub(crate) fn withdraw(&mut self, pid: u32) {
        // The only error is that there is none.
        let _ = self.processes.remove(&pid);
    }

    /// Bytes of all maps of tables, as they lie in the kernel.
    pub(crate) fn bytes(&self) -> u64 {
        use profiler_abi::{MAPPINGS_MAX, PROCESSES_MAX};
        let fixed = (8 + size_of::<CodeMapping>() as u64) * u64::from(MAPPINGS_MAX)
            + (16 + size_of::<ProcessTables>() as u64) * u64::from(PROCESSES_MAX);
        self.slabs.len() as u64 * u64::from(SLAB_WORDS) * 8 + fixed
    }
}
