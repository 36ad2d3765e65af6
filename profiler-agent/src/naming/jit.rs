//! Code made at run time: the same address is different code at different times, and so one stack of addresses
//! different functions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::model::Exact;
use symbols::jit::CodeName;

use crate::{
    jit::JitProcess,
    processor::unix_ms,
    window::{RawFrame, RawKey, Window},
};

/// How long a window waits for names that its processes have just written.
const SETTLE: Duration = Duration::from_millis(500);

/// Waits until all names are known that the window's samples may need.
pub(super) fn settle(window: &Window) {
    let (now, deadline) = (unix_ms(), Instant::now() + SETTLE);
    window.jit.values().for_each(|process| process.settle(now, deadline));
}

/// What the code made at run time in a stack was called.
#[derive(Default)]
pub(super) struct Made(Vec<(u64, Option<Version>)>);

/// A name, and which of all that its process's code ever had.
type Version = (u64, Arc<CodeName>);

impl Made {
    /// What tells it from the same addresses called otherwise; 0 where there is no name.
    pub(super) fn versions(&self) -> Vec<u64> {
        self.0.iter().map(|(_, version)| version.as_ref().map_or(0, |(number, _)| *number)).collect()
    }

    /// How many pieces of code have a name.
    pub(super) fn named(&self) -> usize {
        self.0.iter().filter(|(_, version)| version.is_some()).count()
    }

    /// Whether some piece of code has no name.
    pub(super) fn lacks_names(&self) -> bool {
        self.named() < self.0.len()
    }

    /// Of one frame.
    pub(super) fn version(&self, frame: &RawFrame) -> u64 {
        self.of(frame).map_or(0, |(number, _)| *number)
    }

    /// The name of a frame's code, if it has one and is made at run time.
    pub(super) fn name(&self, frame: &RawFrame) -> Option<&CodeName> {
        self.of(frame).map(|(_, name)| &**name)
    }

    fn of(&self, frame: &RawFrame) -> Option<&Version> {
        // Nearly all stacks have none.
        let address = if self.0.is_empty() { None } else { code_address(frame) };
        let address = address?;
        let at = self.0.binary_search_by_key(&address, |(made, _)| *made).ok()?;
        self.0[at].1.as_ref()
    }
}

/// Samples of one row whose frames all had the same names.
pub(super) struct Span {
    pub(super) made: Made,
    pub(super) exact: Vec<Exact>,
}

/// The samples of a row, by what the code in their stack was called at their times.
pub(super) fn spans(
    process: Option<&JitProcess>,
    key: &RawKey,
    raw: impl Iterator<Item = RawFrame>,
    mut exact: Vec<Exact>,
) -> Vec<Span> {
    let Some(process) = process else {
        return vec![Span { made: Made::default(), exact }];
    };
    let mut addresses: Vec<u64> = raw.filter_map(|frame| code_address(&frame)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    exact.sort_unstable_by_key(|exact| exact.offset_ms);
    let at = |exact: &Exact| key.bucket_ms + i64::from(exact.offset_ms);
    let (first, last) = (exact.first().map_or(0, at), exact.last().map_or(0, at));
    let names = process.names();
    let mut changes = Vec::new();
    addresses.iter().for_each(|address| names.changes(*address, first, last, &mut changes));
    changes.sort_unstable();
    changes.dedup();
    let mut spans = Vec::with_capacity(1 + changes.len());
    for change in changes.into_iter().chain([i64::MAX]) {
        let rest = exact.split_off(exact.partition_point(|exact| at(exact) < change));
        if let Some(time) = exact.first().map(at) {
            let version = |address: &u64| (*address, names.version(*address, time));
            spans.push(Span { made: Made(addresses.iter().map(version).collect()), exact });
        }
        exact = rest;
    }
    spans
}

/// Of a caller the call, which lies before the return address.
fn code_address(frame: &RawFrame) -> Option<u64> {
    match frame {
        RawFrame::Anonymous { address, method, .. } => {
            Some(address.saturating_sub(u64::from(!method.is_exact())))
        }
        _ => None,
    }
}
