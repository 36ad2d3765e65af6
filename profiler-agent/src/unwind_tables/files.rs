//! The life of each file's table: wanted, built, placed, given up for room, wanted again when missed. What to build next
//! and what to give up is decided here, and nothing is done.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{layout::Layout, space::Part};
use crate::processes::{BinaryHandle, MappedFile};

/// How long a table is kept that no process maps: processes that come and go share their files.
const KEEP_UNUSED: Duration = Duration::from_secs(120);
/// How long a file that could not be read is left alone, at first; twice as long each time, up to `RETRY_MAX`.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(640);
/// How long a table stays at least: programs that together need more room than there is take turns of this length, instead
/// of pushing each other out all the time.
const STAY: Duration = Duration::from_secs(2);

/// A table in the maps.
pub(super) struct Placed {
    pub(super) pages: Part,
    pub(super) layout: Layout,
    pub(super) rows: u64,
    placed: Instant,
}

pub(super) enum State {
    /// To be built, when it is its turn.
    Wanted,
    /// With the builder.
    Building,
    /// In the maps.
    Ready(Placed),
    /// There is nothing to build from.
    Without,
    /// It takes too much of the budget. Stacks through it are copied and walked by naming.
    TooLarge,
    /// Reading it failed; it is tried again.
    Failed,
}

pub(super) struct File {
    pub(super) state: State,
    mapped: MappedFile,
    /// Its size, MiB: a measure of what its table costs.
    size_mib: u64,
    /// Frames in it since it has had no table.
    misses: u64,
    /// When a frame was last in it; at first when it was first mapped.
    used: Instant,
    /// When it became what it is.
    since: Instant,
    /// When it may be tried again.
    not_before: Instant,
    /// Times in a row that reading it failed.
    failures: u32,
    /// It had a table in the maps and gave it up.
    was_evicted: bool,
    /// A table was made of it and dropped, so that the next one is on the allowance.
    is_again: bool,
}

impl File {
    fn turn_to(&mut self, state: State, now: Instant) {
        (self.state, self.since) = (state, now);
    }
}

/// A bound on the CPU time that goes into building tables again that were given up: programs that need more room than there
/// is would else keep a CPU busy. Refilled steadily; overdrawn by the last build, as its cost is known only after it.
#[derive(Debug)]
struct Allowance {
    ns: i64,
    at: Instant,
}

/// CPU time for rebuilding, nanoseconds a second: a twentieth of a CPU.
const REBUILD_NS_PER_S: i64 = 50_000_000;
/// What a quiet time saves up, nanoseconds.
const REBUILD_NS_MAX: i64 = 500_000_000;

impl Allowance {
    fn is_left(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_nanos().min(3_600_000_000_000) as i64;
        self.at = now;
        self.ns = (self.ns + passed / 1_000 * REBUILD_NS_PER_S / 1_000_000).min(REBUILD_NS_MAX);
        self.ns > 0
    }
}

/// All files that sampled processes map.
pub(super) struct Files {
    files: FxHashMap<BinaryHandle, File>,
    rebuilding: Allowance,
}

impl Files {
    pub(super) fn new(now: Instant) -> Self {
        Self { files: FxHashMap::default(), rebuilding: Allowance { ns: REBUILD_NS_MAX, at: now } }
    }

    /// The file of a mapping, wanted if it was not known.
    pub(super) fn get_or_want(&mut self, binary: BinaryHandle, mapped: &MappedFile, now: Instant) -> &File {
        self.files.entry(binary).or_insert_with(|| File {
            state: State::Wanted,
            mapped: mapped.clone(),
            size_mib: mapped
                .file
                .as_ref()
                .and_then(|file| file.metadata().ok())
                .map_or(0, |meta| meta.len() >> 20),
            misses: 0,
            used: now,
            since: now,
            not_before: now,
            failures: 0,
            was_evicted: false,
            is_again: false,
        })
    }

    /// A stack went through the file.
    pub(super) fn note(&mut self, binary: BinaryHandle, now: Instant) {
        if let Some(file) = self.files.get_mut(&binary) {
            file.used = now;
            file.misses += u64::from(!matches!(file.state, State::Ready(_)));
        }
    }

    /// At most `count` files to build next, those first that are missed most for what they cost and wait longest: behind
    /// a program of 100 MiB everybody's C library would wait for a second. `has_room`: there is room
    /// to spare for files that no stack has gone through yet.
    pub(super) fn next(
        &mut self,
        count: usize,
        has_room: bool,
        now: Instant,
    ) -> Vec<(BinaryHandle, MappedFile)> {
        let may_rebuild = self.rebuilding.is_left(now);
        let mut wanted = Vec::new();
        for (binary, file) in &mut self.files {
            let may_build =
                if file.is_again { may_rebuild && file.misses > 0 } else { has_room || file.misses > 0 };
            let waits = matches!(file.state, State::Wanted | State::Failed) && now >= file.not_before;
            if waits && may_build {
                // A second of waiting counts as a miss: nobody waits for ever.
                let missed = file.misses + now.saturating_duration_since(file.since).as_secs() + 1;
                let rank = (missed << 16) / (1 + file.size_mib);
                wanted.push((Reverse(rank), *binary));
            }
        }
        wanted.sort_unstable();
        wanted.truncate(count);
        let order = |(_, binary)| {
            let file = self.files.get_mut(&binary)?;
            file.turn_to(State::Building, now);
            Some((binary, file.mapped.clone()))
        };
        wanted.into_iter().filter_map(order).collect()
    }

