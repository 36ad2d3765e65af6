//! Licences: what we are built from may be used as `ci/deny.toml` says. `cargo deny` reads the same file and checks
//! more, but is itself a long build; this much is checked every time.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Findings;

/// The list of licences that are fine.
pub(super) const FILE: &str = "ci/deny.toml";

/// Checks every package that `cargo metadata` knows.
pub(super) fn check(everything: &Value, file: &Path) -> Result<Findings> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(compare(everything, &allowed(&text)))
}

fn compare(everything: &Value, allowed: &[&str]) -> Findings {
    let mut findings = Findings::new();
    let mut used = vec![false; allowed.len()];
    for package in everything["packages"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        for (index, allowed) in allowed.iter().enumerate() {
            // `cargo deny` wants a licence with an exception to be named as a whole.
            let is_named = allowed.contains(" WITH ") && licence.contains(allowed);
            used[index] |= is_named || words(licence).any(|word| word == *allowed);
        }
        if !satisfied(licence, allowed) {
            findings.push(format!("{name}: the licence `{licence}` is not among those in {FILE}"));
        }
    }
    let unused = allowed.iter().zip(used).filter(|(_, used)| !used);
    findings.extend(unused.map(|(licence, _)| format!("{FILE}: no package has the licence {licence}")));
    findings
}

/// The strings of the list `allow` in the table `[licenses]`.
fn allowed(text: &str) -> Vec<&str> {
    let table = text.split("[licenses]").nth(1).unwrap_or_default();
    let list = table.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    list.lines().filter_map(|line| line.split('"').nth(1)).collect()
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split([' ', '(', ')', '/']).filter(|word| !word.is_empty())
}

/// Whether an SPDX expression holds when these licences are accepted. AND binds stronger than OR; `/` is an old way to
/// write OR; what cannot be read does not hold.
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest, allowed).is_some_and(|holds| holds && rest.is_empty())
}

fn either(tokens: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut holds = both(tokens, allowed)?;
    while next_is(tokens, "OR") {
        holds |= both(tokens, allowed)?;
    }
    Some(holds)
}

fn both(tokens: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    let mut holds = single(tokens, allowed)?;
    while next_is(tokens, "AND") {
        holds &= single(tokens, allowed)?;
    }
    Some(holds)
}

fn single(tokens: &mut &[&str], allowed: &[&str]) -> Option<bool> {
    if next_is(tokens, "(") {
        let holds = either(tokens, allowed)?;
        return next_is(tokens, ")").then_some(holds);
    }
    let (name, rest) = tokens.split_first()?;
    *tokens = rest;
    if next_is(tokens, "WITH") {
        let (_exception, rest) = tokens.split_first()?;
        *tokens = rest;
    }
    // An exception only adds permissions.
    Some(allowed.contains(name))
}

fn next_is(tokens: &mut &[&str], word: &str) -> bool {
    match tokens.split_first() {
        Some((first, rest)) if *first == word => {
            *tokens = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALLOWED: [&str; 3] = ["MIT", "Apache-2.0", "BSD-3-Clause"];

    #[test]
    fn expressions_are_read_as_spdx_has_them() {
        for (expression, holds) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT AND BSD-3-Clause", true),
            ("(GPL-3.0 OR MIT) AND Zlib", false),
            ("(MIT OR Zlib) AND BSD-3-Clause", true),
            ("Apache-2.0 WITH LLVM-exception OR Zlib", true),
            ("MIT MIT", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &ALLOWED), holds, "{expression}");
        }
    }

    #[test]
    fn a_new_licence_and_a_needless_permission_are_found() {
        let packages = json!({"packages": [
            {"name": "a", "license": "MIT OR Apache-2.0"},
            {"name": "b", "license": "GPL-3.0"},
            {"name": "c", "license": null},
        ]});
        let findings = compare(&packages, &ALLOWED);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("b: ") && findings[1].starts_with("c: "));
        assert!(findings[2].contains("BSD-3-Clause"));
    }

    #[test]
    fn the_list_is_read_from_its_table() {
        let text =
            "[advisories]\nx = [\"a\"]\n[licenses]\nallow = [\n  \"MIT\", # ours\n  \"Zlib\",\n]\n[bans]\n";
        assert_eq!(allowed(text), ["MIT", "Zlib"]);
    }
}
