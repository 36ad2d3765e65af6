//! Building and merging profiles.

mod moved;

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::import::Import;
use super::interner::Interner;
use super::journal::Journal;
use super::row_sums::RowSums;
use super::sums::{Chains, Keep, Sum};
use super::{
    Account, Binary, BinaryId, EVENT_CPU, Exact, Frame, FrameId, LateNames, NodeId, Period, Profile, Row,
    RowKey, RowPart, Series, SeriesId, StackTreeBuilder, StringId, StringTable, UNIT_NANOSECONDS,
};
use crate::query::Offsets;

/// Whose samples were counted, beside the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) thread: String,
    pub(crate) status: String,
}

/// A profile under construction. Handles given out stay valid until [`ProfileBuilder::finish`], except node
/// handles, which `finish` renumbers into preorder.
#[derive(Clone, Default)]
pub struct ProfileBuilder {
    pub(super) strings: StringTable,
    pub(super) binaries: Interner<Binary>,
    pub(super) frames: Interner<Frame>,
    pub(super) stacks: StackTreeBuilder,
    series: Interner<Series>,
    rows: RowSums,
    exact: Chains,
    accounts: FxHashMap<(i64, StringId, StringId), u64>,
    /// What was added since it was last logged; none if nobody logs it.
    journal: Option<Journal>,
}

/// The tables of a profile under construction, each in the order of its handles.
pub(crate) struct Tables<'a> {
    pub(crate) strings: &'a StringTable,
    pub(crate) binaries: &'a [Binary],
    pub(crate) frames: &'a [Frame],
    /// (parent, frame) of each node but the root.
    pub(crate) nodes: &'a [(NodeId, FrameId)],
    pub(crate) series: &'a [Series],
}

impl ProfileBuilder {
    /// A builder of an open window, for [`crate::WindowLog`]: it keeps apart what was not logged yet.
    pub fn logged() -> Self {
        Self { journal: Some(Journal::default()), ..Self::default() }
    }

