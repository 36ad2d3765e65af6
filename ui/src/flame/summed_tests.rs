//! Trees of the store's sums by function are those of whole profiles.

use store::model::Profile;
use store::{Selector, Store, TimeRange};

use super::*;
use crate::support::{START_MS, generated, profile};

/// Every node with its path, by all that is told of frames.
fn nodes(tree: &FlameTree) -> Vec<(String, u64, u64)> {
    told(tree, |kind, line, texts| format!("{} {line} {texts:?}", kind.name()))
}

/// The same by what tells functions apart: where a function is hangs on the frames of it that are shown.
fn functions(tree: &FlameTree) -> Vec<(String, u64, u64)> {
    told(tree, |kind, _, [function, _, _, binary, ..]| format!("{} {function:?} {binary:?}", kind.name()))
}

fn told(tree: &FlameTree, of: impl Fn(NodeKind, u32, [&str; 6]) -> String) -> Vec<(String, u64, u64)> {
    let mut path: Vec<String> = Vec::new();
    let mut all = Vec::new();
    tree.walk(|node, depth| {
        let FlameFrame { kind, function, system_name, file, line, binary, build_id, unwound } =
            *tree.frame_of(node);
        let texts = [function, system_name, file, binary, build_id, unwound].map(|id| tree.text(id));
        path.truncate(depth);
        path.push(of(kind, line, texts));
        all.push((path.join("\n"), tree.own[node], tree.total[node]));
    });
    all
}

fn summed(store: &Store, selector: &str, by: &str, most: usize) -> FlameTree {
    let selector = Selector::parse(selector).unwrap();
    let by_value = |facts: &Profile| Weight::of(facts) == Weight::Values;
    let (sums, reading) = store.function_tree(&selector, TimeRange::ALL, by, most, by_value).unwrap();
    assert_eq!(reading.skipped, []);
    build_summed(&sums)
}

fn store(seeds: std::ops::Range<u64>) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_writer(folder.path().join("data")).unwrap();
    for seed in seeds {
        store.append(&generated(seed, 60)).unwrap();
    }
    (folder, store)
}

#[test]
fn sums_by_function_give_the_tree_of_the_whole_profile() {
    let (_folder, store) = store(1..5);
    for selector in ["", "process=\"python3\"", "status!=\"complete\"", "process=\"nobody\""] {
        for by in ["process", "thread", "pid", "status", "host", "no_such_label"] {
            let found =
                store.query_by(&Selector::parse(selector).unwrap(), TimeRange::ALL, by).unwrap().profile;
            let (whole, sums) =
                (build(&found, &by.parse().unwrap()), summed(&store, selector, by, usize::MAX));
            assert_eq!(nodes(&sums), nodes(&whole), "{selector} by {by}");
            assert_eq!((sums.strings.len(), sums.pruned_samples()), (whole.strings.len(), 0));
        }
    }
    // More stacks come later: the tree goes on.
    store.append(&generated(77, 60)).unwrap();
    let found = store.query_by(&Selector::all(), TimeRange::ALL, "process").unwrap().profile;
    assert_eq!(nodes(&summed(&store, "", "process", usize::MAX)), nodes(&build(&found, &GroupBy::default())));
}

#[test]
fn what_is_left_out_is_small_and_told_where_it_belongs() {
    let (_folder, store) = store(1..4);
    let full = functions(&summed(&store, "", "process", usize::MAX));
    for most in [1, 2, 3, 7, 50, 333, full.len() - 1, full.len(), full.len() + 1] {
        let tree = summed(&store, "", "process", most);
        assert!(tree.len() <= most, "{} of {most}", tree.len());
        assert_eq!((tree.samples(), tree.own.iter().sum::<u64>()), (full[0].2, full[0].2));
        let kept = functions(&tree);
        let (mut smallest, mut at) = (u64::MAX, 0);
        for (node, (path, own, total)) in kept.iter().enumerate() {
            // In the same order, with its total; what it lost of its children it has itself.
            at += full[at..].iter().position(|(other, ..)| other == path).unwrap();
            assert_eq!((full[at].2, full[at].1), (*total, own - tree.pruned[node]));
            smallest = smallest.min(*total);
        }
        let larger = full.iter().filter(|(_, _, total)| *total > smallest).count();
        assert!(larger <= kept.len(), "a larger node is missing than the smallest that is there");
        let as_large = full.iter().filter(|(_, _, total)| *total >= smallest).count();
        assert!(most >= full.len() || as_large + 1 >= kept.len());
    }
    let all = summed(&store, "", "process", full.len());
    assert_eq!((functions(&all), all.pruned_samples()), (full, 0));
}

#[test]
fn a_tree_of_sums_hangs_on_nothing_that_was_asked_before() {
    let (folder, first) = store(1..6);
    let second = Store::open_reader(folder.path().join("data")).unwrap();
    // The other way round, the tree of all stacks grows in another order.
    for second_ms in (0..10).rev() {
        let from = START_MS + second_ms * 1000;
        let range = TimeRange::new(from, from + 1000).unwrap();
        second.function_tree(&Selector::all(), range, "process", 50, |_| false).unwrap();
    }
    for most in [40, 400] {
        let trees = [&first, &second].map(|store| nodes(&summed(store, "", "process", most)));
        assert_eq!(trees[0], trees[1]);
    }
}

#[test]
fn of_what_is_added_to_a_stack_and_taken_away_the_rest_has_weight() {
    let (_folder, store) = store(0..0);
    for value in [7, -5] {
        let mut profile = profile(&[(&["work"], 1)]);
        profile.rows[0].value = value;
        store.append(&profile).unwrap();
    }
    let by_value = |_: &Profile| true;
    let (sums, _) = store.function_tree(&Selector::all(), TimeRange::ALL, "process", 9, by_value).unwrap();
    assert_eq!(sums.nodes.iter().map(|node| (node.own, node.total)).collect::<Vec<_>>(), [(0, 2), (2, 2)]);
}
