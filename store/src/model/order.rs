//! The one order of a profile's tables that hangs only on what is in them.
//!
//! Series are sorted by their labels, frames by their names and places, the children of a node by their frames. So
//! the tables of two profiles are in the order of their union, too: rows sorted by handles stay sorted when handles
//! are translated to those of the union, and merging is a walk along sorted columns.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Account, Binary, BinaryId, Frame, FrameId, NodeId, Profile, Series, SeriesId, StringId};

/// The label that comes last in the order of series: the same stacks on other hosts are neighbours.
const HOST: &str = "host";

/// New handles, by old ones.
#[derive(Debug)]
pub(crate) struct Moves {
    pub(crate) series: Vec<SeriesId>,
    pub(crate) nodes: Vec<NodeId>,
}

impl Profile {
    /// Puts binaries, frames, stacks, series and accounts in order. Rows keep their old handles; the caller translates them.
    pub(crate) fn put_tables_in_order(&mut self) -> Moves {
        let binaries =
            order(self.binaries.len(), |a, b| self.order_of_binaries(&self.binaries[a], &self.binaries[b]));
        self.binaries = binaries.iter().map(|old| self.binaries[*old]).collect();
        let moved = moves(&binaries, BinaryId);
        for frame in &mut self.frames {
            frame.binary = frame.binary.map(|binary| moved[binary.0 as usize]);
        }

        let frames = self.frames_in_order();
        self.frames = frames.iter().map(|old| self.frames[*old]).collect();
        let (stacks, nodes) = self.stacks.reordered(&moves(&frames, FrameId));
        self.stacks = stacks;

        let series = order(self.series.len(), |a, b| self.order_of_series(&self.series[a], &self.series[b]));
        self.series = series.iter().map(|old| self.series[*old].clone()).collect();
        self.put_accounts_in_order();
        Moves { series: moves(&series, SeriesId), nodes }
    }

    /// The places of all frames in their order, by name first: a list of names compresses best when it is sorted. What is
    /// sorted has the names, so that they need not be
    /// looked up with each comparison.
    fn frames_in_order(&self) -> Vec<usize> {
        let frames = self.frames.iter().enumerate();
        let mut order: Vec<_> =
            frames.map(|(i, frame)| (self.text(frame.function), frame.function, i as u32)).collect();
        let frame = |i: u32| &self.frames[i as usize];
        order.sort_by(|a, b| {
            let names = if a.1 == b.1 { Ordering::Equal } else { a.0.cmp(b.0) };
            names.then_with(|| self.order_of_frames(frame(a.2), frame(b.2)))
        });
        order.into_iter().map(|(.., i)| i as usize).collect()
    }

    fn put_accounts_in_order(&mut self) {
        let strings = &self.strings;
        let texts = |account: &Account| [strings.get(account.host), strings.get(account.counter)];
        let order =
            |a: &Account, b: &Account| (a.time_ms, texts(a), a.value).cmp(&(b.time_ms, texts(b), b.value));
        self.accounts.sort_by(order);
    }

    /// Adds up accounts in buckets of `step_ms` milliseconds, and puts them in order.
    pub(crate) fn coarsen_accounts(&mut self, step_ms: i64) {
        let mut sums: BTreeMap<(i64, StringId, StringId), u64> = BTreeMap::new();
        for account in &self.accounts {
            let time_ms = account.time_ms - account.time_ms.rem_euclid(step_ms.max(1));
            let sum = sums.entry((time_ms, account.host, account.counter)).or_default();
            *sum = sum.saturating_add(account.value);
        }
        let account = |((time_ms, host, counter), value)| Account { time_ms, host, counter, value };
        self.accounts = sums.into_iter().map(account).collect();
        self.put_accounts_in_order();
    }

    /// For each series the number of its group: series that differ in their host only. Groups follow each other
    /// if the series are in order.
    pub(crate) fn groups_of_series(&self) -> Vec<u32> {
        let mut group = 0;
        let mut groups = Vec::with_capacity(self.series.len());
        for (i, series) in self.series.iter().enumerate() {
            let is_same = i > 0 && self.order_of_groups(&self.series[i - 1], series) == Ordering::Equal;
            group += u32::from(i > 0 && !is_same);
            groups.push(group);
        }
        groups
    }

    /// For each series the first one of its group.
    pub(crate) fn firsts_of_series(&self) -> Vec<SeriesId> {
        let groups = self.groups_of_series();
        let mut firsts: Vec<SeriesId> = Vec::with_capacity(groups.len());
        for (series, group) in groups.iter().enumerate() {
            let is_same = series > 0 && groups[series - 1] == *group;
            firsts.push(if is_same { firsts[series - 1] } else { SeriesId(series as u32) });
        }
        firsts
    }

    /// Whether some series differ in their host only.
    pub(crate) fn has_groups_of_series(&self) -> bool {
        self.groups_of_series().last().is_some_and(|last| *last as usize + 1 < self.series.len())
    }

    fn order_of_binaries(&self, a: &Binary, b: &Binary) -> Ordering {
        let texts = |binary: &Binary| [self.text(binary.path), self.text(binary.build_id)];
        texts(a).cmp(&texts(b))
    }

    /// The order of frames of the same function.
    fn order_of_frames(&self, a: &Frame, b: &Frame) -> Ordering {
        let same = |frame: &Frame| (frame.binary, frame.address, frame.line, frame.kind, frame.unwound);
        let text = |a, b| if a == b { Ordering::Equal } else { self.text(a).cmp(self.text(b)) };
        text(a.system_name, b.system_name)
            .then_with(|| text(a.file, b.file))
            .then_with(|| same(a).cmp(&same(b)))
    }

    fn order_of_series(&self, a: &Series, b: &Series) -> Ordering {
        self.order_of_groups(a, b).then_with(|| self.host(a).cmp(&self.host(b)))
    }

    fn order_of_groups(&self, a: &Series, b: &Series) -> Ordering {
        let labels = |series: &'_ Series| {
            let texts = series.labels.iter().map(|(name, value)| (self.text(*name), self.text(*value)));
            texts.filter(|(name, _)| *name != HOST).collect::<Vec<_>>()
        };
        let period = |series: &'_ Series| {
            let period = series.period;
            (self.text(series.unit), period.every, self.text(period.event), self.text(period.unit))
        };
        labels(a).cmp(&labels(b)).then_with(|| period(a).cmp(&period(b)))
    }

    fn host(&self, series: &Series) -> Option<&str> {
        let host = series.labels.iter().find(|(name, _)| self.text(*name) == HOST);
        host.map(|(_, value)| self.text(*value))
    }
}

/// The places 0..n in order.
fn order(n: usize, compare: impl Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

/// By old place the new one, from the old ones in their new order.
fn moves<T: Copy>(order: &[usize], handle: impl Fn(u32) -> T) -> Vec<T> {
    let mut moves = vec![handle(0); order.len()];
    for (new, old) in order.iter().enumerate() {
        moves[*old] = handle(new as u32);
    }
    moves
}
