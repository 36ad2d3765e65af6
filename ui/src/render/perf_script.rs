//! The text of `perf script -F comm,pid,tid,cpu,time,period,event,ip,sym,dso`, as its manual page has it: a
//! paragraph for each sample, in the order of time, its stack from the leaf to the outermost caller.

use std::io::{self, Write};

use store::model::{Frame, FrameId, FrameKind, NodeId, Profile, Row};

use super::names;
use super::threads::{Moment, moments};
use super::values::ValueType;
use crate::flame::NodeKind;

/// Writes a profile. Addresses are those of the files, not of a process. `comm` is the thread's name, or the
/// process's where the thread has none.
pub fn perf_script(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let mut order: Vec<(Moment, &Row)> = Vec::new();
    for row in &profile.rows {
        order.extend(moments(profile, row).map(|moment| (moment, row)));
    }
    order.sort_by_key(|(moment, row)| (moment.time_ms, row.key));
    let lines = Lines::new(profile);
    for (moment, row) in &order {
        let counted = profile.period_ns(row.key.series) > 0;
        // Readers count paragraphs: samples whose times were not kept get one each, at the start of their bucket.
        // What is not sampled by time, as bytes, is one with all of the value.
        let copies = if counted { moment.samples } else { 1 };
        let until = |n: u64| (i128::from(moment.value) * i128::from(n) / i128::from(copies)) as i64;
        for copy in 0..copies {
            lines.head(row, moment, until(copy + 1) - until(copy), out)?;
            lines.stack(moment.node, out)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

struct Lines<'a> {
    profile: &'a Profile,
    /// By frame: its line, but for the binary behind an inlined one.
    frames: Vec<String>,
}

impl<'a> Lines<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self { profile, frames: profile.frames.iter().map(|frame| line(profile, frame)).collect() }
    }

    fn head(&self, row: &Row, moment: &Moment, period: i64, out: &mut dyn Write) -> io::Result<()> {
        let (profile, key) = (self.profile, &row.key);
        let comm = match profile.text(key.thread) {
            "" => profile.label(key.series, "process").unwrap_or_default(),
            name => name,
        };
        let comm = match names::printable(comm) {
            empty if empty.trim().is_empty() => "[unknown]".to_owned(),
            comm => comm,
        };
        let cpu = moment.cpu.map_or(String::new(), |cpu| format!("[{cpu:03}] "));
        let (seconds, micros) = (moment.time_ms.div_euclid(1000), moment.time_ms.rem_euclid(1000) * 1000);
        let event = names::printable(ValueType::of(profile, key.series).name).replace([' ', ':'], "_");
        let event = if event == "cpu" { "cpu-clock" } else { &event };
        writeln!(
            out,
            "{comm:<16} {:>7}/{:<7} {cpu}{seconds}.{micros:06}: {period:>10} {event}: ",
            key.pid, key.tid
        )
    }

    fn stack(&self, node: NodeId, out: &mut dyn Write) -> io::Result<()> {
        for id in self.profile.stacks.leaf_to_root(node) {
            let FrameId(at) = id;
            writeln!(out, "{}", self.frames[at as usize])?;
        }
        Ok(())
    }
}

fn line(profile: &Profile, frame: &Frame) -> String {
    let name = names::printable(&names::plain(NodeKind::Frame(frame.kind), profile.text(frame.function)));
    let path = frame.binary.map(|id| names::printable(profile.text(profile.binary(id).path)));
    let place = match (frame.kind, path.as_deref()) {
        (FrameKind::Inlined, _) => "inlined",
        (FrameKind::Jit, _) => "[jit]",
        (FrameKind::Kernel, Some("[kernel]")) => "[kernel.kallsyms]",
        (_, path) => path.unwrap_or("[unknown]"),
    };
    format!("\t{:16x} {name} ({place})", frame.address)
}
