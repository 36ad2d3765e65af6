//! What the values of a series are, in the words of other formats.

use store::model::{EVENT_CPU, Profile, SeriesId, UNIT_NANOSECONDS};

/// A value type as pprof names it: `cpu` in `nanoseconds`, `alloc_space` in `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueType<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
}

/// CPU time.
pub(crate) const CPU: ValueType<'_> = ValueType { name: EVENT_CPU, unit: UNIT_NANOSECONDS };

/// Events by which CPU time is sampled, as kernels call them.
const CPU_EVENTS: [&str; 4] = [EVENT_CPU, "cpu-clock", "task-clock", "cycles"];

/// Whether an event's samples in nanoseconds are CPU time.
pub(crate) fn is_cpu_event(event: &str) -> bool {
    CPU_EVENTS.contains(&event)
}

impl<'a> ValueType<'a> {
    /// The type of a series' values.
    pub(crate) fn of(profile: &'a Profile, series: SeriesId) -> Self {
        let unit = profile.text(profile.series(series).unit);
        let event = profile.label(series, "event").unwrap_or(EVENT_CPU);
        let name = if unit == UNIT_NANOSECONDS && is_cpu_event(event) { EVENT_CPU } else { event };
        Self { name, unit }
    }
}
