//! Samples whose stacks have got better names since they were counted.

use super::{Exact, ProfileBuilder, RowKey};

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
            self.rows.entry(to).or_default().add(&mut self.exact, samples, value, moved.into_iter());
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
        let rows = |builder: &ProfileBuilder, node| {
            let mut at = Vec::new();
            let sum = builder.rows.get(&key(node)).copied().unwrap_or_default();
            builder.exact.collect(sum.last, &mut at);
            at.sort_unstable();
            (sum.exact_value, at)
        };
        assert_eq!(rows(&builder, 1), (20, times(&[1, 2])));
        assert_eq!(rows(&builder, 2), (30, times(&[2, 3, 9])));
        builder.move_samples(key(1), key(2), &times(&[1, 2]), 10);
        assert!(!builder.rows.contains_key(&key(1)));
        assert_eq!(rows(&builder, 2), (50, times(&[1, 2, 2, 3, 9])));
    }
}
