//! Which crate may depend on which, and who alone knows a foreign crate. ARCHITECTURE.md says why.

use serde_json::Value;

use super::{Findings, Source};

/// A package of ours, and the packages of ours it may use. Dependencies point one way.
const ARROWS: [(&str, &[&str]); 9] = [
    ("profiler-agent", &["ui", "store", "symbols", "profiler-abi", "profiler-unwind"]),
    ("profiler-bpf", &["profiler-unwind", "profiler-abi"]),
    ("profiler-unwind", &["profiler-abi"]),
    ("profiler-abi", &[]),
    ("symbols", &["profiler-abi", "profiler-unwind"]),
    ("store", &[]),
    ("ui", &["store"]),
    ("testprogs", &[]),
    ("xtask", &["testprogs"]),
];

/// Test programs: everyone's in tests, and no one's in what is shipped.
const FOR_TESTS: &str = "testprogs";

/// A foreign crate (a name that ends in `*`: all that begin so), and the one package that may depend on it.
const OWNERS: [(&str, &str); 12] = [
    ("aya", "profiler-agent"),
    ("aya-ebpf", "profiler-bpf"),
    ("blazesym", "symbols"),
    ("addr2line", "symbols"),
    ("iced-x86", "symbols"),
    ("reqwest", "profiler-agent"),
    ("axum", "ui"),
    ("tower-http", "ui"),
    ("arrow*", "store"),
    ("parquet", "store"),
    ("object_store", "store"),
    ("rust-embed", "ui"),
];

/// Crates whose name may stand in one folder of their package only.
const ROOMS: [(&str, &str, &str); 7] = [
    ("aya::", "profiler-agent/src/", "profiler-agent/src/bpf"),
    ("blazesym::", "symbols/src/", "symbols/src/symbolizer"),
    ("iced_x86::", "symbols/src/", "symbols/src/unwind_rows/followed"),
    ("addr2line::", "symbols/src/", "symbols/src/symbolizer"),
    ("reqwest::", "profiler-agent/src/", "profiler-agent/src/http_client"),
    ("axum::", "ui/src/", "ui/src/http"),
    ("object_store::", "store/src/", "store/src/remote"),
];

/// Checks the manifests, as `cargo metadata --no-deps` tells them.
pub(super) fn check(workspace: &Value) -> Findings {
    let packages = workspace["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut findings = Findings::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("{name}: not in the list of arrows in ci/xtask/src/tidy/arrows.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let on = dependency["name"].as_str().unwrap_or_default();
            let in_tests = dependency["kind"] == "dev";
            findings.extend(forbidden(name, allowed, on, in_tests));
        }
    }
    findings
}

fn forbidden(name: &str, allowed: &[&str], on: &str, in_tests: bool) -> Option<String> {
    let ours = ARROWS.iter().any(|(known, _)| *known == on);
    if ours && !allowed.contains(&on) && !(on == FOR_TESTS && in_tests) {
        return Some(format!("{name}: must not depend on {on}"));
    }
    let (_, owner) = OWNERS.iter().find(|(pattern, _)| matches(pattern, on))?;
    (*owner != name).then(|| format!("{name}: must not depend on {on}, which is {owner}'s alone"))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Checks that a foreign crate stays in its room of the package that owns it.
pub(super) fn check_uses(sources: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for (word, house, room) in ROOMS {
        for source in sources.iter().filter(|s| s.path.starts_with(house) && !s.path.starts_with(room)) {
            for (number, line) in source.text.lines().enumerate() {
                if !line.trim_start().starts_with("//") && has_word(line, word) {
                    findings.push(format!("{}:{}: `{word}` belongs in {room}", source.path, number + 1));
                }
            }
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part_of_a_name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(name: &str, on: &str, kind: Option<&str>) -> Findings {
        check(&json!({"packages": [{"name": name, "dependencies": [{"name": on, "kind": kind}]}]}))
    }

    #[test]
    fn dependencies_point_one_way() {
        assert!(with("ui", "store", None).is_empty());
        assert_eq!(with("store", "ui", None), ["store: must not depend on ui"]);
        assert_eq!(with("profiler-abi", "store", Some("build")), ["profiler-abi: must not depend on store"]);
    }

    #[test]
    fn test_programs_are_for_tests() {
        assert!(with("symbols", "testprogs", Some("dev")).is_empty());
        assert_eq!(with("symbols", "testprogs", None), ["symbols: must not depend on testprogs"]);
    }

    #[test]
    fn a_foreign_crate_has_one_owner() {
        assert!(with("store", "arrow-array", None).is_empty());
        assert!(with("ui", "arrow-array", Some("dev"))[0].contains("store's alone"));
        assert!(with("ui", "aya", None)[0].contains("profiler-agent's alone"));
        assert!(with("ui", "aya-tool", None).is_empty());
    }

    #[test]
    fn a_package_nobody_thought_of_is_a_finding() {
        assert!(with("surprise", "anyhow", None)[0].contains("not in the list"));
    }

    #[test]
    fn a_foreign_crate_stays_in_its_room() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let clean =
            [source("ui/src/http/mod.rs", "use axum::Router;"), source("ui/src/flame.rs", "// axum::Router")];
        assert!(check_uses(&clean).is_empty());
        let findings = check_uses(&[source("ui/src/flame.rs", "\nuse axum::Router;")]);
        assert_eq!(findings, ["ui/src/flame.rs:2: `axum::` belongs in ui/src/http"]);
        assert!(check_uses(&[source("ui/src/flame.rs", "my_axum::x crate::axum::x")]).is_empty());
    }
}
