//! Selectors: which samples, by their labels.

use std::collections::BTreeSet;

use regex::Regex;

use super::parse;

/// An expression over labels, e.g. `process="redis-server", status!="complete"`. The empty selector selects
/// everything. A label that is not there is the empty string.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    text: String,
    expr: Option<Expr>,
}

/// Why a selector was refused; shown with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// One sentence.
    pub message: String,
    /// The selector as given.
    pub text: String,
    /// Where in it, in characters from the start.
    pub at: usize,
}

impl std::error::Error for SelectorError {}

impl std::fmt::Display for SelectorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, at) = self.excerpt();
        write!(f, "bad selector: {}\n  {line}\n  {:>2$}", self.message, '^', at + 1)
    }
}

impl SelectorError {
    /// The text around the place, as much as fits on a line, and where the place is in it. One column per character, so
    /// that the caret stands right.
    fn excerpt(&self) -> (String, usize) {
        const AROUND: usize = 60;
        let from = self.at.saturating_sub(AROUND);
        let all = self.text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut line: String = all.skip(from).take(2 * AROUND).collect();
        if self.text.chars().count() > from + 2 * AROUND {
            line.push('…');
        }
        if from == 0 { (line, self.at) } else { (format!("…{line}"), self.at - from + 1) }
    }
}

impl Selector {
    /// The selector of everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Reads a selector; the grammar stands in docs/formats.md.
    ///
    /// # Errors
    /// When the text does not follow the grammar, a regular expression is bad or too large, or the text is
    /// longer than 16 KiB.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self { text: text.to_owned(), expr: parse::parse(text)? })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it selects everything.
    pub fn is_all(&self) -> bool {
        self.expr.is_none()
    }

    /// The labels that it looks at.
    pub fn labels(&self) -> BTreeSet<&str> {
        let mut labels = BTreeSet::new();
        if let Some(expr) = &self.expr {
            expr.labels(&mut labels);
        }
        labels
    }

    /// Whether it looks at a label.
    pub(crate) fn asks_for(&self, label: &str) -> bool {
        self.expr.as_ref().is_some_and(|expr| expr.asks_for(label))
    }

    /// Whether any samples may be selected whose labels have one of the values that `values` lists; none where it does not
    /// know them.
    pub(crate) fn may_select<'a>(&self, values: &dyn Fn(&str) -> Option<&'a [String]>) -> bool {
        self.expr.as_ref().is_none_or(|expr| expr.may_select(values))
    }

    /// Whether samples with these labels are selected; none when that hangs on labels `lookup` does not know.
    pub(super) fn eval<'a>(&self, lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>) -> Option<bool> {
        self.expr.as_ref().map_or(Some(true), |expr| expr.eval(lookup))
    }
}

/// The value of a label.
pub(super) type Label<'a> = std::borrow::Cow<'a, str>;

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Match { label: String, test: Test, negated: bool },
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equals(String),
    /// Anchored at both ends.
    Matches(Regex),
}

impl Expr {
    fn labels<'a>(&'a self, into: &mut BTreeSet<&'a str>) {
        match self {
            Self::Match { label, .. } => drop(into.insert(label)),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.labels(into)),
        }
    }

    fn asks_for(&self, name: &str) -> bool {
        match self {
            Self::Match { label, .. } => label == name,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.asks_for(name)),
        }
    }

    fn may_select<'a>(&self, values: &dyn Fn(&str) -> Option<&'a [String]>) -> bool {
        match self {
            Self::Match { label, test, negated } => {
                values(label).is_none_or(|values| values.iter().any(|value| test.hits(value) != *negated))
            }
            Self::All(parts) => parts.iter().all(|part| part.may_select(values)),
            Self::Any(parts) => parts.iter().any(|part| part.may_select(values)),
        }
    }

    fn eval<'a>(&self, lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>) -> Option<bool> {
        match self {
            Self::Match { label, test, negated } => Some(test.hits(&lookup(label)?) != *negated),
            Self::All(parts) => decide(parts, false, lookup),
            Self::Any(parts) => decide(parts, true, lookup),
        }
    }
}

impl Test {
    fn hits(&self, value: &str) -> bool {
        match self {
            Self::Equals(text) => text == value,
            Self::Matches(regex) => regex.is_match(value),
        }
    }
}