    /// Its tables.
    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables {
            strings: &self.strings,
            binaries: &self.binaries.items,
            frames: &self.frames.items,
            nodes: self.stacks.nodes(),
            series: &self.series.items,
        }
    }

    /// What was added since the last [`ProfileBuilder::clear_journal`]; none if nobody logs it.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// All that was added is logged.
    pub(crate) fn clear_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.clear();
        }
    }

    /// The text of a handle.
    pub fn text(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// The handle of a string.
    pub fn string(&mut self, text: &str) -> StringId {
        self.strings.intern(text)
    }

    /// The handle of a binary.
    pub fn binary(&mut self, binary: Binary) -> BinaryId {
        BinaryId(self.binaries.intern(binary))
    }

    /// The handle of a frame.
    pub fn frame(&mut self, frame: Frame) -> FrameId {
        FrameId(self.frames.intern(frame))
    }

    /// The handle of a label set; labels may come in any order.
    pub fn series(&mut self, mut series: Series) -> SeriesId {
        let strings = &self.strings;
        series.labels.sort_by(|a, b| strings.get(a.0).cmp(strings.get(b.0)));
        series.labels.dedup_by_key(|label| label.0);
        SeriesId(self.series.intern(series))
    }

    /// The handle of a series of CPU time, of which each sample stands for `period_ns` nanoseconds.
    pub fn cpu_series(&mut self, labels: Vec<(StringId, StringId)>, period_ns: i64) -> SeriesId {
        let unit = self.string(UNIT_NANOSECONDS);
        let period = Period { every: period_ns, event: self.string(EVENT_CPU), unit };
        self.series(Series { labels, unit, period })
    }

    /// The node of a stack that extends `parent` by one callee.
    pub fn child(&mut self, parent: NodeId, frame: FrameId) -> NodeId {
        self.stacks.child(parent, frame)
    }

    /// Adds samples of one key. `exact` has one entry per sample, or none.
    pub fn add(&mut self, key: RowKey, samples: u64, value: i64, exact: &[Exact]) {
        self.count(key, samples, value, exact.iter().copied());
    }

    fn count(
        &mut self,
        key: RowKey,
        samples: u64,
        value: i64,
        exact: impl ExactSizeIterator<Item = Exact> + Clone,
    ) {
        if let Some(journal) = &mut self.journal {
            journal.add(key, samples, value, exact.clone());
        }
        self.rows.entry(key).add(&mut self.exact, samples, value, exact);
    }

    /// Adds to a counter of a window.
    pub fn account(&mut self, time_ms: i64, host: StringId, counter: StringId, value: u64) {
        let sum = self.accounts.entry((time_ms, host, counter)).or_default();
        *sum = sum.saturating_add(value);
        if let Some(journal) = &mut self.journal {
            journal.accounts.push(Account { time_ms, host, counter, value });
        }
    }

    /// Adds the rows of `other` that pass `select`, projected by `keep`, and its accounts within
    /// `accounts_from..accounts_until` (Unix milliseconds). Strings, frames and stacks that no selected row
    /// needs are left out.
    pub fn merge(
        &mut self,
        other: &Profile,
        keep: Keep,
        accounts: Range<i64>,
        mut select: impl FnMut(&Row) -> bool,
    ) {
        let mut import = Import::new(other);
        for row in other.rows.iter().filter(|row| select(row)) {
            self.merge_part(&mut import, keep, row, &RowPart::whole(other, row));
        }
        self.merge_accounts(&mut import, &accounts);
    }

    /// Adds what of `other` lies within `range` (Unix milliseconds) and passes `select`, projected by `keep`:
    /// rows split by their exact times ([`Profile::part_within`]), accounts by their window's start.
    pub fn merge_within(
        &mut self,
        other: &Profile,
        keep: Keep,
        range: &Range<i64>,
        mut select: impl FnMut(&Row) -> bool,
    ) {
        let mut import = Import::new(other);
        for row in &other.rows {
            let part = other.part_within(row, range);
            if part.samples > 0 && select(row) {
                self.merge_part(&mut import, keep, row, &part);
            }
        }
        self.merge_accounts(&mut import, range);
    }

    /// The same of parts of seconds; rows that do not know their times are not in it.
    pub(crate) fn merge_picked(
        &mut self,
        other: &Profile,
        keep: Keep,
        range: &Range<i64>,
        picked: &Offsets,
        mut select: impl FnMut(&Row) -> bool,
    ) {
        let mut import = Import::new(other);
        for row in &other.rows {
            let (Some(first), Some(last)) = (other.exact_of(row).first(), other.exact_of(row).last()) else {
                continue;
            };
            let at = |exact: &Exact| row.key.time_ms.saturating_add(i64::from(exact.offset_ms));
            let reach = at(first).max(range.start)..(at(last) + 1).min(range.end);
            let mut parts = picked
                .stretches(reach)
                .map(|stretch| other.part_within(row, &stretch))
                .filter(|p| p.samples > 0);
            if let Some(part) = parts.next().filter(|_| select(row)) {
                for part in std::iter::once(part).chain(parts) {
                    self.merge_part(&mut import, keep, row, &part);
                }
            }
        }
        self.merge_accounts(&mut import, range);
    }

    /// Adds series of `other`, with `event` and this label as their only ones where one is given. Returns the builder's
    /// handles of them.
    pub(crate) fn add_series(
        &mut self,
        other: &Profile,
        series: impl Iterator<Item = SeriesId>,
        only_label: Option<&str>,
    ) -> Vec<SeriesId> {
        let mut import = Import::new(other);
        let label = |name: &str| other.strings.find(name).unwrap_or(StringId::EMPTY);
        import.only_labels = only_label.map(|by| [label(by), label("event")]);
        series.map(|id| import.series(self, id)).collect()
    }

    /// Adds the accounts of `other` within `range` (Unix milliseconds).
    pub(crate) fn add_accounts(&mut self, other: &Profile, range: &Range<i64>) {
        self.merge_accounts(&mut Import::new(other), range);
    }

    /// Number of stack nodes, the root included.
    pub(crate) fn nodes(&self) -> usize {
        self.stacks.len()
    }

    /// About how much memory it takes, bytes.
    pub fn bytes(&self) -> u64 {
        // A string is held once, with its length and count, and known by hash.
        let rows = self.rows.bytes();
        let stacks = self.stacks.len() * 40;
        let frames = self.frames.bytes();
        let series = self.series.bytes() + self.series.items.len() * 64;
        let strings = self.strings.bytes() + self.strings.len() * 128;
        let exact = self.exact.bytes();
        let accounts = self.accounts.capacity() * 32;
        (rows + stacks + frames + series + strings + exact + accounts) as u64
    }

    fn merge_part(&mut self, import: &mut Import<'_>, keep: Keep, row: &Row, part: &RowPart<'_>) {
        let mut key = keep.project(row.key);
        key.series = import.series(self, row.key.series);
        key.node = import.node(self, row.key.node);
        key.status = import.string(self, row.key.status);
        key.thread = import.string(self, key.thread);
        let shift = row.key.time_ms.saturating_sub(key.time_ms);
        let exact = if keep.exact && (0..=60_000).contains(&shift) { part.exact } else { &[] };
        let moved = |e: &Exact| Exact { offset_ms: e.offset_ms.saturating_add(shift as u16), cpu: e.cpu };
        self.count(key, part.samples, part.value, exact.iter().map(moved));
    }

    fn merge_accounts(&mut self, import: &mut Import<'_>, range: &Range<i64>) {
        for account in import.from.accounts.iter().filter(|account| range.contains(&account.time_ms)) {
            let host = import.string(self, account.host);
            let counter = import.string(self, account.counter);
            self.account(account.time_ms, host, counter, account.value);
        }
    }

    /// Lends its strings to tables that are made, so that none is looked up twice. [`ProfileBuilder::add_own_tables`] takes
    /// them back.
    pub(crate) fn lend_strings(&mut self) -> StringTable {
        std::mem::take(&mut self.strings)
    }

    /// Adds all series, stacks and accounts of `other`, which was lent the builder's strings, the accounts in buckets of
    /// `step_ms`, and none of its rows. Returns the builder's handles by those of `other`.
    pub(crate) fn add_own_tables(
        &mut self,
        other: &mut Profile,
        step_ms: i64,
    ) -> (Vec<SeriesId>, Vec<NodeId>) {
        self.strings = std::mem::take(&mut other.strings);
        let mut import = Import::new(other);
        import.has_own_strings = true;
        let nodes = import.stacks(self);
        (self.add_series_and_accounts(import, step_ms), nodes)
    }

    /// The same of tables with strings of their own; frames without names get those that were found late.
    pub(crate) fn add_tables_naming(
        &mut self,
        other: &Profile,
        step_ms: i64,
        late: &LateNames,
    ) -> (Vec<SeriesId>, Vec<NodeId>) {
        let mut import = Import::new(other);
        import.late = Some(late);
        // A frame can become several: node by node.
        let nodes = other.stacks.nodes().map(|node| import.node(self, node)).collect();
        (self.add_series_and_accounts(import, step_ms), nodes)
    }

    fn add_series_and_accounts(&mut self, mut import: Import<'_>, step_ms: i64) -> Vec<SeriesId> {
        let other = import.from;
        let series = (0..other.series.len() as u32).map(|id| import.series(self, SeriesId(id))).collect();
        for account in &other.accounts {
            let time_ms = account.time_ms - account.time_ms.rem_euclid(step_ms.max(1));
            let host = import.string(self, account.host);
            let counter = import.string(self, account.counter);
            self.account(time_ms, host, counter, account.value);
        }
        series
    }

    /// The finished profile, covering `start_ms..end_ms`.
    pub fn finish(self, start_ms: i64, end_ms: i64) -> Profile {
        self.finish_with_places(start_ms, end_ms).0
    }

    /// The same, with the profile's nodes by those of the builder.
    pub(crate) fn finish_with_places(self, start_ms: i64, end_ms: i64) -> (Profile, Vec<NodeId>) {
        let (stacks, place) = self.stacks.finish();
        let mut sums = self.rows.into_vec();
        sums.iter_mut().for_each(|(key, _)| key.node = place[key.node.0 as usize]);
        let (mut rows, mut exact) = (Vec::with_capacity(sums.len()), Vec::new());
        for i in order_of(&sums) {
            let (key, sum) = sums[i as usize];
            sum.into_rows(key, &self.exact, &mut exact, &mut rows);
        }
        let mut accounts: Vec<_> = self
            .accounts
            .into_iter()
            .map(|((time_ms, host, counter), value)| Account { time_ms, host, counter, value })
            .collect();
        accounts.sort_unstable();
        let profile = Profile {
            start_ms,
            end_ms,
            strings: self.strings,
            binaries: self.binaries.items,
            frames: self.frames.items,
            stacks,
            series: self.series.items,
            rows,
            exact,
            accounts,
        };
        (profile, place)
    }
}

