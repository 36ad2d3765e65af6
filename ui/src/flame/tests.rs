use rustc_hash::FxHashMap;
use store::model::{FrameKind, Profile};

use super::*;
use crate::support::{Maker, Numbers, Part, REDIS, Who, generated, native, profile};

/// The tree as lines: indentation, name, self, total.
fn lines(tree: &FlameTree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(|node, depth| {
        let name = tree.text(tree.frame_of(node).function);
        lines.push(format!("{:depth$}{name} {} {}", "", tree.own[node], tree.total[node]));
    });
    lines
}

fn sum_by_ancestors(profile: &Profile) -> FxHashMap<Vec<String>, u64> {
    let mut totals = FxHashMap::default();
    for row in &profile.rows {
        let mut path = vec![GroupBy::default().value(profile, row).into_owned()];
        let mut frames: Vec<_> = profile.stacks.leaf_to_root(row.key.node).collect();
        frames.reverse();
        *totals.entry(path.clone()).or_default() += row.samples;
        for frame in frames {
            let frame = profile.frame(frame);
            let binary = frame.binary.map_or("", |id| profile.text(profile.binary(id).path));
            path.push(format!("{} {} {binary}", frame.kind.name(), profile.text(frame.function)));
            *totals.entry(path.clone()).or_default() += row.samples;
        }
    }
    totals
}

#[test]
fn totals_are_sums_and_siblings_are_in_order_of_their_names() {
    let p = profile(&[(&["main", "b", "x"], 3), (&["main", "a"], 2), (&["main"], 1), (&["init"], 4)]);
    let tree = build(&p, &GroupBy::default());
    let expected =
        ["all 0 10", " redis-server 0 10", "  init 4 4", "  main 1 6", "   a 2 2", "   b 0 3", "    x 3 3"];
    assert_eq!(lines(&tree), expected);
}

#[test]
fn an_empty_profile_is_a_root_without_samples() {
    let tree = build(&Profile::default(), &GroupBy::default());
    assert_eq!(lines(&tree), ["all 0 0"]);
}

#[test]
fn every_node_has_the_total_of_all_stacks_through_it() {
    for seed in 1..20 {
        let p = generated(seed, 200);
        let tree = build(&p, &GroupBy::default());
        let expected = sum_by_ancestors(&p);
        let mut path: Vec<String> = Vec::new();
        tree.walk(|node, depth| {
            let frame = tree.frame_of(node);
            path.truncate(depth.saturating_sub(1));
            match frame.kind {
                NodeKind::Root => assert_eq!(tree.total[node], p.samples()),
                NodeKind::Group => path.push(tree.text(frame.function).to_owned()),
                kind => {
                    let (function, binary) = (tree.text(frame.function), tree.text(frame.binary));
                    path.push(format!("{} {function} {binary}", kind.name()));
                }
            }
            if depth > 0 {
                assert_eq!(Some(&tree.total[node]), expected.get(&path), "{path:?}");
            }
        });
        assert_eq!(tree.len(), expected.len() + 1);
        assert_eq!(tree.own.iter().sum::<u64>(), p.samples());
    }
}

#[test]
fn frames_of_one_function_at_several_addresses_are_one_node() {
    let at = |address| (FrameKind::Native, "f", "/usr/bin/app", address);
    let mut maker = Maker::default();
    maker.stack(REDIS, &[at(0x1005)], 1).stack(REDIS, &[at(0x1002)], 2);
    maker.stack(REDIS, &[(FrameKind::Native, "f", "/usr/lib/other.so", 0x1005)], 4);
    maker.stack(REDIS, &[(FrameKind::Inlined, "f", "/usr/bin/app", 0x1005)], 8);
    let tree = build(&maker.finish(), &GroupBy::default());
    assert_eq!(lines(&tree), ["all 0 15", " redis-server 0 15", "  f 3 3", "  f 4 4", "  f 8 8"]);
    // 0x1002 is the smaller line of the two
    assert_eq!(tree.frame_of(2).line, 0x1002 % 500);
    assert_eq!(tree.text(tree.frame_of(2).file), "src/app.c");
}

