//! What grew from one range to another, and whether that is more than chance. Samples are taken without regard to what
//! runs, so counts of them are Poisson.

use std::f64::consts::{PI, SQRT_2};

use crate::flame::{FlameTree, NodeKind};
use crate::render::by_frame;

/// Up to this many samples of both sides a probability is summed exactly; beyond it the normal approximation is as good.
const EXACT: u64 = 1000;

/// How long each side was watched, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// The side that is compared with.
    pub before_s: f64,
    /// The side that is looked at.
    pub after_s: f64,
}

impl Exposure {
    /// The probability that counts differ at least as much as these when the rates of both sides are the same,
    /// in either direction. 1 where nothing was counted.
    pub fn p_value(self, before: u64, after: u64) -> f64 {
        let all = before.saturating_add(after);
        let share = self.after_s / (self.before_s + self.after_s);
        if all == 0 || !(share > 0.0 && share < 1.0) {
            return 1.0;
        }
        let one_sided = if all <= EXACT {
            let expected = all as f64 * share;
            if after as f64 >= expected { tail(all, share, after) } else { tail(all, 1.0 - share, before) }
        } else {
            let spread = (all as f64 * share * (1.0 - share)).sqrt();
            let distance = ((after as f64 - all as f64 * share).abs() - 0.5).max(0.0);
            erfc(distance / spread / SQRT_2) / 2.0
        };
        (2.0 * one_sided).min(1.0)
    }

    /// Samples per second that `after` is more than `before`.
    pub fn change(self, before: u64, after: u64) -> f64 {
        after as f64 / self.after_s - before as f64 / self.before_s
    }
}

/// The probability of at least `least` of `n` when each has the probability `p`.
fn tail(n: u64, p: f64, least: u64) -> f64 {
    let (ln_p, ln_q) = (p.ln(), (1.0 - p).ln());
    // ln of n over k, for k from 0 on.
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for k in 0..=n {
        if k >= least {
            sum += (ln_choose + k as f64 * ln_p + (n - k) as f64 * ln_q).exp();
        }
        ln_choose += ((n - k).max(1) as f64).ln() - ((k + 1) as f64).ln();
    }
    sum.min(1.0)
}

/// The complementary error function for x ≥ 0, to about ten digits: by its series near 0, by its continued fraction
/// beyond.
fn erfc(x: f64) -> f64 {
    let gauss = (-x * x).exp();
    if x < 2.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..60 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * gauss * sum;
    }
    let fraction = (1..60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    gauss / (fraction * PI.sqrt())
}

/// Which of many tests stand when at most a share `rate` of those that do may be false (Benjamini and Hochberg).
pub fn significant(p: &[f64], rate: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let passes = |(rank, at): (usize, &usize)| p[*at] <= rate * (rank + 1) as f64 / p.len() as f64;
    let last = order.iter().enumerate().rfind(|pair| passes((pair.0, pair.1)));
    let mut stands = vec![false; p.len()];
    for at in order.iter().take(last.map_or(0, |(rank, _)| rank + 1)) {
        stands[*at] = true;
    }
    stands
}

/// What explains most of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The function, by its frame in the tree; none where only the group stands out.
    pub frame: Option<usize>,
    /// The group that holds most of it, by its frame in the tree.
    pub group: usize,
    /// Its share of the whole change, from 0 to 1: more where others changed the other way.
    pub share: f64,
    /// Samples of it before.
    pub before: u64,
    /// Samples of it after.
    pub after: u64,
}

/// At most this share of things that are called changed have not.
pub const FALSE_DISCOVERIES: f64 = 0.05;
/// What explains less than this share of a change does not explain it.
const LEAST_SHARE: f64 = 0.3;
/// Functions this near to the best are told apart by depth.
const NEAR: f64 = 0.9;

