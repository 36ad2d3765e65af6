//! Counting incomplete stacks by reason and by the code behind them.

use rustc_hash::FxHashMap;
use store::model::{FrameId, FrameKind, Profile, STATUS_COMPLETE, StringId};

use super::{Behind, EXAMPLES, Incomplete, Named, Others, Told, reasons};

/// Where stacks end: kind of code and path of the file. None: there is no frame.
type Place = Option<(FrameKind, StringId)>;

#[derive(Default)]
struct Sum {
    samples: u64,
    functions: FxHashMap<StringId, u64>,
    processes: FxHashMap<StringId, u64>,
}

/// The incomplete stacks by reason, with the `top` first files of each.
pub(super) fn incomplete(profile: &Profile, top: usize) -> Vec<Incomplete> {
    let behind = frames_behind(profile);
    let complete = profile.strings.find(STATUS_COMPLETE);
    let mut reasons: FxHashMap<StringId, FxHashMap<Place, Sum>> = FxHashMap::default();
    for row in &profile.rows {
        if Some(row.key.status) == complete || row.samples == 0 {
            continue;
        }
        let frame = behind[row.key.node.0 as usize].map(|id| profile.frame(id));
        let place = frame.map(|frame| {
            let path = frame.binary.map_or(StringId::EMPTY, |id| profile.binary(id).path);
            // An inlined function lies in the same file as the one around it.
            let kind = if frame.kind == FrameKind::Inlined { FrameKind::Native } else { frame.kind };
            (kind, path)
        });
        let sum = reasons.entry(row.key.status).or_default().entry(place).or_default();
        sum.samples += row.samples;
        if let Some(frame) = frame {
            *sum.functions.entry(frame.function).or_default() += row.samples;
        }
        if let Some(process) = process(profile, row.key.series) {
            *sum.processes.entry(process).or_default() += row.samples;
        }
    }
    let mut told: Vec<_> =
        reasons.into_iter().map(|(status, places)| reason(profile, status, places, top)).collect();
    told.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.reason.code.cmp(&b.reason.code)));
    told
}

/// By node: the frame whose caller is missing, if the node's stack has a mark. Of several marks the innermost counts.
fn frames_behind(profile: &Profile) -> Vec<Option<FrameId>> {
    let stacks = &profile.stacks;
    let marks = |id: FrameId| profile.frame(id).kind == FrameKind::Truncated;
    let mut behind: Vec<Option<FrameId>> = vec![None; stacks.len()];
    for node in stacks.nodes() {
        let Some(frame) = stacks.frame(node) else { continue };
        // Parents come before their children.
        let parent = stacks.parent(node);
        behind[node.0 as usize] = match stacks.frame(parent) {
            _ if marks(frame) => None,
            Some(above) if marks(above) => Some(frame),
            _ => behind[parent.0 as usize],
        };
    }
    behind
}

fn process(profile: &Profile, series: store::model::SeriesId) -> Option<StringId> {
    let label = profile.strings.find("process")?;
    profile.series(series).labels.iter().find(|(name, _)| *name == label).map(|(_, value)| *value)
}

fn reason(profile: &Profile, status: StringId, places: FxHashMap<Place, Sum>, top: usize) -> Incomplete {
    let samples = places.values().map(|sum| sum.samples).sum();
    let mut binaries: Vec<_> = places.into_iter().map(|(place, sum)| file(profile, place, &sum)).collect();
    binaries.sort_by(|a, b| {
        b.samples.cmp(&a.samples).then_with(|| (&a.binary, a.kind).cmp(&(&b.binary, b.kind)))
    });
    let left = binaries.split_off(top.min(binaries.len()));
    let other = Others { binaries: left.len(), samples: left.iter().map(|file| file.samples).sum() };
    let code = profile.text(status);
    let judged = reasons::known(code, &reasons::NOT_JUDGED).is_none();
    let reason = Told::new(code, if judged { &reasons::INCOMPLETE } else { &reasons::NOT_JUDGED });
    Incomplete { reason, samples, binaries, other }
}

fn file(profile: &Profile, place: Place, sum: &Sum) -> Behind {
    Behind {
        binary: place.map_or_else(String::new, |(_, path)| profile.text(path).to_owned()),
        kind: place.map_or("", |(kind, _)| kind.name()),
        samples: sum.samples,
        functions: most(profile, &sum.functions),
        processes: most(profile, &sum.processes),
    }
}

/// The first few by samples, then by name.
fn most(profile: &Profile, counts: &FxHashMap<StringId, u64>) -> Vec<Named> {
    let mut named: Vec<_> = counts.iter().map(|(name, samples)| (profile.text(*name), *samples)).collect();
    named.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    named.truncate(EXAMPLES);
    named.into_iter().map(|(name, samples)| Named { name: name.to_owned(), samples }).collect()
}
