//! What the boxes of a flame tree count.

use store::model::{Profile, Row};

use crate::render::values::ValueType;

/// What a row weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Its samples.
    Samples,
    /// Its value: bytes that were allocated, time that was waited.
    Values,
}

impl Weight {
    /// Samples, unless all of a profile's values are of one type, and none is sampled by time: a sample of bytes
    /// stands for as many as it says.
    pub fn of(profile: &Profile) -> Self {
        let mut types = profile.rows.iter().map(|row| row.key.series).collect::<Vec<_>>();
        types.sort_unstable();
        types.dedup();
        let by_value = |id| profile.period_ns(id) == 0;
        let first = types.first().map(|id| ValueType::of(profile, *id));
        let alike = types.iter().all(|id| by_value(*id) && Some(ValueType::of(profile, *id)) == first);
        if alike && first.is_some() { Self::Values } else { Self::Samples }
    }

    /// The weight of a row; nothing is lighter than nothing.
    pub fn row(self, row: &Row) -> u64 {
        match self {
            Self::Samples => row.samples,
            Self::Values => u64::try_from(row.value).unwrap_or(0),
        }
    }

    /// What is counted: `samples`, the unit of the values, or the event where that is a mere count.
    pub fn unit(self, profile: &Profile) -> &str {
        let of = profile.rows.first().map(|row| ValueType::of(profile, row.key.series));
        match (self, of) {
            (Self::Values, Some(ValueType { name, unit: "count" })) => name,
            (Self::Values, Some(ValueType { unit, .. })) => unit,
            _ => "samples",
        }
    }
}

#[cfg(test)]
mod tests {
    use store::model::{RowKey, Series};

    use super::*;
    use crate::support::{Maker, REDIS, native};

    fn add(maker: &mut Maker, event: &str, unit: &str, value: i64) {
        let b = &mut maker.builder;
        let labels = vec![(b.string("event"), b.string(event))];
        let unit = b.string(unit);
        let series = b.series(Series { labels, unit, ..Series::default() });
        b.add(RowKey { series, ..RowKey::default() }, 2, value, &[]);
    }

    #[test]
    fn bytes_weigh_what_they_are_and_time_is_counted_in_samples() {
        let mut maker = Maker::default();
        add(&mut maker, "alloc_space", "bytes", 4096);
        let bytes = maker.finish();
        let weight = Weight::of(&bytes);
        assert_eq!((weight.row(&bytes.rows[0]), weight.unit(&bytes)), (4096, "bytes"));
        assert_eq!(crate::flame::build(&bytes, &Default::default()).samples(), 4096);

        let mut maker = Maker::default();
        add(&mut maker, "cycles", "count", -5);
        let cycles = maker.finish();
        let weight = Weight::of(&cycles);
        assert_eq!((weight.row(&cycles.rows[0]), weight.unit(&cycles)), (0, "cycles"));

        maker.stack(REDIS, &[native("main")], 3);
        let cpu = maker.finish();
        assert_eq!((Weight::of(&cpu), Weight::of(&cpu).unit(&cpu)), (Weight::Samples, "samples"));
        // What cannot be added up is counted.
        add(&mut maker, "alloc_space", "bytes", 4096);
        add(&mut maker, "alloc_objects", "count", 2);
        let mixed = maker.finish();
        assert_eq!((Weight::of(&mixed), mixed.samples()), (Weight::Samples, 4));
        assert_eq!(Weight::of(&Profile::default()), Weight::Samples);
    }
}
