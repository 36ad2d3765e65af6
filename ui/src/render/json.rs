//! The flame tree as JSON (docs/api.md): columns, and what a reader must know to trust them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use store::Skipped;
use store::model::{Profile, STATUS_COMPLETE, SeriesId, StringTable};

use super::values::{CPU, ValueType};
use crate::flame::{FlameFrame, FlameTree, NodeKind, Weight};

/// The account of the samples of a flame tree.
#[derive(Debug, Serialize)]
pub(super) struct FlameFacts<'a> {
    from_ms: i64,
    until_ms: i64,
    period_ns: i64,
    unit: &'a str,
    samples: u64,
    complete: u64,
    incomplete: BTreeMap<&'a str, u64>,
    taken: u64,
    lost: BTreeMap<&'a str, u64>,
    pruned: u64,
    skipped: &'a [Skipped],
    kinds: [&'static str; 8],
}

/// A flame tree and the account of its samples.
#[derive(Debug, Serialize)]
pub struct FlameJson<'a> {
    #[serde(flatten)]
    facts: FlameFacts<'a>,
    #[serde(serialize_with = "strings")]
    strings: &'a StringTable,
    frames: Frames,
    nodes: Nodes<'a>,
}

#[derive(Debug, Default, Serialize)]
struct Frames {
    kind: Vec<u32>,
    function: Vec<u32>,
    system_name: Vec<u32>,
    file: Vec<u32>,
    line: Vec<u32>,
    binary: Vec<u32>,
    build_id: Vec<u32>,
    unwound: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Nodes<'a> {
    parent: &'a [u32],
    frame: &'a [u32],
    #[serde(rename = "self")]
    own: &'a [u64],
    total: &'a [u64],
    pruned: &'a [u64],
    /// Only where two profiles are compared.
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    before_self: &'a [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    before_total: &'a [u64],
}

impl<'a> FlameFacts<'a> {
    /// What is told about `tree`, which was built from `profile`.
    pub(super) fn new(profile: &'a Profile, tree: &FlameTree, skipped: &'a [Skipped]) -> Self {
        Self {
            from_ms: profile.start_ms,
            until_ms: profile.end_ms,
            period_ns: period_ns(profile),
            unit: Weight::of(profile).unit(profile),
            samples: profile.samples(),
            complete: profile.complete_samples(),
            incomplete: incomplete(profile),
            taken: taken(profile),
            lost: lost(profile),
            pruned: tree.pruned_samples(),
            skipped,
            kinds: NodeKind::NAMES,
        }
    }
}

impl<'a> FlameJson<'a> {
    /// What is shown of `tree`, which was built from `profile`.
    pub fn new(profile: &'a Profile, tree: &'a FlameTree, skipped: &'a [Skipped]) -> Self {
        Self {
            facts: FlameFacts::new(profile, tree, skipped),
            strings: &tree.strings,
            frames: Frames::new(&tree.frames),
            nodes: Nodes {
                parent: &tree.parent,
                frame: &tree.frame,
                own: &tree.own,
                total: &tree.total,
                pruned: &tree.pruned,
                before_self: &tree.before_own,
                before_total: &tree.before_total,
            },
        }
    }
}

impl Frames {
    fn new(frames: &[FlameFrame]) -> Self {
        let column = |cell: fn(&FlameFrame) -> u32| frames.iter().map(cell).collect();
        Self {
            kind: column(|frame| frame.kind.index() as u32),
            function: column(|frame| frame.function.0),
            system_name: column(|frame| frame.system_name.0),
            file: column(|frame| frame.file.0),
            line: column(|frame| frame.line),
            binary: column(|frame| frame.binary.0),
            build_id: column(|frame| frame.build_id.0),
            unwound: column(|frame| frame.unwound.0),
        }
    }
}

fn strings<S: Serializer>(table: &&StringTable, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(table.iter())
}

/// CPU time that one sample stands for, in nanoseconds: the mean over all samples of CPU time, which is exact as long
/// as the sampling frequency did not change.
pub fn period_ns(profile: &Profile) -> i64 {
    let of_cpu: Vec<bool> =
        (0..profile.series.len() as u32).map(|id| ValueType::of(profile, SeriesId(id)) == CPU).collect();
    let (mut samples, mut value) = (0i128, 0i128);
    for row in profile.rows.iter().filter(|row| of_cpu[row.key.series.0 as usize]) {
        samples += i128::from(row.samples);
        value += i128::from(row.value);
    }
    if samples == 0 {
        return (0..profile.series.len() as u32).map(|id| profile.period_ns(SeriesId(id))).max().unwrap_or(0);
    }
    i64::try_from((value + samples / 2) / samples).unwrap_or(i64::MAX)
}

/// Samples whose stack is not complete, by reason.
pub fn incomplete(profile: &Profile) -> BTreeMap<&str, u64> {
    let mut by_reason = BTreeMap::new();
    for row in &profile.rows {
        let status = profile.text(row.key.status);
        if status != STATUS_COMPLETE {
            *by_reason.entry(status).or_default() += row.samples;
        }
    }
    by_reason
}

/// Samples that the agents took within the profile's span, whatever was selected of them.
pub fn taken(profile: &Profile) -> u64 {
    profile.accounts.iter().filter(|a| profile.text(a.counter) == "samples_taken").map(|a| a.value).sum()
}

/// Samples that the agents lost within the profile's span, by reason.
pub fn lost(profile: &Profile) -> BTreeMap<&str, u64> {
    let mut by_reason = BTreeMap::new();
    for account in &profile.accounts {
        if let Some(reason) = profile.text(account.counter).strip_prefix("lost_") {
            *by_reason.entry(reason).or_default() += account.value;
        }
    }
    by_reason
}
