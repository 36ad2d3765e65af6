//! Values that many processes have alike: each is held once. A storm of short-lived processes would else leave a heap of
//! small pieces, of which the few that stay keep whole pages.

use std::{borrow::Borrow, hash::Hash, sync::Arc};

use rustc_hash::FxHashSet;

/// So few are not looked through for unused ones.
const FEW: usize = 256;

/// Values in use, each once.
#[derive(Debug)]
pub(crate) struct Shared<T: ?Sized> {
    values: FxHashSet<Arc<T>>,
    /// With so many, unused ones are dropped.
    full: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: FxHashSet::default(), full: FEW }
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    /// The one that equals this.
    pub(crate) fn get<V: Borrow<T> + Into<Arc<T>>>(&mut self, value: V) -> Arc<T> {
        if let Some(known) = self.values.get(value.borrow()) {
            return known.clone();
        }
        if self.values.len() >= self.full {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.full = FEW.max(2 * self.values.len());
            self.values.shrink_to(self.full);
        }
        let value = value.into();
        self.values.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_are_dropped() {
        let mut shared = Shared::<str>::default();
        let kept: Vec<_> = (0..100).map(|n| shared.get(n.to_string().as_str())).collect();
        assert!(Arc::ptr_eq(&shared.get("7"), &kept[7]) && !Arc::ptr_eq(&kept[7], &kept[8]));
        for n in 100..10_000 {
            shared.get(n.to_string().as_str());
        }
        assert!(shared.values.len() <= FEW, "{}", shared.values.len());
        assert!((0..100).all(|n| Arc::ptr_eq(&shared.get(n.to_string().as_str()), &kept[n])));
    }
}