#[test]
fn a_tree_is_the_same_whatever_the_order_of_its_stacks() {
    let mut stacks: Vec<(Who<'_>, Vec<Part<'_>>, u64)> = Vec::new();
    for (i, name) in ["m", "c", "x", "a"].iter().enumerate() {
        let who = Who { process: ["b", "a"][i % 2], ..REDIS };
        stacks.push((who, vec![native("main"), native(name)], 3));
        stacks.push((who, vec![(FrameKind::Native, name, "/usr/bin/app", i as u64)], 2));
        stacks.push((who, vec![(FrameKind::Native, "main", "/usr/bin/app", 70 - i as u64)], 2));
    }
    let tree = |order: &[usize]| {
        let mut maker = Maker::default();
        for i in order {
            let (who, parts, samples) = &stacks[*i];
            maker.stack(*who, parts, *samples);
        }
        let tree = build(&maker.finish(), &GroupBy::default());
        let frames: Vec<_> = (0..tree.len())
            .map(|node| {
                let f = tree.frame_of(node);
                (f.kind, tree.text(f.file).to_owned(), f.line, tree.text(f.unwound).to_owned())
            })
            .collect();
        (lines(&tree), frames)
    };
    let forward: Vec<usize> = (0..stacks.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    assert_eq!(tree(&forward), tree(&backward));
}

#[test]
fn any_label_can_group() {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main")], 1);
    maker.stack(Who { thread: "main", tid: 7, status: "unreadable", ..REDIS }, &[native("main")], 2);
    let p = maker.finish();
    let groups = |by: &str| {
        let tree = build(&p, &by.parse().unwrap());
        let is_group = |node: &usize| tree.frame_of(*node).kind == NodeKind::Group;
        let group = |node: usize| format!("{} {}", tree.text(tree.frame_of(node).function), tree.total[node]);
        (0..tree.len()).filter(is_group).map(group).collect::<Vec<_>>()
    };
    assert_eq!(groups("thread"), ["io_thd_1 1", "main 2"]);
    assert_eq!(groups("tid"), ["7 2", "8 1"]);
    assert_eq!(groups("pid"), ["7 3"]);
    assert_eq!(groups("status"), ["complete 1", "unreadable 2"]);
    assert_eq!(groups("host"), ["web-01 3"]);
    assert_eq!(groups("no_such_label"), [" 3"]);
}

#[test]
fn pruning_loses_no_sample_and_changes_no_total() {
    for seed in 1..10 {
        let full = build(&generated(seed, 150), &GroupBy::default());
        for max_nodes in [1, 2, 3, 7, 50, 333, full.len() - 1, full.len(), full.len() + 1] {
            let mut tree = full.clone();
            tree.prune(max_nodes);
            assert_eq!(tree.len(), max_nodes.min(full.len()));
            assert_eq!(tree.own.iter().sum::<u64>(), full.samples());
            let mut children = vec![0; tree.len()];
            for node in 1..tree.len() {
                children[node - tree.parent[node] as usize] += tree.total[node];
            }
            for (node, below) in children.iter().enumerate() {
                assert_eq!(tree.total[node], tree.own[node] + below, "node {node} of {max_nodes}");
                assert!(tree.pruned[node] <= tree.own[node]);
            }
            let smallest_kept = tree.total.iter().min().unwrap();
            let larger = full.total.iter().filter(|total| *total > smallest_kept).count();
            assert!(larger <= max_nodes, "a larger node was pruned than the smallest one kept");
            let own_without_pruned: u64 = tree.own.iter().sum::<u64>() - tree.pruned_samples();
            let own_in_full: u64 = kept_own(&full, &tree);
            assert_eq!(own_without_pruned, own_in_full);
        }
    }
}

/// Self samples in the full tree of the nodes that the pruned one has too, found by their paths.
fn kept_own(full: &FlameTree, pruned: &FlameTree) -> u64 {
    let paths = |tree: &FlameTree| {
        let mut path: Vec<(NodeKind, String, String)> = Vec::new();
        let mut paths = Vec::new();
        tree.walk(|node, depth| {
            let f = tree.frame_of(node);
            path.truncate(depth);
            path.push((f.kind, tree.text(f.function).to_owned(), tree.text(f.binary).to_owned()));
            paths.push(path.clone());
        });
        paths
    };
    let own: FxHashMap<_, _> = paths(full).into_iter().zip(&full.own).collect();
    paths(pruned).iter().map(|path| own[path]).sum()
}

#[test]
fn deep_stacks_build_and_prune() {
    let mut numbers = Numbers(7);
    let names: Vec<String> = (0..50).map(|i| format!("f{i}")).collect();
    let mut maker = Maker::default();
    for _ in 0..100 {
        let stack: Vec<_> = (0..1200).map(|_| native(&names[numbers.below(50) as usize])).collect();
        maker.stack(REDIS, &stack, 1);
    }
    let mut tree = build(&maker.finish(), &GroupBy::default());
    assert_eq!(tree.samples(), 100);
    let mut deepest = 0;
    tree.walk(|_, depth| deepest = deepest.max(depth));
    assert_eq!(deepest, 1201);
    tree.prune(1000);
    assert_eq!((tree.len(), tree.own.iter().sum::<u64>()), (1000, 100));
}

#[test]
fn the_order_of_drawing_is_the_same_tree_with_siblings_from_wide_to_narrow() {
    let p = profile(&[(&["main", "b", "x"], 3), (&["main", "a"], 2), (&["main", "c"], 3), (&["zero"], 9)]);
    let mut tree = build(&p, &GroupBy::default());
    tree.widest_first();
    let expected = [
        "all 0 17",
        " redis-server 0 17",
        "  zero 9 9",
        "  main 0 8",
        "   b 0 3",
        "    x 3 3",
        "   c 3 3",
        "   a 2 2",
    ];
    assert_eq!(lines(&tree), expected);
    for seed in 1..20 {
        let p = generated(seed, 200);
        let (before, mut after) = (build(&p, &GroupBy::default()), build(&p, &GroupBy::default()));
        after.widest_first();
        let sorted = |tree: &FlameTree| {
            let mut path: Vec<String> = Vec::new();
            let mut all = Vec::new();
            tree.walk(|node, depth| {
                path.truncate(depth);
                path.push(tree.text(tree.frame_of(node).function).to_owned());
                all.push((path.clone(), tree.own[node], tree.total[node], tree.pruned[node]));
            });
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(&before), sorted(&after));
    }
    let mut empty = build(&Profile::default(), &GroupBy::default());
    empty.widest_first();
    assert_eq!(lines(&empty), ["all 0 0"]);
}
