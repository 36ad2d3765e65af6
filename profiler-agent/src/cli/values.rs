//! Values of options, as users write them.

use profiler_abi::{SLAB_WORDS, SLABS_MAX};

/// Labels that the agent gives itself; a user's would say two things.
const OWN_LABELS: [&str; 17] = [
    "event",
    "process",
    "exe",
    "cgroup",
    "pid",
    "tid",
    "thread",
    "status",
    "cpu",
    "container",
    "container_runtime",
    "container_name",
    "pod_uid",
    "pod",
    "namespace",
    "unit",
    "command",
];

/// A label that the agent does not give itself.
pub(crate) fn own_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = label(text)?;
    match OWN_LABELS.contains(&&*name) {
        true => Err(format!("`{name}` is a label that Vesta gives itself")),
        false if value.is_empty() => Err(format!("the label `{name}` has no value")),
        false => Ok((name, value)),
    }
}

/// A span of time, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) std::time::Duration);

/// A number of bytes, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// `10s`, `1h30m`, `7d`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    match store::query::parse_span(text) {
        Some(ms) if ms > 0 => Ok(Span(std::time::Duration::from_millis(ms as u64))),
        _ => Err("use a span of time such as 10s, 5m, 2h or 7d".into()),
    }
}

/// `500MB`, `20GB`, powers of 1000; `GiB` and the like, powers of 1024; plain bytes.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    let wrong = || "use a number of bytes such as 500MB, 20GB or 4GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Bytes).ok_or_else(wrong)
}

/// Room for unwind tables: at least the largest of a usual system's programs, at most what the maps can hold.
pub(crate) fn table_bytes(text: &str) -> Result<Bytes, String> {
    const MOST: u64 = SLABS_MAX as u64 * SLAB_WORDS as u64 * 8;
    let number = bytes(text)?;
    if (1 << 20..=MOST).contains(&number.0) {
        Ok(number)
    } else {
        Err(format!("use a number of bytes from 1MiB to {}MiB", MOST >> 20))
    }
}

/// A number of bytes, or 0 for nothing.
pub(crate) fn cache_bytes(text: &str) -> Result<Bytes, String> {
    if text == "0" { Ok(Bytes(0)) } else { bytes(text) }
}

/// `https://profiler.firefox.com`, as browsers send it: no path, and no `*`, for profiles are not for everyone.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(text.to_owned()),
        _ => Err("use a page's origin such as https://profiler.firefox.com, without a path".into()),
    }
}

/// `team=payments`; a name that selectors can ask for.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let wrong = || "use NAME=VALUE, a name of letters, digits, `_`, `.` and `-`".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if !ui::import::is_label_name(name) {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `0x1234` or `1234`.
pub(crate) fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "use a hexadecimal address such as 0x26f40".into())
}

/// The kernel takes up to `perf_event_max_sample_rate`, 100,000 at most by default; beyond 10,000 the sampling
/// itself is what one sees.
pub(crate) fn frequency(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(hz @ 1..=10_000) => Ok(hz),
        _ => Err("use a whole number from 1 to 10000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_as_users_write_them() {
        assert_eq!(bytes("20GB"), Ok(Bytes(20_000_000_000)));
        assert_eq!(bytes("4GiB"), Ok(Bytes(4 << 30)));
        for wrong in ["", "GB", "0", "1XB", "-1", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(table_bytes("1MiB"), Ok(Bytes(1 << 20)));
        assert_eq!(table_bytes("256MiB"), Ok(Bytes(256 << 20)));
        assert_eq!((cache_bytes("0"), cache_bytes("1GB")), (Ok(Bytes(0)), Ok(Bytes(1_000_000_000))));
        for wrong in ["1MB", "257MiB", "1TB", "much"] {
            assert!(table_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(span("1h30m"), Ok(Span(std::time::Duration::from_secs(5400))));
        assert_eq!(span("250ms"), Ok(Span(std::time::Duration::from_millis(250))));
        for wrong in ["", "10", "s", "0s", "1y", "-5s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!(label("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        assert!(label("team").is_err() && label("=x").is_err() && label("a b=x").is_err());
        assert_eq!(frequency("99"), Ok(99));
        assert!(frequency("0").is_err() && frequency("10001").is_err() && frequency("x").is_err());
    }
}
