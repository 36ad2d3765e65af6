//! The value types of a pprof file: which of its columns become series, and which one counts their samples.

use store::model::EVENT_CPU;

use super::ImportError;
use super::pprof_tables::{Tables, bad};
use crate::render::values::is_cpu_event;

/// Value types of one file; Go's heap profiles have four.
const TYPES_MAX: usize = 64;

/// What one column of values is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) unit: String,
    /// One sample each so much (0 when unknown), of what, in which unit.
    pub(super) period: (i64, String, String),
    /// The column that counts its samples, if one does.
    counted_by: Option<usize>,
    /// Whether it becomes a series.
    wanted: bool,
}

/// All columns of a file.
#[derive(Clone, Debug)]
pub(super) struct Types {
    columns: Vec<Type>,
    /// The one that viewers show first, by the file's own word.
    default: Option<usize>,
}

impl Types {
    /// The types of a file, of which only `event` is wanted if that is given.
    pub(super) fn new(tables: &Tables<'_>, event: Option<&str>) -> Result<Self, ImportError> {
        let names = tables.value_types()?;
        if names.len() > TYPES_MAX {
            return Err(ImportError::TooLarge(format!("{} value types", names.len())));
        }
        let period = tables.period()?;
        let mut types = Self::of(&names, &period, event);
        let default = tables.default_type()?;
        types.default = names.iter().position(|(name, _)| *name == default);
        if types.columns.iter().any(|of| of.wanted) {
            return Ok(types);
        }
        let names: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
        Err(ImportError::Nothing(match event {
            Some(event) => format!("it has no values of `{event}`, but of {}", names.join(", ")),
            None => "it does not say what its values are".to_owned(),
        }))
    }

