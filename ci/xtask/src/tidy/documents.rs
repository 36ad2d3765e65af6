//! Rules for what is written about the project: it names what is there, and its links lead somewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, Source};
use crate::paths;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// What one sits down and reads.
const MOST_LINES: usize = 300;

const OPERATIONS: &str = "docs/operations.md";

/// Checks ARCHITECTURE.md, the list of metrics, and the links of every document.
pub(super) fn check(sources: &[Source], workspace: &Value) -> Findings {
    let mut findings = match sources.iter().find(|source| source.path == ARCHITECTURE) {
        Some(source) => architecture(&source.text, &folders(sources), &packages(workspace)),
        None => vec![format!("{ARCHITECTURE}: missing")],
    };
    findings.extend(metrics(sources));
    let documents = sources.iter().filter(|source| source.path.ends_with(".md"));
    findings.extend(
        documents.flat_map(|document| dead_links(document, |path| paths::root().join(path).exists())),
    );
    findings
}

fn architecture(text: &str, folders: &BTreeSet<&str>, packages: &[&str]) -> Findings {
    let mut findings = Findings::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(format!("{ARCHITECTURE}: {lines} lines, more than {MOST_LINES}"));
    }
    let missing_folders = folders.iter().filter(|folder| !text.contains(&format!("{folder}/")));
    findings
        .extend(missing_folders.map(|folder| format!("{ARCHITECTURE}: does not name the folder {folder}/")));
    let missing_packages = packages.iter().filter(|package| !text.contains(**package));
    findings.extend(
        missing_packages.map(|package| format!("{ARCHITECTURE}: does not name the package {package}")),
    );
    findings
}

/// Folders of the top level, those that a plain `ls` shows.
fn folders(sources: &[Source]) -> BTreeSet<&str> {
    let folders = sources.iter().filter_map(|source| source.path.split_once('/'));
    folders.map(|(folder, _)| folder).filter(|folder| !folder.starts_with('.')).collect()
}

fn packages(workspace: &Value) -> Vec<&str> {
    let packages = workspace["packages"].as_array().map_or(&[][..], Vec::as_slice);
    packages.iter().filter_map(|package| package["name"].as_str()).collect()
}

/// Metrics that are exported and not documented, or the other way round.
fn metrics(sources: &[Source]) -> Findings {
    let exporters =
        sources.iter().filter(|source| source.path.ends_with(".rs") && !source.path.starts_with("ci/"));
    let exported: BTreeSet<&str> = exporters.flat_map(|source| metric_names(&source.text, "\"")).collect();
    let operations = sources.iter().filter(|source| source.path == OPERATIONS);
    let documented: BTreeSet<&str> = operations.flat_map(|source| metric_names(&source.text, "`")).collect();
    let unsaid =
        exported.difference(&documented).map(|name| format!("{OPERATIONS}: does not explain {name}"));
    let gone = documented.difference(&exported).map(|name| format!("{OPERATIONS}: {name} is not exported"));
    unsaid.chain(gone).collect()
}

/// Names that begin right after this quotation mark.
fn metric_names<'a>(text: &'a str, quote: &str) -> Vec<&'a str> {
    const PREFIX: &str = "vesta_";
    let starts = text.match_indices(PREFIX).map(|(at, _)| at).filter(|at| text[..*at].ends_with(quote));
    let name_at = |at: usize| {
        let rest = &text[at..];
        &rest[..rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len())]
    };
    starts.map(name_at).filter(|name| *name != PREFIX).collect()
}

fn dead_links(document: &Source, exists: impl Fn(&str) -> bool) -> Findings {
    let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Findings::new();
    for (index, line) in document.text.lines().enumerate() {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split(['#', ' ']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !exists(format!("{folder}/{target}").trim_start_matches('/')) {
                findings.push(format!("{}:{}: the link to {target} leads nowhere", document.path, index + 1));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_and_package_is_named() {
        let folders = BTreeSet::from(["store", "docs"]);
        assert!(architecture("`store/` holds store, `docs/` words", &folders, &["store"]).is_empty());
        let findings = architecture("store", &folders, &["store", "ui"]);
        let expected =
            ["does not name the folder docs/", "does not name the folder store/", "name the package ui"];
        assert_eq!(findings.len(), 3);
        for (finding, part) in findings.iter().zip(expected) {
            assert!(finding.contains(part), "{finding}");
        }
    }

    #[test]
    fn an_architecture_that_nobody_reads_to_the_end_is_found() {
        assert_eq!(architecture(&"x\n".repeat(301), &BTreeSet::new(), &[]).len(), 1);
        assert!(architecture(&"x\n".repeat(300), &BTreeSet::new(), &[]).is_empty());
    }

    #[test]
    fn metrics_are_what_the_document_says() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let code =
            source("ui/src/a.rs", r#"m("vesta_bytes"); m("vesta_lost_total{reason=\"x\"}"); m("vesta_");"#);
        let document =
            source(OPERATIONS, "| `vesta_bytes`, `vesta_lost_total{reason}` | `vesta-data.json` |");
        assert!(metrics(&[source("a.rs", &code.text), document]).is_empty());
        let document = source(OPERATIONS, "`vesta_bytes` `vesta_cats`");
        let expected = ["does not explain vesta_lost_total", "vesta_cats is not exported"];
        let found = metrics(&[code, document]);
        assert_eq!(found, expected.map(|text| format!("{OPERATIONS}: {text}")));
    }

    #[test]
    fn links_are_followed_from_the_document_s_folder() {
        let text = "[a](b.md#part) [w](https://example.com/x) [s](#part)\n![p](../page.png)";
        let document = Source { path: "docs/adr/a.md".into(), text: text.into() };
        let known = ["docs/adr/b.md", "docs/adr/../page.png"];
        assert!(dead_links(&document, |path| known.contains(&path)).is_empty());
        let findings = dead_links(&document, |path| path == known[0]);
        assert_eq!(findings, ["docs/adr/a.md:2: the link to ../page.png leads nowhere"]);
    }

    #[test]
    fn hidden_folders_need_no_name() {
        let source = |path: &str| Source { path: path.into(), text: String::new() };
        let sources = [source(".cargo/config.toml"), source("ci/a"), source("ci/b/c"), source("README.md")];
        assert_eq!(folders(&sources), BTreeSet::from(["ci"]));
    }
}