/// One part that evaluates to `decisive` decides; one that is unknown leaves the whole unknown.
fn decide<'a>(
    parts: &[Expr],
    decisive: bool,
    lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>,
) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.eval(lookup) {
            Some(value) if value == decisive => return Some(decisive),
            None => result = None,
            Some(_) => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Evaluates over labels written as `name=value`; those that start with `?` are not known yet.
    fn eval(selector: &str, labels: &[&str]) -> Option<bool> {
        let selector = Selector::parse(selector).unwrap_or_else(|error| panic!("{error}"));
        selector.eval(&mut |label| {
            let mut pairs = labels.iter().filter_map(|pair| pair.split_once('='));
            match pairs.find(|(name, _)| name.trim_start_matches('?') == label) {
                Some((name, _)) if name.starts_with('?') => None,
                Some((_, value)) => Some(value.to_owned().into()),
                None => Some("".into()),
            }
        })
    }

    #[test]
    fn matchers_compare_whole_values() {
        let labels = ["process=redis-server", "exe=/usr/bin/redis"];
        for (selector, expected) in [
            (r#"process="redis-server""#, true),
            (r#"process='redis-server'"#, true),
            (r#"process="redis""#, false),
            (r#"process!="redis""#, true),
            (r#"process=~"redis""#, false),
            (r#"process=~"redis.*""#, true),
            (r#"process=~"nginx|redis-server""#, true),
            (r#"process=~"nginx|redis""#, false),
            (r#"process!~"redis-.*""#, false),
            (r#"exe=~"/usr/bin/\w+""#, true),
            (r#"exe=~"/usr/bin/\\w+""#, true),
            (r#"nosuch="""#, true),
            (r#"nosuch!="""#, false),
            (r#"nosuch=~".*""#, true),
            (r#"nosuch=~".+""#, false),
        ] {
            assert_eq!(eval(selector, &labels), Some(expected), "{selector}");
        }
    }

    #[test]
    fn and_binds_closer_than_or_and_parentheses_closest() {
        let labels = ["a=1", "b=2"];
        for (selector, expected) in [
            (r#"a="1", b="2""#, true),
            (r#"a="1" and b="3""#, false),
            (r#"a="1" or b="3" and a="9""#, true),
            (r#"(a="1" or b="3") and a="9""#, false),
            (r#"{a="1", b="2",}"#, true),
            (r#"  { }  "#, true),
            ("", true),
            (r#"(((a="1")))"#, true),
            (r#"a="1",(b="3" or b="2"),"#, true),
        ] {
            assert_eq!(eval(selector, &labels), Some(expected), "{selector}");
        }
    }

    #[test]
    fn labels_not_known_yet_leave_open_only_what_hangs_on_them() {
        let labels = ["?pid=", "process=x"];
        for (selector, expected) in [
            (r#"pid="1""#, None),
            (r#"pid="1", process="x""#, None),
            (r#"pid="1", process="y""#, Some(false)),
            (r#"pid="1" or process="x""#, Some(true)),
            (r#"pid="1" or process="y""#, None),
        ] {
            assert_eq!(eval(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn what_no_value_of_a_label_matches_is_not_selected() {
        let lists: &[(&str, &[&str])] = &[("process", &["a", "b"]), ("zone", &[""])];
        let lists: Vec<(&str, Vec<String>)> =
            lists.iter().map(|(n, v)| (*n, v.iter().map(|v| (*v).to_owned()).collect())).collect();
        let values =
            |label: &str| lists.iter().find(|(name, _)| *name == label).map(|(_, values)| values.as_slice());
        for (text, expected) in [
            ("", true),
            (r#"process="a""#, true),
            (r#"process="c""#, false),
            (r#"process!="a""#, true),
            (r#"process!~"a|b""#, false),
            (r#"process=~"c|b""#, true),
            (r#"zone="", process="c""#, false),
            (r#"zone="x" or process="b""#, true),
            (r#"zone="x" or process="c""#, false),
            (r#"pid="1", process="a""#, true),
            (r#"pid="1", process="c""#, false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().may_select(&values), expected, "{text}");
        }
    }

    #[test]
    fn strings_take_escapes_and_any_character() {
        assert_eq!(eval(r#"a="x\"y\\z\n\t""#, &["a=x\"y\\z\n\t"]), Some(true));
        assert_eq!(eval(r#"a='it\'s "so"'"#, &["a=it's \"so\""]), Some(true));
        assert_eq!(eval(r#"a="日本 ,)}""#, &["a=日本 ,)}"]), Some(true));
    }

    #[test]
    fn errors_point_at_the_place() {
        for (selector, message, at) in [
            ("process=redis", "expected a value in quotes, found `redis`", 8),
            ("process", "expected `=`, `!=`, `=~` or `!~`, found the end", 7),
            (r#"process=="x""#, "expected a value in quotes, found `=`", 8),
            (r#""x""#, "expected a label, e.g. `process`, or `(`, found a quoted string", 0),
            (r#"a="1" b="2""#, "expected `,`, `and`, `or` or the end, found `b`", 6),
            (r#"a="1" and"#, "expected a label, e.g. `process`, or `(`, found the end", 9),
            (r#"a="1",,b="2""#, "expected a label, e.g. `process`, or `(`, found `,`", 6),
            (r#"(a="1""#, "expected `)`, found the end", 6),
            (r#"{a="1""#, "expected `}`, found the end", 6),
            (r#"a="1"}"#, "expected `,`, `and`, `or` or the end, found `}`", 5),
            (r#"日="1""#, "`日` has no meaning here; put values in quotes", 0),
            (r#"a="1"#, "the string has no closing \"", 2),
            (r#"a="1\"#, "the string has no closing \"", 2),
            ("a>3", "`>` has no meaning here; put values in quotes", 1),
            (r#"a=~"(""#, "bad regular expression: unclosed group", 3),
            (r#"a=~"a)(b""#, "bad regular expression: unopened group", 3),
            (r#"ab=~"\\w{1000}{1000}""#, "the regular expression takes more than 1048576 bytes", 4),
        ] {
            let error = Selector::parse(selector).expect_err(selector);
            assert_eq!((error.message.as_str(), error.at), (message, at), "{selector}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = Selector::parse("status=\"日本\"\t, process=redis").expect_err("no quotes");
        let text = error.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "  status=\"日本\" , process=redis");
        let caret = lines[2].chars().position(|c| c == '^');
        assert_eq!(caret, lines[1].find("redis").map(|at| lines[1][..at].chars().count()));
    }

    #[test]
    fn of_a_long_selector_the_place_is_shown() {
        let long = format!("a=\"{}\" b \"{}\"", "x".repeat(5000), "y".repeat(5000));
        let text = Selector::parse(&long).expect_err("no comma").to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].chars().count() < 130, "{text}");
        let caret = lines[2].chars().position(|c| c == '^').expect("a caret");
        assert_eq!(lines[1].chars().nth(caret), Some('b'), "{text}");
        assert_eq!(Selector::parse(r#"b="1" or (a!="2", b="3")"#).expect("fine").labels(), ["a", "b"].into());
    }

    #[test]
    fn the_work_for_one_selector_is_bounded() {
        let deep = format!("{}a=\"1\"{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(Selector::parse(&deep).is_err());
        let deep = format!("{}a=\"1\"{}", "(".repeat(65), ")".repeat(65));
        assert!(Selector::parse(&deep).expect_err("too deep").message.contains("64 nested"));
        let fits = format!("{}a=\"1\"{}", "(".repeat(64), ")".repeat(64));
        assert!(Selector::parse(&fits).is_ok());
        let long = format!("a=\"{}\"", "x".repeat(20_000));
        assert!(Selector::parse(&long).expect_err("too long").message.contains("at most 16384"));
    }

    /// A selector as a tree, written out with as many or as few parentheses, spaces and words as chance has it,
    /// and evaluated without any of the parser's or the evaluator's code.
    #[derive(Clone, Debug)]
    enum Slow {
        Match(&'static str, &'static str, &'static str),
        All(Vec<Slow>),
        Any(Vec<Slow>),
    }

    const LABELS: [&str; 3] = ["a", "b_c", "k8s.pod-x"];
    const VALUES: [&str; 5] = ["", "1", "12", "ab", "a\"b\\c\n"];
    /// Regular expressions, and the values of the above that they match as a whole.
    const PATTERNS: [(&str, &[&str]); 6] = [
        ("", &[""]),
        (".*", &["", "1", "12", "ab"]),
        ("1", &["1"]),
        ("1|ab", &["1", "ab"]),
        (r"\d+", &["1", "12"]),
        ("(?s)a.*", &["ab", "a\"b\\c\n"]),
    ];

    impl Slow {
        fn write(&self, noise: &mut impl FnMut(usize) -> usize) -> String {
            let quoted = |text: &str| {
                let text = text.replace('\\', r"\\").replace('\n', r"\n");
                if text.contains('"') {
                    format!("'{}'", text.replace('\'', r"\'"))
                } else {
                    format!("\"{text}\"")
                }
            };
            let pad = |n: usize| " ".repeat(n);
            match self {
                Self::Match(label, op, value) => {
                    format!("{label}{}{op}{}{}", pad(noise(3)), pad(noise(2)), quoted(value))
                }
                Self::All(parts) => self.join(parts, noise, |n| if n == 0 { " , " } else { " and " }),
                Self::Any(parts) => self.join(parts, noise, |_| " or "),
            }
        }

        fn join(
            &self,
            parts: &[Self],
            noise: &mut impl FnMut(usize) -> usize,
            glue: impl Fn(usize) -> &'static str,
        ) -> String {
            let mut text = String::new();
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    text.push_str(glue(noise(2)));
                }
                // `and` binds closer than `or`: only an `or` within an `and` has to have parentheses.
                let needed = matches!((self, part), (Self::All(_), Self::Any(_)));
                let inner = part.write(noise);
                if needed || noise(3) == 0 { text += &format!("({inner})") } else { text += &inner }
            }
            text
        }

        fn eval(&self, labels: &[(&str, &str)]) -> bool {
            match self {
                Self::Match(label, op, value) => {
                    let own = labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value);
                    let matched = PATTERNS.iter().find(|(pattern, _)| pattern == value);
                    match *op {
                        "=" => own == *value,
                        "!=" => own != *value,
                        "=~" => matched.expect("a pattern").1.contains(&own),
                        _ => !matched.expect("a pattern").1.contains(&own),
                    }
                }
                Self::All(parts) => parts.iter().all(|part| part.eval(labels)),
                Self::Any(parts) => parts.iter().any(|part| part.eval(labels)),
            }
        }
    }

    fn slow() -> impl Strategy<Value = Slow> {
        let plain = (select(&LABELS[..]), select(&["=", "!="][..]), select(&VALUES[..]));
        let regex =
            (select(&LABELS[..]), select(&["=~", "!~"][..]), select(PATTERNS.map(|(p, _)| p).to_vec()));
        let leaf = prop_oneof![
            plain.prop_map(|(label, op, value)| Slow::Match(label, op, value)),
            regex.prop_map(|(label, op, value)| Slow::Match(label, op, value)),
        ];
        leaf.prop_recursive(5, 40, 4, |inner| {
            let parts = proptest::collection::vec(inner, 1..4);
            prop_oneof![parts.clone().prop_map(Slow::All), parts.prop_map(Slow::Any)]
        })
    }

    proptest! {
        #[test]
        fn any_selector_selects_what_its_tree_says(
            tree in slow(),
            values in proptest::array::uniform3(select(&VALUES[..])),
            present in proptest::array::uniform3(any::<bool>()),
            seed in any::<u32>(),
        ) {
            let mut state = seed;
            let mut noise = |limit: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) as usize % limit
            };
            let mut text = tree.write(&mut noise);
            if noise(4) == 0 {
                text = format!("{{ {text} }}");
            }
            let labels: Vec<_> =
                LABELS.into_iter().zip(values).zip(present).filter(|(_, is)| *is).map(|(pair, _)| pair).collect();
            let selector = Selector::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let value = |label: &str| {
                let own = labels.iter().find(|(name, _)| *name == label).map_or("", |(_, value)| value);
                Some(own.into())
            };
            prop_assert_eq!(selector.eval(&mut |label| value(label)), Some(tree.eval(&labels)), "{}", text);
            // What is decided without knowing a label stays so, whatever the label is.
            for hidden in LABELS {
                let early = selector.eval(&mut |label| if label == hidden { None } else { value(label) });
                prop_assert!(early.is_none() || early == Some(tree.eval(&labels)), "{} {}", text, hidden);
                prop_assert!(early.is_some() || selector.asks_for(hidden));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in r#"[ a-c=!~,(){}"'\\|*+1é]{0,60}"#) {
            if let Err(error) = Selector::parse(&text) {
                prop_assert!(error.at <= text.chars().count());
                prop_assert!(error.to_string().lines().count() >= 3);
            }
        }
    }
}