    fn of(names: &[(String, String)], period: &(i64, String, String), event: Option<&str>) -> Self {
        // Counts the samples that all other columns weigh.
        let samples =
            names.iter().position(|(name, unit)| unit == "count" && matches!(&**name, "samples" | "sample"));
        let samples = samples.filter(|_| names.len() > 1);
        let same_name = names.iter().any(|(name, _)| *name == period.1);
        let column = |(i, (name, unit)): (usize, &(String, String))| {
            let before = i.checked_sub(1).filter(|before| names[*before].1 == "count");
            let has_period = *unit == period.2 && (*name == period.1 || !same_name);
            Type {
                name: name.clone(),
                unit: unit.clone(),
                period: if has_period { period.clone() } else { (0, String::new(), String::new()) },
                counted_by: if unit == "count" { samples.or(Some(i)) } else { samples.or(before) },
                wanted: Some(i) != samples && event.is_none_or(|event| event == name),
            }
        };
        Self { columns: names.iter().enumerate().map(column).collect(), default: None }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn get(&self, i: usize) -> &Type {
        &self.columns[i]
    }

    /// The column of an event: by its name, or CPU time under another name.
    pub(super) fn of_event(&self, event: &str) -> Option<usize> {
        let named = |name: &str| self.columns.iter().position(|of| of.name == name);
        named(event).or_else(|| named(EVENT_CPU).filter(|_| is_cpu_event(event)))
    }

    /// The one that is seen first, as pprof has it: the file's default, else the last one.
    pub(super) fn main(&self) -> Option<String> {
        let default = self.default.map(|i| &self.columns[i]).filter(|of| of.wanted);
        let main = default.or_else(|| self.columns.iter().rfind(|of| of.wanted));
        main.map(|of| of.name.clone())
    }

    /// What a sample adds: (column, samples, value). Of a sample that names its event, that column; else all
    /// columns that it has values in.
    ///
    /// # Errors
    /// A number of samples below zero, as in the difference of two profiles.
    pub(super) fn parts(
        &self,
        values: &[i64],
        only: Option<usize>,
    ) -> Result<Vec<(usize, u64, i64)>, ImportError> {
        let alone = only.is_some() || self.columns.iter().filter(|of| of.wanted).count() == 1;
        let mut parts = Vec::new();
        for (i, of) in self.columns.iter().enumerate() {
            if !of.wanted || only.is_some_and(|only| only != i) {
                continue;
            }
            let value = values[i];
            // What nobody counted is one sample, or as many less than none as its value says.
            let count = of.counted_by.map_or(value.min(1), |column| values[column]);
            let samples = u64::try_from(count).map_err(|_| {
                bad(format!("{count} `{}`: the difference of two profiles is no profile", of.name))
            })?;
            if value != 0 || (alone && samples > 0) {
                parts.push((i, samples, value));
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[(&str, &str)], period: (i64, &str, &str), event: Option<&str>) -> Types {
        let names: Vec<_> =
            names.iter().map(|(name, unit)| ((*name).to_owned(), (*unit).to_owned())).collect();
        Types::of(&names, &(period.0, period.1.to_owned(), period.2.to_owned()), event)
    }

    #[test]
    fn samples_count_what_the_other_columns_weigh() {
        let go = types(&[("samples", "count"), ("cpu", "nanoseconds")], (10, "cpu", "nanoseconds"), None);
        assert_eq!(go.parts(&[3, 30], None).unwrap(), [(1, 3, 30)]);
        assert_eq!(go.get(1).period.0, 10);
        assert_eq!(go.of_event("cpu-clock"), Some(1));
        // Samples of no time are still samples.
        assert_eq!(go.parts(&[3, 0], None).unwrap(), [(1, 3, 0)]);
        assert_eq!(go.parts(&[0, 0], None).unwrap(), []);
    }

    #[test]
    fn objects_count_the_bytes_after_them() {
        let names = [
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ];
        let heap = types(&names, (524_288, "space", "bytes"), None);
        assert_eq!(heap.parts(&[4, 64, 0, 0], None).unwrap(), [(0, 4, 4), (1, 4, 64)]);
        assert_eq!((heap.get(0).period.0, heap.get(3).period.0), (0, 524_288));
        assert_eq!(heap.main().as_deref(), Some("inuse_space"), "the last one, as pprof has it");
        let heap = Types { default: Some(1), ..heap };
        assert_eq!(heap.main().as_deref(), Some("alloc_space"));
        let heap = types(&names, (524_288, "space", "bytes"), Some("inuse_space"));
        assert_eq!(heap.parts(&[4, 64, 1, 16], None).unwrap(), [(3, 1, 16)]);
    }

    #[test]
    fn a_sample_that_names_its_event_has_values_of_that_only() {
        let both = types(
            &[("samples", "count"), ("cpu", "nanoseconds"), ("off_cpu", "nanoseconds")],
            (10, "cpu", "nanoseconds"),
            None,
        );
        assert_eq!(both.parts(&[2, 20, 0], both.of_event("cpu")).unwrap(), [(1, 2, 20)]);
        assert_eq!(both.parts(&[2, 0, 0], both.of_event("off_cpu")).unwrap(), [(2, 2, 0)]);
        assert_eq!(both.get(2).period.0, 0, "it is cpu's");
        let lone = types(&[("delay", "nanoseconds")], (0, "", ""), None);
        assert_eq!(lone.parts(&[7], None).unwrap(), [(0, 1, 7)]);
    }

    #[test]
    fn there_are_no_less_than_no_samples() {
        let go = types(&[("samples", "count"), ("cpu", "nanoseconds")], (10, "cpu", "nanoseconds"), None);
        let error = go.parts(&[-3, -30], None).unwrap_err().to_string();
        assert!(error.contains("-3 `cpu`: the difference of two profiles is no profile"), "{error}");
        let lone = types(&[("delay", "nanoseconds")], (10, "delay", "nanoseconds"), None);
        assert!(lone.parts(&[-30], None).is_err());
        assert_eq!(go.parts(&[3, -30], None).unwrap(), [(1, 3, -30)], "samples may weigh less than nothing");
        // What nobody asks for is not looked at.
        let both = types(&[("objects", "count"), ("size", "bytes")], (0, "", ""), Some("objects"));
        assert_eq!(both.parts(&[2, -7], None).unwrap(), [(0, 2, 2)]);
    }
}
