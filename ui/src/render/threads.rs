//! Samples one by one, by thread and in the order of their times, for formats that show threads over time.

use rustc_hash::FxHashMap;
use store::model::{NodeId, Profile, Row, SeriesId, StringId};

use super::values::ValueType;

/// Samples of one moment with one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Unix milliseconds; the start of the row's bucket where times were not kept.
    pub(super) time_ms: i64,
    /// On which CPU, where that was kept.
    pub(super) cpu: Option<u16>,
    pub(super) node: NodeId,
    pub(super) samples: u64,
    pub(super) value: i64,
}

/// The samples of a row: each by itself where exact times were kept, else all at once. The row's value is
/// shared equally, without a remainder.
pub(super) fn moments<'a>(profile: &'a Profile, row: &'a Row) -> impl Iterator<Item = Moment> + 'a {
    let exact = profile.exact_of(row);
    let exact = if exact.len() as u64 == row.samples { exact } else { &[] };
    let (time_ms, node) = (row.key.time_ms, row.key.node);
    let rest = exact.is_empty() && row.samples > 0;
    let whole = Moment { time_ms, cpu: None, node, samples: row.samples, value: row.value };
    let until = move |n: usize| (i128::from(row.value) * n as i128).div_euclid(exact.len() as i128) as i64;
    let each = exact.iter().enumerate().map(move |(i, e)| Moment {
        time_ms: time_ms.saturating_add(i64::from(e.offset_ms)),
        cpu: Some(e.cpu),
        node,
        samples: 1,
        value: until(i + 1) - until(i),
    });
    each.chain(rest.then_some(whole))
}

/// Who was sampled, and what its samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ThreadKey {
    host: StringId,
    process: StringId,
    pub(super) pid: u32,
    pub(super) tid: u32,
    thread: StringId,
    /// One of the thread's series: they have one event and unit.
    pub(super) series: SeriesId,
}

/// A thread with its samples in the order of their times.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) key: ThreadKey,
    pub(super) moments: Vec<Moment>,
}

/// The threads of a profile, those with most samples first.
pub(super) struct Threads<'a> {
    profile: &'a Profile,
    pub(super) all: Vec<Thread>,
    several_hosts: bool,
    several_events: bool,
}

impl<'a> Threads<'a> {
    /// The threads of a profile. A thread comes once for each event that was sampled.
    pub(super) fn new(profile: &'a Profile) -> Self {
        let ids: Vec<SeriesId> = (0..profile.series.len() as u32).map(SeriesId).collect();
        let text = |id: SeriesId, name: &str| profile.label(id, name).unwrap_or_default();
        let id = |id, name| profile.strings.find(text(id, name)).unwrap_or_default();
        // Series that differ in other labels only are one thread's.
        let mut first_of = FxHashMap::default();
        let keys: Vec<ThreadKey> = ids
            .iter()
            .map(|series| {
                let key = (id(*series, "host"), id(*series, "process"), ValueType::of(profile, *series));
                let series = *first_of.entry(key).or_insert(*series);
                ThreadKey { host: key.0, process: key.1, pid: 0, tid: 0, thread: StringId::EMPTY, series }
            })
            .collect();
        let mut threads: FxHashMap<ThreadKey, Vec<Moment>> = FxHashMap::default();
        for row in &profile.rows {
            let (pid, tid, thread) = (row.key.pid, row.key.tid, row.key.thread);
            let key = ThreadKey { pid, tid, thread, ..keys[row.key.series.0 as usize] };
            threads.entry(key).or_default().extend(moments(profile, row));
        }
        let mut all: Vec<Thread> =
            threads.into_iter().map(|(key, moments)| Thread { key, moments }).collect();
        for thread in &mut all {
            thread.moments.sort_by_key(|moment| (moment.time_ms, moment.node));
        }
        all.sort_by_cached_key(|thread| (std::cmp::Reverse(thread.samples()), thread.key));
        let differ =
            |of: &dyn Fn(&ThreadKey) -> StringId| all.iter().any(|thread| of(&thread.key) != of(&all[0].key));
        let several_hosts = differ(&|key| key.host);
        let several_events = all.iter().any(|thread| {
            ValueType::of(profile, thread.key.series) != ValueType::of(profile, all[0].key.series)
        });
        Self { profile, all, several_hosts, several_events }
    }

    /// The process, with its host where there are several; for kernel threads and the like the thread's name.
    pub(super) fn process(&self, key: &ThreadKey) -> String {
        let name = if key.process == StringId::EMPTY { key.thread } else { key.process };
        let name = match self.profile.text(name) {
            "" => "[unknown]",
            name => name,
        };
        if self.several_hosts { format!("{} {name}", self.profile.text(key.host)) } else { name.to_owned() }
    }

    /// The thread, with what is counted where that differs.
    pub(super) fn thread(&self, key: &ThreadKey) -> String {
        let name = match self.profile.text(key.thread) {
            "" => self.process(key),
            name => name.to_owned(),
        };
        match self.several_events {
            true => format!("{name} ({})", self.value_type(key).name),
            false => name,
        }
    }

    /// What tells the process from others: its id, with its host where there are several.
    pub(super) fn process_id(&self, key: &ThreadKey) -> String {
        if self.several_hosts {
            format!("{}@{}", key.pid, self.profile.text(key.host))
        } else {
            key.pid.to_string()
        }
    }

    /// What the thread's values are.
    pub(super) fn value_type(&self, key: &ThreadKey) -> ValueType<'a> {
        ValueType::of(self.profile, key.series)
    }
}

impl Thread {
    /// Its samples.
    pub(super) fn samples(&self) -> u64 {
        self.moments.iter().fold(0, |sum, moment| sum.saturating_add(moment.samples))
    }
}
