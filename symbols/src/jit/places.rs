//! Source files and lines in the names that runtimes give.
//!
//! V8 writes `JS:*name path:line:column`, Python `py::name:path`. Whoever looks for a file wants it as a file.

use super::CodeName;

/// What V8 puts before the names of functions of a script.
const OF_SCRIPTS: [&str; 8] = [
    "JS:",
    "LazyCompile:",
    "Function:",
    "Script:",
    "Eval:",
    "RegExp:",
    "Interpreter:",
    "InterpretedFunction:",
];

/// The name, and the place in it if there is one.
pub(super) fn split(raw: String) -> CodeName {
    if let Some((function, file, line)) = of_script(&raw) {
        return CodeName { function, file, line, raw };
    }
    if let Some((function, file)) = of_python(&raw) {
        return CodeName { function, file, line: 0, raw };
    }
    CodeName { function: raw.clone(), file: String::new(), line: 0, raw }
}

fn of_script(raw: &str) -> Option<(String, String, u32)> {
    if !OF_SCRIPTS.iter().any(|prefix| raw.starts_with(prefix)) {
        return None;
    }
    // Paths may have spaces, the name may not, but for `get` and `set` before those of properties.
    let (rest, column) = raw.rsplit_once(':')?;
    let (rest, line) = rest.rsplit_once(':')?;
    let (line, _): (u32, u32) = (line.parse().ok()?, column.parse().ok()?);
    let mut space = rest.find(' ')?;
    let is_accessor = |name: &str| {
        [":get", "~get", "*get", "^get", "+get", ":set", "~set", "*set", "^set", "+set"]
            .iter()
            .any(|accessor| name.ends_with(accessor))
    };
    if is_accessor(&rest[..space]) {
        space = rest[space + 1..].find(' ').map_or(space, |next| space + 1 + next);
    }
    let file = rest[space + 1..].trim_start_matches("file://");
    (!file.is_empty()).then(|| (rest[..space].to_owned(), file.to_owned(), line))
}

fn of_python(raw: &str) -> Option<(String, String)> {
    let rest = raw.strip_prefix("py::")?;
    let at = [":/", ":<"].iter().filter_map(|start| rest.find(start)).min()?;
    Some((format!("py::{}", &rest[..at]), rest[at + 1..].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> (String, String, u32) {
        #[expect(clippy::unnecessary_to_owned, reason = "this is no method of text")]
        let name = split(raw.to_owned());
        assert_eq!(name.raw, raw);
        (name.function, name.file, name.line)
    }

    fn found(function: &str, file: &str, line: u32) -> (String, String, u32) {
        (function.to_owned(), file.to_owned(), line)
    }

    #[test]
    fn javascript_names_give_their_file_and_line() {
        assert_eq!(parts("JS:*fib /srv/app/a b.js:12:34"), found("JS:*fib", "/srv/app/a b.js", 12));
        assert_eq!(parts("JS:~ file:///srv/m.mjs:1:1"), found("JS:~", "/srv/m.mjs", 1));
        assert_eq!(
            parts("LazyCompile:~get size node:internal/url:7:9"),
            found("LazyCompile:~get size", "node:internal/url", 7)
        );
        assert_eq!(parts("Builtin:ArrayMap"), found("Builtin:ArrayMap", "", 0));
        assert_eq!(parts("JS:*fib"), found("JS:*fib", "", 0));
        assert_eq!(parts("JS:*fib :x:y"), found("JS:*fib :x:y", "", 0));
    }

    #[test]
    fn python_names_give_their_file() {
        assert_eq!(parts("py::spin:/srv/app.py"), found("py::spin", "/srv/app.py", 0));
        assert_eq!(
            parts("py::<module>:<frozen importlib._bootstrap>"),
            found("py::<module>", "<frozen importlib._bootstrap>", 0)
        );
        assert_eq!(parts("py::bytecode"), found("py::bytecode", "", 0));
    }

    #[test]
    fn other_names_stay_as_they_are() {
        assert_eq!(parts("Lcom/example/App;::run"), found("Lcom/example/App;::run", "", 0));
    }
}
