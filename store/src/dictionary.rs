//! One tree of the stacks of all segments that queries have read: what each segment's nodes are in it is found out once.
//! Then counts of many segments are added up by place, without looking at names or paths again.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;
use ulid::Ulid;

use crate::cache::{DICTIONARY_BYTES, size_of_profile};
use crate::model::{Functions, NodeId, Preorder, Profile, ProfileBuilder};

/// What is known of a segment.
pub(crate) struct Known {
    /// Its series and accounts, without stacks.
    pub(crate) series: Arc<Profile>,
    /// The place of each of its nodes in the tree of all.
    pub(crate) places: Places,
}

/// Places of nodes, by runs of nodes that follow each other there, too: trees are in the same order everywhere, so that
/// there are a few nodes in a run at least, and thousands where two segments have the same stacks.
#[derive(Default)]
pub(crate) struct Places {
    nodes: usize,
    /// The first node of each run, and its place.
    runs: Vec<(u32, u32)>,
}

impl Places {
    pub(crate) fn new(places: impl Iterator<Item = NodeId>) -> Self {
        let (mut nodes, mut runs) = (0, Vec::new());
        let mut next = None;
        for NodeId(place) in places {
            if next != Some(place) {
                runs.push((nodes as u32, place));
            }
            next = Some(place + 1);
            nodes += 1;
        }
        runs.shrink_to_fit();
        Self { nodes, runs }
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.nodes
    }

    /// The places of all nodes, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut hint = 0;
        (0..self.nodes as u32).map(move |node| NodeId(self.get(node, &mut hint)))
    }

    /// The place of a node, which there must be. `hint` is where the last one was found: nodes mostly come in order.
    pub(crate) fn get(&self, node: u32, hint: &mut usize) -> u32 {
        let is_in = |run: usize| {
            self.runs.get(run).is_some_and(|(first, _)| *first <= node)
                && self.runs.get(run + 1).is_none_or(|(first, _)| *first > node)
        };
        if !is_in(*hint) {
            let is_next = is_in(*hint + 1);
            let found = || self.runs.partition_point(|(first, _)| *first <= node).saturating_sub(1);
            *hint = if is_next { *hint + 1 } else { found() };
        }
        let (first, place) = self.runs[*hint];
        place + (node - first)
    }
}

impl Known {
    fn bytes(&self) -> u64 {
        (size_of_profile(&self.series) + self.places.runs.len() * size_of::<(u32, u32)>() + 128) as u64
    }
}

/// The tree of all, and the places of segments in it. It only grows; a [`Store`](crate::Store) begins another one when it
/// has grown too large.
#[derive(Default)]
pub(crate) struct Dictionary {
    inner: RwLock<Inner>,
}

#[derive(Default)]
pub(crate) struct Inner {
    /// Stacks, frames and texts; no rows.
    pub(crate) all: ProfileBuilder,
    segments: FxHashMap<Ulid, Arc<Known>>,
    of_segments: u64,
    /// Of the tree as it was when a second query had found it unchanged: it costs as much as a query to make, and is of use
    /// until the tree grows.
    preorder: Option<Arc<Preorder>>,
    /// Nodes when a query last asked for it.
    asked: usize,
    /// Its frames by function, as far as flame graphs have asked for them.
    pub(crate) functions: Functions,
}

impl Dictionary {
    /// What is known of a segment, if it has been read.
    pub(crate) fn get(&self, id: Ulid) -> Option<Arc<Known>> {
        self.read().segments.get(&id).cloned()
    }

    /// Takes in the stacks of a segment (or of a window in memory, which is not remembered).
    pub(crate) fn add(&self, id: Option<Ulid>, tables: &Profile) -> Arc<Known> {
        let mut inner = self.write();
        if let Some(known) = id.and_then(|id| inner.segments.get(&id)) {
            return known.clone();
        }
        let places = Places::new(inner.all.add_stacks(tables).into_iter());
        let known = Arc::new(Known { places, series: Arc::new(tables.series_only()) });
        if let Some(id) = id {
            inner.of_segments += known.bytes();
            inner.segments.insert(id, known.clone());
        }
        known
    }

    /// Forgets a segment that is gone. Its stacks stay.
    pub(crate) fn remove(&self, id: Ulid) {
        let mut inner = self.write();
        if let Some(known) = inner.segments.remove(&id) {
            inner.of_segments -= known.bytes();
        }
    }

    /// The whole tree in preorder, if it has not grown since it was last asked for.
    pub(crate) fn preorder(&self) -> Option<Arc<Preorder>> {
        let is_now =
            |inner: &Inner| inner.preorder.as_ref().filter(|known| known.len() == inner.all.nodes()).cloned();
        if let Some(known) = is_now(&self.read()) {
            return Some(known);
        }
        let mut inner = self.write();
        if let Some(known) = is_now(&inner) {
            return Some(known);
        }
        let nodes = inner.all.nodes();
        // An old one helps nobody.
        inner.preorder = None;
        if std::mem::replace(&mut inner.asked, nodes) != nodes {
            return None;
        }
        let preorder = Arc::new(inner.all.preorder());
        inner.preorder = Some(preorder.clone());
        Some(preorder)
    }

    /// The tree, whose functions are those of all of its frames.
    pub(crate) fn with_functions(&self) -> RwLockReadGuard<'_, Inner> {
        {
            let mut inner = self.write();
            let Inner { all, functions, .. } = &mut *inner;
            functions.follow(all);
        }
        // Should it grow in between, then by nodes that nobody who waits here has counted.
        self.read()
    }

    /// Memory that it takes, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let inner = self.read();
        let preorder = inner.preorder.as_ref().map_or(0, |preorder| preorder.bytes());
        inner.all.bytes() + inner.of_segments + preorder + inner.functions.bytes()
    }

    /// How much of that is more than its share of the store's memory.
    pub(crate) fn beyond_its_share(&self) -> u64 {
        self.bytes().saturating_sub(DICTIONARY_BYTES as u64)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_order() {
        let all = [5, 6, 7, 1, 2, 9, 8, 100, 101, 102, 3].map(NodeId);
        let places = Places::new(all.into_iter());
        assert_eq!((places.len(), places.runs.len()), (11, 6));
        let mut hint = 0;
        for step in 1..all.len() {
            for n in 0..all.len() * 2 {
                let node = n * step % all.len();
                assert_eq!(places.get(node as u32, &mut hint), all[node].0);
            }
        }
    }
}