/// Places of the sums in the order of their keys. What is sorted are the keys' first two parts as one number, which mostly tell.
fn order_of(sums: &[(RowKey, Sum)]) -> impl Iterator<Item = u32> + use<> {
    let first = |key: &RowKey| u64::from(key.series.0) << 32 | u64::from(key.node.0);
    let mut order: Vec<_> = sums.iter().enumerate().map(|(i, (key, _))| (first(key), i as u32)).collect();
    let key = |i: u32| &sums[i as usize].0;
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
    order.into_iter().map(|(_, i)| i)
}

#[cfg(test)]
mod tests {
    use super::super::{FrameKind, STATUS_COMPLETE, Unwound};
    use super::*;

    fn profile(time_ms: i64, process: &str, stacks: &[(&[&str], u64)]) -> Profile {
        let mut b = ProfileBuilder::default();
        let labels = vec![(b.string("process"), b.string(process)), (b.string("event"), b.string("cpu"))];
        let series = b.cpu_series(labels, 10);
        let status = b.string(STATUS_COMPLETE);
        for (stack, samples) in stacks {
            let mut node = NodeId::ROOT;
            for name in *stack {
                let function = b.string(name);
                let frame = b.frame(Frame {
                    kind: FrameKind::Native,
                    unwound: Unwound::FramePointer,
                    function,
                    system_name: function,
                    file: StringId::EMPTY,
                    line: 0,
                    binary: None,
                    address: 0,
                });
                node = b.child(node, frame);
            }
            let key = RowKey { series, node, pid: 7, tid: 8, thread: StringId::EMPTY, status, time_ms };
            let exact: Vec<_> = (0..*samples).map(|i| Exact { offset_ms: i as u16, cpu: 0 }).collect();
            b.add(key, *samples, *samples as i64 * 10, &exact);
        }
        b.finish(time_ms, time_ms + 1000)
    }