    /// The file's table is in the maps; building it took `cost_ns`. Whether it had one before.
    pub(super) fn placed(
        &mut self,
        binary: BinaryHandle,
        (pages, layout, rows): (Part, Layout, u64),
        cost_ns: u64,
        now: Instant,
    ) -> bool {
        let Some(file) = self.files.get_mut(&binary) else { return false };
        (file.misses, file.failures, file.used) = (0, 0, now);
        file.turn_to(State::Ready(Placed { pages, layout, rows, placed: now }), now);
        if file.is_again {
            self.rebuilding.ns -= cost_ns as i64;
        }
        file.was_evicted
    }

    /// There is nothing to build from.
    pub(super) fn without(&mut self, binary: BinaryHandle, now: Instant) {
        if let Some(file) = self.files.get_mut(&binary) {
            file.turn_to(State::Without, now);
        }
    }

    /// It takes too much of the budget; it is not tried again.
    pub(super) fn too_large(&mut self, binary: BinaryHandle, now: Instant) {
        if let Some(file) = self.files.get_mut(&binary) {
            file.turn_to(State::TooLarge, now);
        }
    }

    /// Reading it failed.
    pub(super) fn failed(&mut self, binary: BinaryHandle, now: Instant) {
        if let Some(file) = self.files.get_mut(&binary) {
            file.not_before = now + (RETRY * 2u32.pow(file.failures.min(16))).min(RETRY_MAX);
            file.failures += 1;
            file.turn_to(State::Failed, now);
        }
    }

    /// There is no room for its table now: all others have come too lately. Making it took `cost_ns`.
    pub(super) fn put_off(&mut self, binary: BinaryHandle, cost_ns: u64, now: Instant) {
        if let Some(file) = self.files.get_mut(&binary) {
            self.rebuilding.ns -= cost_ns as i64;
            file.is_again = true;
            file.not_before = now + STAY;
            file.turn_to(State::Wanted, now);
        }
    }

    /// The table to give up for another's: the one least recently used, but none that has only just come.
    pub(super) fn evict(&mut self, now: Instant) -> Option<(BinaryHandle, Placed)> {
        let old = |file: &File| matches!(&file.state, State::Ready(placed) if now.duration_since(placed.placed) >= STAY);
        let (binary, file) =
            self.files.iter_mut().filter(|(_, file)| old(file)).min_by_key(|(_, file)| file.used)?;
        (file.was_evicted, file.is_again, file.misses, file.since) = (true, true, 0, now);
        match std::mem::replace(&mut file.state, State::Wanted) {
            State::Ready(placed) => Some((*binary, placed)),
            _ => None,
        }
    }

    /// Forgets files that no process maps and that were not used lately; the tables that they had.
    pub(super) fn forget(&mut self, mapped: &FxHashSet<BinaryHandle>, now: Instant) -> Vec<Placed> {
        let stale = |binary: &BinaryHandle, file: &File| {
            !mapped.contains(binary)
                && now.saturating_duration_since(file.used) >= KEEP_UNUSED
                && !matches!(file.state, State::Building)
        };
        let gone = self.files.extract_if(|binary, file| stale(binary, file));
        gone.filter_map(|(_, file)| match file.state {
            State::Ready(placed) => Some(placed),
            _ => None,
        })
        .collect()
    }

    /// Files that stacks have gone through and whose tables are still to come.
    pub(super) fn pending(&self) -> u64 {
        let is_missed =
            |file: &&File| file.misses > 0 && matches!(file.state, State::Wanted | State::Building);
        self.files.values().filter(is_missed).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        files: Files,
        now: Instant,
    }

