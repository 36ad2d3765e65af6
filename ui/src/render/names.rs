//! How frames are called in formats that have room for one name only.

use store::model::FrameKind;

use crate::flame::NodeKind;

/// A frame's name: the reason of a truncation stands in brackets, so that it is not taken for a function.
pub(crate) fn plain(kind: NodeKind, function: &str) -> String {
    match kind {
        NodeKind::Frame(FrameKind::Truncated) if !function.starts_with('[') => format!("[{function}]"),
        NodeKind::Group if function.is_empty() => "[none]".to_owned(),
        _ => function.to_owned(),
    }
}

/// Text on one line, without control characters: names come from the machine's processes and end up in
/// terminals and XML.
pub(crate) fn printable(text: &str) -> String {
    let unprintable = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if unprintable(c) { ' ' } else { c }).collect()
}

/// A frame's name within a folded line, with the suffix by which `stackcollapse-perf --all` marks its kind:
/// `_[k]` kernel, `_[i]` inlined, `_[j]` compiled at run time.
///
/// Readers split lines at `;`, take the last word as the count, and ignore lines that start with `# `; so
/// `;` becomes `:`, control characters a space, and a space that would make a count or a comment `_`.
pub(super) fn folded(kind: NodeKind, function: &str) -> String {
    let suffix = match kind {
        NodeKind::Frame(FrameKind::Kernel) => "_[k]",
        NodeKind::Frame(FrameKind::Inlined) => "_[i]",
        NodeKind::Frame(FrameKind::Jit) => "_[j]",
        _ => "",
    };
    let mut name = printable(&plain(kind, function)).replace(';', ":");
    let inner = name.trim();
    if inner.len() != name.len() {
        name = inner.to_owned();
    }
    if name.is_empty() {
        name.push_str("[none]");
    }
    if name.starts_with("# ") {
        name.replace_range(1..2, "_");
    }
    if name == "#" {
        name.push('_');
    }
    if let Some(space) = name.rfind(' ')
        && name[space + 1..].chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        name.replace_range(space..space + 1, "_");
    }
    name.push_str(suffix);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_a_folded_line() {
        let native = NodeKind::Frame(FrameKind::Native);
        for (name, folded_name) in [
            ("<[u8; 8] as Debug>::fmt", "<[u8: 8] as Debug>::fmt"),
            ("a\nb\tc", "a b c"),
            ("worker 12", "worker_12"),
            ("v 1.5", "v_1.5"),
            ("# note", "#_note"),
            ("#", "#_"),
            ("  padded ", "padded"),
            (" ", "[none]"),
            ("operator new(unsigned long)", "operator new(unsigned long)"),
        ] {
            assert_eq!(folded(native, name), folded_name);
        }
    }

    #[test]
    fn kinds_have_the_usual_suffixes() {
        let name = |kind| folded(NodeKind::Frame(kind), "f");
        assert_eq!(name(FrameKind::Kernel), "f_[k]");
        assert_eq!(name(FrameKind::Inlined), "f_[i]");
        assert_eq!(name(FrameKind::Jit), "f_[j]");
        assert_eq!(name(FrameKind::Interpreted), "f");
        assert_eq!(name(FrameKind::Truncated), "[f]");
        assert_eq!(folded(NodeKind::Group, ""), "[none]");
    }
}
