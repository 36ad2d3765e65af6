//! speedscope's own file format, as <https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources>
//! and its `file-format-schema.json` have it: a profile for each thread, its stacks in the order of time.

use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use store::model::{Frame, FrameKind, NodeId, Profile, UNIT_NANOSECONDS};

use super::names;
use super::threads::{Moment, Thread, Threads};
use crate::flame::NodeKind;

/// Writes a profile. Weights are values: nanoseconds of CPU time, bytes, or a count.
pub fn speedscope(profile: &Profile, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let threads = Threads::new(profile);
    let frames = Frames::new(profile);
    let profiles = threads.all.iter().map(|thread| Sampled::new(&threads, thread, profile, &frames));
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        shared: Shared { frames: &frames.list },
        profiles: profiles.collect(),
        name: title,
        active_profile_index: 0,
        exporter: concat!("vesta@", env!("CARGO_PKG_VERSION")),
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
    name: &'a str,
    active_profile_index: usize,
    exporter: &'static str,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: &'a [Named<'a>],
}

/// A frame, which is a function there: lines do not tell frames apart.
#[derive(Serialize)]
struct Named<'a> {
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    line: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(line: &u32) -> bool {
    *line == 0
}

struct Frames<'a> {
    list: Vec<Named<'a>>,
    /// By frame of the profile: its place in `list`.
    place: Vec<u32>,
}

impl<'a> Frames<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut index = FxHashMap::default();
        let (mut list, mut place) = (Vec::<Named<'a>>::new(), Vec::with_capacity(profile.frames.len()));
        for frame in &profile.frames {
            let name = names::plain(NodeKind::Frame(frame.kind), profile.text(frame.function));
            let named = Named { name, file: file(profile, frame), line: frame.line };
            let at = *index.entry((named.name.clone(), named.file)).or_insert(list.len());
            match list.get_mut(at) {
                Some(known) => known.line = first_line(known.line, named.line),
                None => list.push(named),
            }
            place.push(at as u32);
        }
        Self { list, place }
    }
}

/// The smaller of two lines, of which 0 is unknown.
fn first_line(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

/// The source file, or else the binary. Kernel code is known by its binary.
fn file<'a>(profile: &'a Profile, frame: &Frame) -> &'a str {
    let binary = frame.binary.map_or("", |id| profile.text(profile.binary(id).path));
    match profile.text(frame.file) {
        "" => binary,
        _ if frame.kind == FrameKind::Kernel => binary,
        source => source,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    r#type: &'static str,
    name: String,
    unit: &'static str,
    start_value: i64,
    end_value: i64,
    samples: Stacks<'a>,
    weights: Vec<i64>,
}

impl<'a> Sampled<'a> {
    fn new(threads: &Threads<'_>, thread: &Thread, profile: &'a Profile, frames: &'a Frames<'a>) -> Self {
        let key = &thread.key;
        let (process, name) = (threads.process(key), threads.thread(key));
        let mut nodes: Vec<NodeId> = Vec::new();
        let mut weights: Vec<i64> = Vec::new();
        for Moment { node, value, .. } in &thread.moments {
            // Negative values have no width.
            let value = (*value).max(0);
            match weights.last_mut() {
                Some(last) if nodes.last() == Some(node) => *last = last.saturating_add(value),
                _ => {
                    nodes.push(*node);
                    weights.push(value);
                }
            }
        }
        Self {
            r#type: "sampled",
            name: format!("{process} {}, {name} {}", key.pid, key.tid),
            unit: match threads.value_type(key).unit {
                UNIT_NANOSECONDS => "nanoseconds",
                "microseconds" => "microseconds",
                "milliseconds" => "milliseconds",
                "seconds" => "seconds",
                "bytes" => "bytes",
                _ => "none",
            },
            start_value: 0,
            end_value: weights.iter().fold(0, |sum: i64, weight| sum.saturating_add(*weight)),
            samples: Stacks { profile, frames, nodes },
            weights,
        }
    }
}

/// Stacks by node, written out from the outermost caller to the leaf.
struct Stacks<'a> {
    profile: &'a Profile,
    frames: &'a Frames<'a>,
    nodes: Vec<NodeId>,
}

impl Serialize for Stacks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.nodes.len()))?;
        let mut stack: Vec<u32> = Vec::new();
        for node in &self.nodes {
            stack.clear();
            stack.extend(self.profile.stacks.leaf_to_root(*node).map(|id| self.frames.place[id.0 as usize]));
            stack.reverse();
            list.serialize_element(&stack)?;
        }
        list.end()
    }
}