/// The function, or else the group, that explains most of the change of all samples: one that changed by much, and that
/// is itself little else than this change, so that `main` gives way to what is new below it. Among functions that
/// are nearly as good the innermost one. None where nothing explains a third of it beyond chance.
pub fn cause(tree: &FlameTree, exposure: Exposure) -> Option<Cause> {
    let all_before = tree.before_total.first().copied()?;
    let whole = exposure.change(all_before, tree.samples() - all_before);
    if whole == 0.0 {
        return None;
    }
    let (_, total) = by_frame(tree, &tree.own, &tree.total);
    let (_, before) = by_frame(tree, &tree.before_own, &tree.before_total);
    let after = |i: usize| total[i] - before[i];
    let is_candidate =
        |i: &usize| matches!(tree.frames[*i].kind, NodeKind::Group) || tree.frames[*i].kind.is_code();
    let candidates: Vec<usize> = (0..tree.frames.len()).filter(is_candidate).collect();
    let p: Vec<f64> = candidates.iter().map(|i| exposure.p_value(before[*i], after(*i))).collect();
    let stands = significant(&p, FALSE_DISCOVERIES);
    let share = |i: usize| exposure.change(before[i], after(i)) / whole;
    // How much of the side with more of it is the change.
    let purity = |i: usize| {
        let (a, b) = (before[i] as f64 / exposure.before_s, after(i) as f64 / exposure.after_s);
        (b - a).abs() / a.max(b)
    };
    let good = candidates.into_iter().zip(stands).filter(|(i, stands)| *stands && share(*i) >= LEAST_SHARE);
    let scored: Vec<(usize, f64)> = good.map(|(i, _)| (i, share(i).min(1.0) * purity(i))).collect();
    let is_group = |i: usize| tree.frames[i].kind == NodeKind::Group;
    let best = |groups: bool| {
        let of_kind = scored.iter().filter(move |(i, _)| is_group(*i) == groups);
        of_kind.max_by(|a, b| a.1.total_cmp(&b.1)).copied()
    };
    let depths = depths(tree);
    let function = best(false).and_then(|(_, most)| {
        let near = scored.iter().filter(|(i, score)| !is_group(*i) && *score >= most * NEAR);
        near.max_by(|a, b| depths[a.0].total_cmp(&depths[b.0])).map(|(i, _)| *i)
    });
    let by_group =
        |i: usize| Cause { frame: None, group: i, share: share(i), before: before[i], after: after(i) };
    match function {
        Some(i) => Some(Cause {
            frame: Some(i),
            group: group_of(tree, i, exposure, whole)?,
            share: share(i),
            before: before[i],
            after: after(i),
        }),
        None => best(true).map(|(i, _)| by_group(i)),
    }
}

/// By frame: its mean depth, weighted by samples.
fn depths(tree: &FlameTree) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); tree.frames.len()];
    tree.walk(|node, depth| {
        let sum = &mut sums[tree.frame[node] as usize];
        let weight = tree.total[node] as f64;
        *sum = (sum.0 + weight * depth as f64, sum.1 + weight);
    });
    sums.into_iter().map(|(sum, weight)| if weight > 0.0 { sum / weight } else { 0.0 }).collect()
}

/// The group in which a function changed most, in the direction of the whole.
fn group_of(tree: &FlameTree, frame: usize, exposure: Exposure, whole: f64) -> Option<usize> {
    let mut changes = vec![0.0; tree.frames.len()];
    let (mut group, mut inside) = (0, None);
    tree.walk(|node, depth| {
        if depth == 1 {
            group = tree.frame[node] as usize;
        }
        if inside.is_some_and(|top| depth <= top) {
            inside = None;
        }
        // Below a call of itself it is counted already.
        if inside.is_none() && tree.frame[node] as usize == frame {
            inside = Some(depth);
            let before = tree.before_total[node];
            changes[group] += exposure.change(before, tree.total[node] - before) * whole.signum();
        }
    });
    (0..changes.len()).max_by(|a, b| changes[*a].total_cmp(&changes[*b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EQUAL: Exposure = Exposure { before_s: 100.0, after_s: 100.0 };

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn the_error_function_has_the_values_of_tables() {
        for (x, expected) in
            [(0.0, 1.0), (0.5, 0.479_500_122), (1.0, 0.157_299_207), (2.0, 0.004_677_734_981)]
        {
            near(erfc(x), expected);
        }
        near(erfc(1.999_999_9), erfc(2.000_000_1));
        near(erfc(5.0), 1.537_459_794e-12);
    }

    #[test]
    fn few_samples_prove_nothing_and_many_prove_little_changes() {
        near(EQUAL.p_value(0, 3), 0.25);
        near(EQUAL.p_value(3, 0), 0.25);
        near(EQUAL.p_value(5, 5), 1.0);
        assert!(EQUAL.p_value(0, 0) == 1.0);
        assert!(EQUAL.p_value(100, 120) > 0.15);
        assert!(EQUAL.p_value(10_000, 10_500) < 0.001);
        // Twice the time, twice the samples: no change.
        let longer = Exposure { before_s: 100.0, after_s: 200.0 };
        assert!(longer.p_value(100, 200) > 0.9 && longer.p_value(100, 100) < 0.001);
    }

    #[test]
    fn exact_sums_and_the_approximation_meet() {
        let exposure = Exposure { before_s: 3.0, after_s: 2.0 };
        for more in [0, 20, 45] {
            let below = exposure.p_value(600 - more, 400 + more);
            let above = exposure.p_value(601 - more, 401 + more);
            assert!((below / above - 1.0).abs() < 0.1, "{below} {above}");
        }
    }

    #[test]
    fn false_discoveries_are_bounded() {
        assert_eq!(significant(&[0.001, 0.04, 0.5, 0.02], 0.05), [true, false, false, true]);
        // The largest that passes takes those before it along.
        assert_eq!(significant(&[0.03, 0.032, 0.034], 0.05), [true, true, true]);
        assert_eq!(significant(&[0.2, 0.9], 0.05), [false, false]);
        assert_eq!(significant(&[], 0.05), [false; 0]);
    }
}
