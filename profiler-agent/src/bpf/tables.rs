//! The maps of unwind tables, as the agent writes them. Who may be reading, and when, is the caller's business
//! (`unwind_tables`).

use std::{array, collections::hash_map::Entry};

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, MapData},
};
use profiler_abi::{
    CodeMapping, KEPT_RULES, MAPPINGS_MAX, PAGE_WORDS, PROCESS_SETS, ProcessTables, SET_PROCESSES,
    SLAB_PAGES, SLAB_WORDS, SLABS_MAX,
};
use rustc_hash::FxHashMap;

use super::{BpfError, map_error, take};

type Page = [u64; PAGE_WORDS];
type Slab = Array<MapData, Page>;
type ProcessSet = [ProcessTables; SET_PROCESSES];
/// Words of a set.
const SET_WORDS: usize = size_of::<ProcessSet>() / 8;

/// The maps.
pub(crate) struct TableMaps {
    slabs: Vec<Slab>,
    outer: ArrayOfMaps<MapData, Slab>,
    starts: Array<MapData, u64>,
    mappings: Array<MapData, [u64; 3]>,
    processes: Array<MapData, [u64; SET_WORDS]>,
    /// The sets that are not empty.
    sets: FxHashMap<u32, ProcessSet>,
    kept_rules: Array<MapData, [u64; KEPT_RULES]>,
}

impl TableMaps {
    pub(super) fn take_from(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self {
            slabs: Vec::new(),
            outer: ArrayOfMaps::try_from(take(ebpf, "SLABS")?).map_err(map_error("SLABS"))?,
            starts: Array::try_from(take(ebpf, "STARTS")?).map_err(map_error("STARTS"))?,
            mappings: Array::try_from(take(ebpf, "MAPPINGS")?).map_err(map_error("MAPPINGS"))?,
            processes: Array::try_from(take(ebpf, "PROCESSES")?).map_err(map_error("PROCESSES"))?,
            sets: FxHashMap::default(),
            kept_rules: Array::try_from(take(ebpf, "RULES")?).map_err(map_error("RULES"))?,
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

    /// Returns when every run of the kernel program has ended that began before. The kernel waits for them whenever an
    /// element of an array of maps is set (`maybe_wait_bpf_programs`, since 4.20); here one is set to what it is.
    pub(crate) fn wait_for_readers(&mut self) -> Result<(), BpfError> {
        self.make_slabs(1)?;
        self.slabs.first().map_or(Ok(()), |slab| self.outer.set(0, slab, 0).map_err(map_error("SLABS")))
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

    /// Makes a process's mappings visible to the kernel program, in place of what it saw before. False if there is no
    /// room for it: see [`SET_PROCESSES`].
    pub(crate) fn publish(&mut self, tables: ProcessTables) -> Result<bool, BpfError> {
        let number = tables.pid % PROCESS_SETS;
        let mut set = self.sets.get(&number).copied().unwrap_or_default();
        let Some(at) = place_of(&set, tables.pid) else { return Ok(false) };
        if set[at].pid != 0 {
            set[at].pid = 0;
            self.write_set(number, set)?;
        }
        set[at] = ProcessTables { pid: 0, ..tables };
        self.write_set(number, set)?;
        set[at] = tables;
        self.write_set(number, set)?;
        Ok(true)
    }

    /// Takes a process's mappings back; it need not have any.
    pub(crate) fn withdraw(&mut self, pid: u32) {
        let number = pid % PROCESS_SETS;
        let Some(mut set) = self.sets.get(&number).copied() else { return };
        let Some(entry) = set.iter_mut().find(|entry| entry.pid == pid) else { return };
        *entry = ProcessTables::default();
        if let Err(error) = self.write_set(number, set) {
            tracing::warn!(pid, %error, "the unwind tables of a process cannot be taken back");
        }
    }

    fn write_set(&mut self, number: u32, set: ProcessSet) -> Result<(), BpfError> {
        let mut words = [0; SET_WORDS];
        for (to, word) in words.iter_mut().zip(set.iter().flat_map(|entry| entry.to_words())) {
            *to = word;
        }
        self.processes.set(number, words, 0).map_err(map_error("PROCESSES"))?;
        match self.sets.entry(number) {
            Entry::Occupied(kept) if set.iter().all(|entry| entry.pid == 0) => drop(kept.remove()),
            kept => drop(kept.insert_entry(set)),
        }
        Ok(())
    }

    /// Makes the kernel program forget the rules that it keeps beside their places: before words get another meaning.
    pub(crate) fn forget_kept_rules(&mut self) -> Result<(), BpfError> {
        self.kept_rules.set(0, [0; KEPT_RULES], 0).map_err(map_error("RULES"))
    }

    /// Bytes of all maps of tables, as they lie in the kernel.
    pub(crate) fn bytes(&self) -> u64 {
        let fixed = (8 + size_of::<CodeMapping>() as u64) * u64::from(MAPPINGS_MAX)
            + size_of::<ProcessSet>() as u64 * u64::from(PROCESS_SETS)
            + 8 * KEPT_RULES as u64;
        self.slabs.len() as u64 * u64::from(SLAB_WORDS) * 8 + fixed
    }
}

/// Where a process's entry is in its set, or can be.
fn place_of(set: &ProcessSet, pid: u32) -> Option<usize> {
    let with = |pid| set.iter().position(|entry| entry.pid == pid);
    with(pid).or_else(|| with(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_place_in_its_set_until_the_set_is_full() {
        let of = |pid| ProcessTables { pid, ..ProcessTables::default() };
        let mut set = ProcessSet::default();
        for (at, pid) in [5, 4101, 8197, 12293].into_iter().enumerate() {
            assert_eq!(place_of(&set, pid), Some(at));
            set[at] = of(pid);
            assert_eq!(place_of(&set, pid), Some(at));
        }
        assert_eq!(place_of(&set, 16389), None);
        set[1] = of(0);
        assert_eq!(place_of(&set, 16389), Some(1));
        assert_eq!(place_of(&set, 12293), Some(3));
    }
}
