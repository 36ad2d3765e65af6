//! Ways through code from one place to others, and which of them are sound.
//!
//! Nobody says whether a call comes back. What stands behind one that does not belongs to another function, with
//! another depth of the stack. So a way behind a call counts only if it proves itself: it leads to a sound end (a
//! return that leaves the stack as the caller expects it, or code that is known to agree), or back to the part of the
//! function that needs no call to come back.

use rustc_hash::{FxHashMap, FxHashSet};

/// Where the instructions from one place on lead, up to the next ones.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// A way ends here as it should.
    is_sound: bool,
    /// It does what no function does, or disagrees with what is known.
    is_broken: bool,
    to: Vec<u64>,
    /// What something that is called has to come back for: a place, or code that is known to agree.
    behind_call: Option<u64>,
    is_sound_behind_call: bool,
}

impl Stretch {
    /// A way ends, soundly or not.
    pub(super) fn ends(&mut self, is_sound: bool) {
        self.is_sound |= is_sound;
        self.is_broken |= !is_sound;
    }

    /// The same behind a call; if not soundly, the call does not come back.
    pub(super) fn ends_behind_call(&mut self, is_sound: bool) {
        self.is_sound_behind_call = is_sound;
    }

    /// A way leads to a place, if that agrees.
    pub(super) fn to(&mut self, place: u64, agrees: bool) {
        match agrees {
            true => self.to.push(place),
            false => self.is_broken = true,
        }
    }

    /// A call comes back to a place, if at all. It does not if that disagrees.
    pub(super) fn behind_call(&mut self, place: u64, agrees: bool) {
        self.behind_call = agrees.then_some(place);
    }
}

/// The places on sound ways from `seed`. None if one that needs no call to come back is not sound, or if no way has a sound
/// end, unless it is proven that a function begins there. `of` says where a place leads.
pub(super) fn sound<'a>(
    seed: u64,
    places: impl Iterator<Item = u64>,
    of: impl Fn(&u64) -> Option<&'a Stretch>,
    is_proven: bool,
) -> Option<FxHashSet<u64>> {
    let (mut before, mut before_calls): (Graph, Graph) = Default::default();
    let (mut broken, mut ends) = (Vec::new(), Vec::new());
    for place in places {
        let Some(stretch) = of(&place) else { continue };
        for to in &stretch.to {
            before.entry(*to).or_default().push(place);
        }
        if let Some(to) = stretch.behind_call {
            before_calls.entry(to).or_default().push(place);
        }
        broken.extend(stretch.is_broken.then_some(place));
        ends.extend((stretch.is_sound || stretch.is_sound_behind_call).then_some(place));
    }
    let after = |place: &u64| of(place).into_iter().flat_map(|stretch| &stretch.to).copied();
    let back = |place: &u64| before.get(place).into_iter().flatten().copied();
    let back_through_calls =
        |place: &u64| back(place).chain(before_calls.get(place).into_iter().flatten().copied());
    let broken = reach(broken, back, |_| true);
    let mut sound = reach(vec![seed], after, |_| true);
    if sound.iter().any(|place| broken.contains(place)) {
        return None;
    }
    let may = |place: u64| !broken.contains(&place);
    for _ in 0..ROUNDS_AT_MOST {
        // Behind calls what leads to an end or to what is sound already, through other calls or not.
        let proven = reach(ends.iter().chain(&sound).copied().collect(), back_through_calls, may);
        let behind_call = |place: &u64| of(place)?.behind_call.filter(|to| proven.contains(to));
        let more = reach(vec![seed], |place| after(place).chain(behind_call(place)), may);
        if more.len() == sound.len() {
            break;
        }
        sound = more;
    }
    let returns = ends.iter().any(|place| sound.contains(place));
    (returns || is_proven).then_some(sound)
}

/// How often what is proven may prove more: mostly once.
const ROUNDS_AT_MOST: u32 = 8;

type Graph = FxHashMap<u64, Vec<u64>>;

/// All that can be reached from these, themselves among them, through what may be entered.
fn reach<N: Iterator<Item = u64>>(
    from: Vec<u64>,
    next: impl Fn(&u64) -> N,
    may: impl Fn(u64) -> bool,
) -> FxHashSet<u64> {
    let mut reached: FxHashSet<u64> = from.into_iter().filter(|place| may(*place)).collect();
    let mut waiting: Vec<u64> = reached.iter().copied().collect();
    while let Some(place) = waiting.pop() {
        for next in next(&place) {
            if may(next) && reached.insert(next) {
                waiting.push(next);
            }
        }
    }
    reached
}