    fn folded(p: &Profile) -> Vec<String> {
        let mut lines: Vec<_> = p
            .rows
            .iter()
            .map(|row| {
                let mut names: Vec<_> =
                    p.stacks.leaf_to_root(row.key.node).map(|f| p.text(p.frame(f).function)).collect();
                names.reverse();
                format!("{} {} {}", p.label(row.key.series, "process").unwrap(), names.join(";"), row.samples)
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn merging_adds_equal_stacks_and_keeps_totals() {
        let a = profile(1000, "x", &[(&["main", "a"], 3), (&["main"], 1)]);
        let b = profile(2000, "x", &[(&["main", "b"], 5), (&["main", "a"], 2)]);
        let mut merged = ProfileBuilder::default();
        merged.merge(&a, Keep::STACKS, 0..0, |_| true);
        merged.merge(&b, Keep::STACKS, 0..0, |_| true);
        let merged = merged.finish(1000, 3000);
        assert_eq!(folded(&merged), ["x main 1", "x main;a 5", "x main;b 5"]);
        assert_eq!((merged.samples(), merged.complete_samples()), (11, 11));
        assert!(merged.exact.is_empty());
    }

    #[test]
    fn keeping_everything_keeps_exact_times_within_wider_buckets() {
        let a = profile(1000, "x", &[(&["main"], 2)]);
        let b = profile(4000, "x", &[(&["main"], 1)]);
        let mut merged = ProfileBuilder::default();
        let keep = Keep { bucket_ms: Some(10_000), ..Keep::ALL };
        merged.merge(&a, keep, 0..0, |_| true);
        merged.merge(&b, keep, 0..0, |_| true);
        let merged = merged.finish(0, 10_000);
        assert_eq!(merged.rows.len(), 1);
        let times: Vec<_> = merged.exact_of(&merged.rows[0]).iter().map(|e| e.offset_ms).collect();
        assert_eq!(times, [1000, 1001, 4000]);
    }

    #[test]
    fn unselected_rows_leave_nothing_behind() {
        let a = profile(1000, "x", &[(&["main", "a"], 3), (&["other"], 9)]);
        let mut merged = ProfileBuilder::default();
        merged.merge(&a, Keep::ALL, 0..0, |row| row.samples == 3);
        let merged = merged.finish(1000, 2000);
        assert_eq!(folded(&merged), ["x main;a 3"]);
        assert_eq!(merged.strings.find("other"), None);
    }
}
