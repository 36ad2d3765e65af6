//! Taking over parts of one profile into another.

use super::{
    Binary, BinaryId, Frame, FrameId, FrameKind, LateName, LateNames, NodeId, Period, Profile,
    ProfileBuilder, Series, SeriesId, StringId, Unwound,
};

/// Handles of one profile translated to those of a builder, each on first use.
pub(super) struct Import<'a> {
    pub(super) from: &'a Profile,
    strings: Vec<Option<StringId>>,
    binaries: Vec<Option<BinaryId>>,
    frames: Vec<Option<FrameId>>,
    nodes: Vec<Option<NodeId>>,
    series: Vec<Option<SeriesId>>,
    /// The only labels that series keep; none keeps all.
    pub(super) only_labels: Option<[StringId; 2]>,
    /// Its strings are the builder's.
    pub(super) has_own_strings: bool,
    /// Names for frames that have none.
    pub(super) late: Option<&'a LateNames>,
}

impl<'a> Import<'a> {
    pub(super) fn new(from: &'a Profile) -> Self {
        Self {
            from,
            strings: vec![None; from.strings.len()],
            binaries: vec![None; from.binaries.len()],
            frames: vec![None; from.frames.len()],
            nodes: vec![None; from.stacks.len()],
            series: vec![None; from.series.len()],
            only_labels: None,
            has_own_strings: false,
            late: None,
        }
    }

    pub(super) fn string(&mut self, to: &mut ProfileBuilder, id: StringId) -> StringId {
        if self.has_own_strings {
            return id;
        }
        *self.strings[id.0 as usize].get_or_insert_with(|| to.string(self.from.text(id)))
    }

    fn binary(&mut self, to: &mut ProfileBuilder, id: BinaryId) -> BinaryId {
        if let Some(known) = self.binaries[id.0 as usize] {
            return known;
        }
        let Binary { path, build_id } = *self.from.binary(id);
        let binary = Binary { path: self.string(to, path), build_id: self.string(to, build_id) };
        *self.binaries[id.0 as usize].insert(to.binary(binary))
    }

    fn frame(&mut self, to: &mut ProfileBuilder, id: FrameId) -> FrameId {
        if let Some(known) = self.frames[id.0 as usize] {
            return known;
        }
        let frame = self.translated(to, id);
        *self.frames[id.0 as usize].insert(to.frame(frame))
    }

    /// A frame as the builder has it.
    fn translated(&mut self, to: &mut ProfileBuilder, id: FrameId) -> Frame {
        let frame = *self.from.frame(id);
        Frame {
            function: self.string(to, frame.function),
            system_name: self.string(to, frame.system_name),
            file: self.string(to, frame.file),
            binary: frame.binary.map(|binary| self.binary(to, binary)),
            ..frame
        }
    }

    pub(super) fn node(&mut self, to: &mut ProfileBuilder, id: NodeId) -> NodeId {
        // Up to the first ancestor that is known, then down again; no recursion, stacks can be deep.
        let mut missing = Vec::new();
        let mut at = id;
        let mut node = loop {
            if let Some(known) = self.nodes[at.0 as usize] {
                break known;
            }
            let Some(frame) = self.from.stacks.frame(at) else { break NodeId::ROOT };
            missing.push((at, frame));
            at = self.from.stacks.parent(at);
        };
        for (at, frame) in missing.into_iter().rev() {
            node = match self.late.and_then(|late| late.of(self.from, self.from.frame(frame))) {
                Some(names) => self.late_node(to, node, frame, names),
                None => {
                    let frame = self.frame(to, frame);
                    to.child(node, frame)
                }
            };
            self.nodes[at.0 as usize] = Some(node);
        }
        node
    }

    /// All stacks, and the builder's nodes by those of the profile.
    pub(super) fn stacks(&mut self, to: &mut ProfileBuilder) -> Vec<NodeId> {
        let tree = &self.from.stacks;
        let mut is_used = vec![false; self.from.frames.len()];
        tree.nodes().filter_map(|node| tree.frame(node)).for_each(|frame| is_used[frame.0 as usize] = true);
        let used = (0..is_used.len()).filter(|id| is_used[*id]);
        let translated = used.clone().map(|id| self.translated(to, FrameId(id as u32))).collect();
        let mut frames = vec![FrameId(0); is_used.len()];
        for (id, handle) in used.zip(to.frames.intern_all(translated)) {
            frames[id] = FrameId(handle);
        }
        to.stacks.add_tree(tree, &frames)
    }

    /// The node of a frame that got names: that of the innermost function, below those it is inlined into.
    fn late_node(
        &mut self,
        to: &mut ProfileBuilder,
        parent: NodeId,
        frame: FrameId,
        names: &[LateName],
    ) -> NodeId {
        let frame = *self.from.frame(frame);
        let binary = frame.binary.map(|binary| self.binary(to, binary));
        names.iter().rev().fold(parent, |node, name| {
            let frame = Frame {
                kind: if name.inlined { FrameKind::Inlined } else { frame.kind },
                unwound: if name.inlined { Unwound::Synthetic } else { frame.unwound },
                function: to.string(&name.function),
                system_name: to.string(&name.system_name),
                file: to.string(&name.file),
                line: name.line,
                binary,
                address: frame.address,
            };
            let frame = to.frame(frame);
            to.child(node, frame)
        })
    }

    pub(super) fn series(&mut self, to: &mut ProfileBuilder, id: SeriesId) -> SeriesId {
        if let Some(known) = self.series[id.0 as usize] {
            return known;
        }
        let from = self.from.series(id);
        let labels = from
            .labels
            .iter()
            .filter(|(name, _)| self.only_labels.is_none_or(|only| only.contains(name)))
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(name, value)| (self.string(to, name), self.string(to, value)))
            .collect();
        let period = Period {
            every: from.period.every,
            event: self.string(to, from.period.event),
            unit: self.string(to, from.period.unit),
        };
        let unit = self.string(to, from.unit);
        let series = to.series(Series { labels, unit, period });
        *self.series[id.0 as usize].insert(series)
    }
}
