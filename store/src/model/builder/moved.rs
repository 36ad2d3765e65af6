//! Samples whose stacks have got better names, or whose series better labels, since they were counted.

use rustc_hash::FxHashMap;

use super::{Exact, ProfileBuilder, RowKey, SeriesId};

impl ProfileBuilder {
    /// Moves samples to another key: their stack has got better names. `exact` are their times, by which they are known
    /// among those of `from`; each has this value. What is not there is left where it is.
    pub fn move_samples(&mut self, from: RowKey, to: RowKey, exact: &[Exact], value: i64) {
        let Some(sum) = self.rows.get_mut(&from).filter(|_| from != to) else { return };
        let (mut stay, mut go) = (Vec::new(), exact.to_vec());
        self.exact.collect(sum.last, &mut stay);
        go.sort_unstable();
        let mut moved = Vec::with_capacity(go.len());
        stay.retain(|exact| {
            let found = go.binary_search(exact);
            found.is_err() || {
                moved.extend(found.ok().map(|at| go.remove(at)));
                false
            }
        });
        let value = value.saturating_mul(moved.len() as i64);
        sum.exact_value = sum.exact_value.saturating_sub(value);
        sum.last = 0;
        stay.into_iter().for_each(|exact| self.exact.push(&mut sum.last, exact));
        if sum.samples == 0 && sum.value == 0 && sum.last == 0 {
            self.rows.remove(&from);
        }
        if !moved.is_empty() {
            let samples = moved.len() as u64;
            self.rows.entry(to).add(&mut self.exact, samples, value, moved.into_iter());
        }
    }

    /// Moves all samples of series to others, as (from, to): their labels are complete now. A series that samples move to moves
    /// nowhere itself.
    pub fn move_series(&mut self, moves: &[(SeriesId, SeriesId)]) {
        let moves: FxHashMap<SeriesId, SeriesId> =
            moves.iter().copied().filter(|(from, to)| from != to).collect();
        let keys: Vec<RowKey> =
            self.rows.keys().filter(|key| moves.contains_key(&key.series)).copied().collect();
        let mut times = Vec::new();
        for key in keys {
            let Some(sum) = self.rows.remove(&key) else { continue };
            times.clear();
            self.exact.collect(sum.last, &mut times);
            let to = self.rows.entry(RowKey { series: moves[&key.series], ..key });
            to.samples = to.samples.saturating_add(sum.samples);
            to.value = to.value.saturating_add(sum.value);
            to.exact_value = to.exact_value.saturating_add(sum.exact_value);
            times.iter().for_each(|exact| self.exact.push(&mut to.last, *exact));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::NodeId;
    use super::*;

    #[test]
    fn moved_samples_are_in_one_place_and_none_is_lost() {
        let mut builder = ProfileBuilder::default();
        let key = |node| RowKey { node: NodeId(node), ..RowKey::default() };
        let times =
            |offsets: &[u16]| offsets.iter().map(|at| Exact { offset_ms: *at, cpu: 0 }).collect::<Vec<_>>();
        builder.add(key(1), 4, 40, &times(&[1, 2, 2, 3]));
        builder.add(key(2), 1, 10, &times(&[9]));
        builder.move_samples(key(1), key(2), &times(&[2, 3, 7]), 10);
        builder.move_samples(key(5), key(2), &times(&[1]), 10);
        let rows = |builder: &mut ProfileBuilder, node| {
            let mut at = Vec::new();
            let sum = builder.rows.get_mut(&key(node)).copied().unwrap_or_default();
            builder.exact.collect(sum.last, &mut at);
            at.sort_unstable();
            (sum.exact_value, at)
        };
        assert_eq!(rows(&mut builder, 1), (20, times(&[1, 2])));
        assert_eq!(rows(&mut builder, 2), (30, times(&[2, 3, 9])));
        builder.move_samples(key(1), key(2), &times(&[1, 2]), 10);
        assert!(builder.rows.get_mut(&key(1)).is_none());
        assert_eq!(rows(&mut builder, 2), (50, times(&[1, 2, 2, 3, 9])));
    }

    #[test]
    fn all_samples_of_a_series_move_with_their_times_and_values() {
        let mut builder = ProfileBuilder::default();
        let key = |series, node| RowKey { series: SeriesId(series), node: NodeId(node), ..RowKey::default() };
        let at = |offset_ms| Exact { offset_ms, cpu: 0 };
        builder.add(key(0, 1), 2, 20, &[at(1), at(5)]);
        builder.add(key(0, 1), 3, 30, &[]);
        builder.add(key(0, 2), 1, 10, &[at(7)]);
        builder.add(key(1, 1), 1, 10, &[at(3)]);
        builder.add(key(2, 1), 1, 10, &[at(4)]);
        builder.move_series(&[(SeriesId(0), SeriesId(1)), (SeriesId(2), SeriesId(2))]);
        assert_eq!(builder.rows.keys().count(), 3);
        let mut rows = |series, node| {
            let mut times = Vec::new();
            let sum = builder.rows.get_mut(&key(series, node)).copied().unwrap_or_default();
            builder.exact.collect(sum.last, &mut times);
            times.sort_unstable();
            (sum.samples, sum.value, sum.exact_value, times)
        };
        assert_eq!(rows(1, 1), (3, 30, 30, vec![at(1), at(3), at(5)]));
        assert_eq!(rows(1, 2), (0, 0, 10, vec![at(7)]));
        assert_eq!(rows(2, 1), (0, 0, 10, vec![at(4)]));
    }
}