    impl World {
        fn new(count: u32) -> Self {
            let now = Instant::now();
            let mut files = Files::new(now);
            for number in 0..count {
                files.get_or_want(BinaryHandle(number), &MappedFile { path: "/f".into(), file: None }, now);
            }
            Self { files, now }
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn miss(&mut self, number: u32, times: u32) -> &mut Self {
            (0..times).for_each(|_| self.files.note(BinaryHandle(number), self.now));
            self
        }

        fn next(&mut self, count: usize) -> Vec<u32> {
            self.next_if(count, true)
        }

        fn next_if(&mut self, count: usize, has_room: bool) -> Vec<u32> {
            self.files.next(count, has_room, self.now).into_iter().map(|(binary, _)| binary.0).collect()
        }

        fn place(&mut self, number: u32, cost_ms: u64) -> bool {
            let what = (Part { start: number * 10, len: 10 }, Layout::default(), 1);
            self.files.placed(BinaryHandle(number), what, cost_ms * 1_000_000, self.now)
        }

        fn evict(&mut self) -> Option<u32> {
            self.files.evict(self.now).map(|(binary, _)| binary.0)
        }
    }

    #[test]
    fn the_most_missed_is_built_first_and_nobody_waits_for_ever() {
        let mut world = World::new(3);
        world.miss(1, 5).miss(2, 9);
        assert_eq!(world.next(1), [2]);
        assert_eq!(world.next(8), [1, 0], "each is handed out once");
        let mut world = World::new(1);
        world.after(60);
        world.files.get_or_want(BinaryHandle(9), &MappedFile { path: "/g".into(), file: None }, world.now);
        world.miss(9, 50);
        assert_eq!(world.next(1), [0], "a minute is more than fifty misses");
        let mut world = World::new(2);
        world.files.files.get_mut(&BinaryHandle(0)).unwrap().size_mib = 100;
        world.miss(0, 99).miss(1, 1);
        assert_eq!(world.next(1), [1], "what is small is quick");
        let mut world = World::new(2);
        world.files.files.get_mut(&BinaryHandle(0)).unwrap().size_mib = 100;
        world.miss(0, 300).miss(1, 1);
        assert_eq!(world.next(1), [0]);
    }

    #[test]
    fn what_no_stack_goes_through_is_built_only_while_there_is_room_to_spare() {
        let mut world = World::new(2);
        world.miss(1, 1);
        assert_eq!(world.next_if(8, false), [1]);
        assert_eq!(world.next_if(8, false), [0; 0]);
        assert_eq!(world.next_if(8, true), [0]);
    }

    #[test]
    fn the_least_recently_used_goes_and_comes_back_only_when_it_is_missed() {
        let mut world = World::new(3);
        assert_eq!(world.next(8).len(), 3);
        for number in 0..3 {
            assert!(!world.place(number, 10));
        }
        assert_eq!(world.evict(), None, "they have only just come");
        world.after(20).miss(0, 1).after(1).miss(2, 1);
        assert_eq!(world.evict(), Some(1));
        assert_eq!(world.next(8), [0; 0], "nobody misses it");
        world.after(3600);
        assert_eq!(world.next(8), [0; 0]);
        world.miss(1, 1);
        assert_eq!(world.next(8), [1]);
        assert!(world.place(1, 10), "it had one before");
        assert_eq!(world.evict(), Some(0));
    }

    #[test]
    fn a_working_set_beyond_the_budget_costs_a_twentieth_of_a_cpu() {
        // Room for one of two, both missed all the time, a build takes 200 ms.
        let (mut world, mut spent_ms) = (World::new(2), 0);
        let mut placed = None;
        for _ in 0..3600 * 10 {
            world.now += Duration::from_millis(100);
            world.miss(0, 1).miss(1, 1);
            for number in world.next(1) {
                if placed.is_none() || world.evict().is_some() {
                    world.place(number, 200);
                    placed = Some(number);
                } else {
                    world.files.put_off(BinaryHandle(number), 200_000_000, world.now);
                }
                spent_ms += 200;
            }
        }
        assert!(spent_ms > 3600 * 10, "they do take turns: {spent_ms} ms");
        assert!(spent_ms <= 3600 * 50 + 1000, "{spent_ms} ms in an hour");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_ever_more_rarely_but_again() {
        let mut world = World::new(1);
        let mut tries = Vec::new();
        for second in 0..7200 {
            world.after(1).miss(0, 1);
            for number in world.next(8) {
                tries.push(second);
                world.files.failed(BinaryHandle(number), world.now);
            }
        }
        assert!(tries.windows(3).all(|t| t[2] - t[1] >= t[1] - t[0]), "{tries:?}");
        assert!((12..20).contains(&tries.len()), "{tries:?}");
        assert!(tries[tries.len() - 1] - tries[tries.len() - 2] <= 640);
    }

    #[test]
    fn what_no_process_maps_is_forgotten_after_two_minutes() {
        let mut world = World::new(3);
        world.next(1);
        world.place(0, 10);
        let mapped = FxHashSet::from_iter([BinaryHandle(2)]);
        world.after(119);
        assert!(world.files.forget(&mapped, world.now).is_empty());
        world.after(1);
        let gone = world.files.forget(&mapped, world.now);
        assert_eq!(gone.iter().map(|placed| placed.pages.start).collect::<Vec<_>>(), [0]);
        assert_eq!(world.files.files.len(), 1);
    }
}
