//! What the server counts about itself, and its Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::Stats;

/// The kinds of queries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Timeline,
    Flame,
    Truth,
    Labels,
    Export,
    Import,
    Top,
    Diff,
    Functions,
    HeatMap,
    Headline,
    Marks,
    Convert,
    Sql,
    Lanes,
    Source,
    Programs,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Timeline,
        Self::Flame,
        Self::Truth,
        Self::Labels,
        Self::Export,
        Self::Import,
        Self::Top,
        Self::Diff,
        Self::Functions,
        Self::HeatMap,
        Self::Headline,
        Self::Marks,
        Self::Convert,
        Self::Sql,
        Self::Lanes,
        Self::Source,
        Self::Programs,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Flame => "flame",
            Self::Truth => "truth",
            Self::Labels => "labels",
            Self::Export => "export",
            Self::Import => "import",
            Self::Top => "top",
            Self::Diff => "diff",
            Self::Functions => "functions",
            Self::HeatMap => "heatmap",
            Self::Headline => "headline",
            Self::Marks => "marks",
            Self::Convert => "convert",
            Self::Sql => "sql",
            Self::Lanes => "lanes",
            Self::Source => "source",
            Self::Programs => "programs",
        }
    }
}

#[derive(Debug, Default)]
struct PerKind {
    queries: AtomicU64,
    micros: AtomicU64,
    errors: AtomicU64,
}

/// Counters of the server, all since its start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    kinds: [PerKind; Kind::ALL.len()],
    rejected: AtomicU64,
    timed_out: AtomicU64,
    skipped: AtomicU64,
}

impl Counters {
    /// A query that ran to its end.
    pub(super) fn ran(&self, kind: Kind, time: Duration, failed: bool) {
        let counters = &self.kinds[kind as usize];
        counters.queries.fetch_add(1, Ordering::Relaxed);
        counters.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        counters.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// A query turned away because too many were running.
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// A query whose client was told that it takes too long.
    pub(super) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Segments that an answer had to do without.
    pub(super) fn skipped(&self, segments: usize) {
        self.skipped.fetch_add(segments as u64, Ordering::Relaxed);
    }

    /// Prometheus text of all counters, with `stats` and the number of `running` queries as gauges.
    pub(super) fn prometheus(&self, stats: &Stats, running: usize) -> String {
        let mut text = String::new();
        let by_kind = |text: &mut String, name: &str, help: &str, value: fn(&PerKind) -> String| {
            head(text, name, help, "counter");
            for kind in Kind::ALL {
                let value = value(&self.kinds[kind as usize]);
                line(text, format_args!("{name}{{kind=\"{}\"}} {value}", kind.name()));
            }
        };
        by_kind(&mut text, "vesta_queries_total", "Queries that ran to their end.", |k| load(&k.queries));
        by_kind(&mut text, "vesta_query_seconds_total", "Time that queries took.", |k| {
            format!("{:.6}", k.micros.load(Ordering::Relaxed) as f64 / 1e6)
        });
        by_kind(&mut text, "vesta_query_errors_total", "Queries that failed.", |k| load(&k.errors));
        let mut plain = |name: &str, kind: &str, help: &str, value: String| {
            head(&mut text, name, help, kind);
            line(&mut text, format_args!("{name} {value}"));
        };
        let counter = "counter";
        plain(
            "vesta_queries_rejected_total",
            counter,
            "Queries turned away: too many at once.",
            load(&self.rejected),
        );
        plain("vesta_query_timeouts_total", counter, "Queries that took too long.", load(&self.timed_out));
        let help = "Segments that answers had to do without.";
        plain("vesta_query_skipped_segments_total", counter, help, load(&self.skipped));
        plain("vesta_queries_running", "gauge", "Queries running now.", running.to_string());
        plain("vesta_store_segments", "gauge", "Segments in the store.", stats.segments.to_string());
        plain("vesta_store_bytes", "gauge", "Bytes of these segments on disk.", stats.bytes.to_string());
        let help = "Segments and other things in the store that cannot be read.";
        plain("vesta_store_skipped", "gauge", help, stats.skipped.len().to_string());
        text
    }
}

fn load(counter: &AtomicU64) -> String {
    counter.load(Ordering::Relaxed).to_string()
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}
