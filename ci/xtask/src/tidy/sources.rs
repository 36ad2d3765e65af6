//! Rules for the text of files.

use super::{Findings, Source};

/// Past this a file wants to be two.
const MOST_LINES: usize = 600;

/// Endings of files that people write and read as code.
const CODE: [&str; 10] = ["rs", "ts", "tsx", "js", "mjs", "css", "c", "cpp", "h", "py"];

/// Endings of what the page and its tests are written in.
const SCRIPTS: [&str; 4] = ["ts", "tsx", "js", "mjs"];

/// Words that Rust code must not hold (each broken in two, so that this file keeps its own rule), and why.
const NOT_IN_RUST: [(&str, &str); 5] = [
    (concat!("#[", "allow("), "an exception is `#[expect(…, reason = …)]`, which ends when it is not needed"),
    (
        concat!("#![", "allow("),
        "an exception is `#![expect(…, reason = …)]`, which ends when it is not needed",
    ),
    (concat!("todo", "!("), "unfinished"),
    (concat!("unimplemented", "!("), "unfinished"),
    (concat!("#[", "ignore"), "a test that does not run is no test"),
];

/// The same for the page.
const NOT_IN_SCRIPTS: [(&str, &str); 2] = [
    (concat!(".", "skip("), "a test that does not run is no test"),
    (concat!(".", "only("), "the other tests do not run"),
];

/// Where the one public registry of each kind is; anything else is somebody's own.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";
const NPM: &str = concat!("https://registry.", "npmjs.org/");

/// Settings that send a package manager to another place: part of a file's name, and what a line there begins with.
const REDIRECTIONS: [(&str, &str); 7] = [
    (".npmrc", "registry"),
    (".npmrc", "//"),
    (".cargo/config", "[source"),
    (".cargo/config", "[registries"),
    ("requirements", "--index-url"),
    ("requirements", "--extra-index-url"),
    ("requirements", "--find-links"),
];

/// Checks every file.
pub(super) fn check(sources: &[Source]) -> Findings {
    sources.iter().flat_map(check_one).collect()
}

fn check_one(source: &Source) -> Findings {
    let mut findings = Findings::new();
    let path = &source.path;
    if is_code(path) {
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            findings.push(format!("{path}: {lines} lines, more than {MOST_LINES}"));
        }
    }
    for (index, line) in source.text.lines().enumerate() {
        if let Some(reason) = forbidden(path, line).or_else(|| foreign_registry(path, line)) {
            findings.push(format!("{path}:{}: {reason}", index + 1));
        }
    }
    findings
}

fn is_code(path: &str) -> bool {
    CODE.contains(&ending(path))
}

fn ending(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn forbidden(path: &str, line: &str) -> Option<String> {
    let words = match ending(path) {
        "rs" => &NOT_IN_RUST[..],
        script if SCRIPTS.contains(&script) => &NOT_IN_SCRIPTS,
        _ => return None,
    };
    let (word, why) = words.iter().find(|(word, _)| line.contains(word))?;
    Some(format!("`{word}`: {why}"))
}

fn foreign_registry(path: &str, line: &str) -> Option<String> {
    let line = line.trim();
    let value = |start: &str| line.strip_prefix(start).map(|rest| rest.trim_matches([' ', '"', ',']));
    let foreign = if path.ends_with("Cargo.lock") {
        value("source = ").is_some_and(|source| source != CRATES)
    } else if path.ends_with("package-lock.json") {
        value("\"resolved\": ").is_some_and(|source| !source.starts_with(NPM))
    } else {
        REDIRECTIONS.iter().any(|(file, start)| path.contains(file) && line.starts_with(start))
    };
    foreign.then(|| format!("packages come from the public registries only: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Findings {
        check(&[Source { path: path.into(), text: text.into() }])
    }

    #[test]
    fn a_long_file_is_found_but_a_long_lock_file_is_not() {
        let long = "x\n".repeat(601);
        assert_eq!(findings("a/b.rs", &long), ["a/b.rs: 601 lines, more than 600"]);
        assert!(findings("a/b.rs", &long[2..]).is_empty());
        assert!(findings("package-lock.json", &long).is_empty());
    }

    #[test]
    fn unfinished_or_silenced_code_is_found_with_its_line() {
        let rust = NOT_IN_RUST.map(|(word, _)| ("a.rs", word));
        let scripts = NOT_IN_SCRIPTS.map(|(word, _)| ("a.test.ts", word));
        for (path, word) in rust.into_iter().chain(scripts) {
            let found = findings(path, &format!("fn a() {{\n    it{word}\n"));
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].starts_with(&format!("{path}:2: ")), "{found:?}");
            assert!(findings("a.md", word).is_empty());
        }
        assert!(findings("a.rs", concat!("values.", "skip(1)")).is_empty());
    }

    #[test]
    fn packages_from_elsewhere_are_found() {
        let lock = |source: &str| findings("Cargo.lock", &format!("source = \"{source}\"\n"));
        assert!(lock(CRATES).is_empty());
        assert_eq!(lock("git+https://example.com/x").len(), 1);
        let lock =
            |source: &str| findings("ui/web/package-lock.json", &format!("  \"resolved\": \"{source}\",\n"));
        assert!(lock(&format!("{NPM}vite")).is_empty());
        assert_eq!(lock("http://10.0.0.1/vite").len(), 1);
        assert_eq!(findings("ui/web/.npmrc", "save-exact=true\nregistry=http://x\n").len(), 1);
        assert_eq!(findings(".cargo/config.toml", "[source.crates-io]\n").len(), 1);
    }
}
