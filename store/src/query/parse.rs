//! The grammar of selectors.
//!
//! ```text
//! selector = [ "{" [ any [","] ] "}" | any [","] ]
//! any      = all { "or" all }
//! all      = part { ( "," | "and" ) part }
//! part     = "(" any ")" | label ( "=" | "!=" | "=~" | "!~" ) string
//! label    = letter or "_", then letters, digits, "_", ".", "-"
//! string   = '"' or "'" around characters, with \\ \" \' \n \t escapes
//! ```

use regex::{Regex, RegexBuilder};

use super::selector::{Expr, SelectorError, Test};

/// Long enough for any selector made by hand or by the page; keeps the parser's work bounded.
const MAX_TEXT: usize = 16 * 1024;
/// Deeper nesting is refused before it can exhaust the stack.
const MAX_DEPTH: usize = 64;
/// Bytes a compiled regular expression may take.
const MAX_REGEX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Op(&'static str),
    End,
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Text(_) => "a quoted string".to_owned(),
            Self::Op(op) => format!("`{op}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The expression of a selector; none when it selects everything.
pub(super) fn parse(text: &str) -> Result<Option<Expr>, SelectorError> {
    if text.len() > MAX_TEXT {
        let message = format!("it is {} bytes long, at most {MAX_TEXT} are allowed", text.len());
        let start = text.chars().take(40).collect();
        return Err(SelectorError { message, text: start, at: 0 });
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let closing = if parser.take_op("{") { Token::Op("}") } else { Token::End };
    let expr = if *parser.peek() == closing { None } else { Some(parser.any()?) };
    parser.take_op(",");
    if closing != Token::End && !parser.take_op("}") {
        return Err(parser.unexpected("`}`"));
    }
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("`,`, `and`, `or` or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// With their places in characters; ends with `End`.
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn at(&self) -> usize {
        self.tokens[self.next].0
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_op(&mut self, op: &str) -> bool {
        let found = matches!(self.peek(), Token::Op(o) if *o == op);
        if found {
            self.take();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.take();
        }
        found
    }

    fn error(&self, message: String) -> SelectorError {
        SelectorError { message, text: self.text.to_owned(), at: self.at() }
    }

    fn unexpected(&self, expected: &str) -> SelectorError {
        self.error(format!("expected {expected}, found {}", self.peek().describe()))
    }

    fn any(&mut self) -> Result<Expr, SelectorError> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expr::Any))
    }

    fn all(&mut self) -> Result<Expr, SelectorError> {
        let mut parts = vec![self.part()?];
        loop {
            let comma = self.take_op(",");
            if comma && matches!(self.peek(), Token::End | Token::Op("}")) {
                break;
            }
            if !comma && !self.take_word("and") {
                break;
            }
            parts.push(self.part()?);
        }
        Ok(one_or(parts, Expr::All))
    }

    fn part(&mut self) -> Result<Expr, SelectorError> {
        if matches!(self.peek(), Token::Op("(")) {
            if self.depth == MAX_DEPTH {
                return Err(self.error(format!("more than {MAX_DEPTH} nested parentheses")));
            }
            self.take();
            self.depth += 1;
            let expr = self.any()?;
            self.depth -= 1;
            return if self.take_op(")") { Ok(expr) } else { Err(self.unexpected("`)`")) };
        }
        let label = match self.peek() {
            Token::Word(word) if word != "and" && word != "or" => word.clone(),
            _ => return Err(self.unexpected("a label, e.g. `process`, or `(`")),
        };
        self.take();
        let (regex, negated) = match self.peek() {
            Token::Op("=") => (false, false),
            Token::Op("!=") => (false, true),
            Token::Op("=~") => (true, false),
            Token::Op("!~") => (true, true),
            _ => return Err(self.unexpected("`=`, `!=`, `=~` or `!~`")),
        };
        self.take();
        let Token::Text(value) = self.peek().clone() else {
            return Err(self.unexpected("a value in quotes"));
        };
        let test = if regex { self.regex(&value)? } else { Test::Equals(value) };
        self.take();
        Ok(Expr::Match { label, test, negated })
    }

    fn regex(&self, pattern: &str) -> Result<Test, SelectorError> {
        // On its own first: inside the group, `a)(b` would pass for a regular expression.
        bounded_regex(pattern)
            .and_then(|_| bounded_regex(&format!("^(?:{pattern})$")))
            .map(Test::Matches)
            .map_err(|message| self.error(message))
    }
}

/// A regular expression that takes a bounded time and memory, or why there is none.
pub(super) fn bounded_regex(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_TEXT {
        return Err(format!("the regular expression is longer than {MAX_TEXT} bytes"));
    }
    RegexBuilder::new(pattern).size_limit(MAX_REGEX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression takes more than {limit} bytes")
        }
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("bad regular expression: {reason}")
        }
    })
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SelectorError> {
    let chars: Vec<char> = text.chars().collect();
    let fail = |at: usize, message: String| SelectorError { message, text: text.to_owned(), at };
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let followed_by = |next: char| chars.get(start + 1) == Some(&next);
        let token = match c {
            _ if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '=' if followed_by('~') => Token::Op("=~"),
            '!' if followed_by('~') => Token::Op("!~"),
            '!' if followed_by('=') => Token::Op("!="),
            '=' => Token::Op("="),
            ',' => Token::Op(","),
            '(' => Token::Op("("),
            ')' => Token::Op(")"),
            '{' => Token::Op("{"),
            '}' => Token::Op("}"),
            '"' | '\'' => {
                let (value, end) = quoted(&chars, start).map_err(|(at, message)| fail(at, message))?;
                at = end;
                tokens.push((start, Token::Text(value)));
                continue;
            }
            _ if c.is_ascii_alphabetic() || c == '_' => {
                let word = |c: &&char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
                let word: String = chars[start..].iter().take_while(word).collect();
                at += word.len();
                tokens.push((start, Token::Word(word)));
                continue;
            }
            _ => return Err(fail(start, format!("`{c}` has no meaning here; put values in quotes"))),
        };
        if let Token::Op(op) = token {
            at += op.len();
        }
        tokens.push((start, token));
    }
    tokens.push((chars.len(), Token::End));
    Ok(tokens)
}

/// A quoted string that starts at `start`: its value and the place behind it.
fn quoted(chars: &[char], start: usize) -> Result<(String, usize), (usize, String)> {
    let quote = chars[start];
    let mut value = String::new();
    let mut at = start + 1;
    loop {
        match chars.get(at) {
            None => return Err((start, format!("the string has no closing {quote}"))),
            Some(c) if *c == quote => return Ok((value, at + 1)),
            Some('\\') => {
                match chars.get(at + 1) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('\\' | '"' | '\'')) => value.push(*c),
                    // Regular expressions are full of \. and \d; they need no doubling.
                    Some(c) => value.extend(['\\', *c]),
                    None => return Err((start, format!("the string has no closing {quote}"))),
                }
                at += 2;
            }
            Some(c) => {
                value.push(*c);
                at += 1;
            }
        }
    }
}
