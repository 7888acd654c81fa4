//! A Rust file as the checks see it: code without comments and literals, and the items in it.
//!
//! Problem: the checks need functions, attributes, test regions and definitions, and must not be fooled by strings and comments.
//! A parser would do it, at several seconds of build time; a lexer that blanks everything that is not code is enough.
//! Invariant: [`Source::code`] has the same length and line breaks as the text, so an offset means the same place in both.
//! Deliberately absent: macro expansion, types, name resolution.

use std::ops::Range;

/// A Rust file with its comments and literals blanked out.
pub(crate) struct Source {
    /// The text with comments and the insides of literals replaced by spaces.
    pub(crate) code: String,
    text: String,
    line_starts: Vec<usize>,
}

/// A function, with or without a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the end of the previous item to the `fn` keyword: docs, attributes, modifiers.
    pub(crate) lead: Range<usize>,
    /// Where the keyword `fn` stands.
    pub(crate) start: usize,
    /// The braces and what is between them.
    pub(crate) body: Option<Range<usize>>,
    /// The return type as written, without `->`.
    pub(crate) returns: String,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let line_starts = [0]
            .into_iter()
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            code: blank(text),
            text: text.to_owned(),
            line_starts,
        }
    }

    /// The original text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The line, from 1, in which `offset` lies.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Number of lines that a range touches.
    pub(crate) fn line_count(&self, range: &Range<usize>) -> usize {
        if range.is_empty() {
            return 0;
        }
        self.line_of(range.end - 1) - self.line_of(range.start) + 1
    }

    /// Identifiers and keywords, with their offsets.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code)
    }

    /// Attributes, inner and outer, from `#` to `]`.
    pub(crate) fn attributes(&self) -> Vec<Range<usize>> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(hash) = self.code[at..].find('#').map(|found| found + at) {
            at = hash + 1;
            let mut open = at;
            while matches!(bytes.get(open), Some(b' ' | b'\n' | b'!')) {
                open += 1;
            }
            if bytes.get(open) == Some(&b'[') {
                let end = matching(&self.code, open);
                found.push(hash..end);
                at = end;
            }
        }
        found
    }

    /// Every `fn` with a name.
    pub(crate) fn functions(&self) -> Vec<Function> {
        self.words()
            .filter(|(_, word)| *word == "fn")
            .filter_map(|(start, _)| self.function_at(start))
            .collect()
    }

    fn function_at(&self, start: usize) -> Option<Function> {
        let code = &self.code;
        let name_at = skip_space(code, start + 2);
        let name = leading_word(&code[name_at..]);
        if name.is_empty() {
            return None;
        }
        let mut at = skip_space(code, name_at + name.len());
        if code[at..].starts_with('<') {
            at = skip_space(code, matching_angle(code, at));
        }
        if !code[at..].starts_with('(') {
            return None;
        }
        let after_arguments = matching(code, at);
        let end = end_of_head(code, after_arguments);
        let tail = &code[after_arguments..end];
        let tail = tail.split_once("->").map_or("", |(_, returns)| returns);
        let returns = words(tail)
            .find(|(_, word)| *word == "where")
            .map_or(tail, |(at, _)| &tail[..at])
            .trim()
            .to_owned();
        let body = code[end..]
            .starts_with('{')
            .then(|| end..matching(code, end));
        Some(Function {
            name: name.to_owned(),
            lead: self.lead(start),
            start,
            body,
            returns,
        })
    }

    /// Docs, attributes and modifiers in front of the item whose keyword stands at `keyword`.
    pub(crate) fn lead(&self, keyword: usize) -> Range<usize> {
        let bytes = self.code.as_bytes();
        let mut depth = 0_usize;
        let mut at = keyword;
        while at > 0 {
            match bytes[at - 1] {
                b')' | b']' => depth += 1,
                b'(' | b'[' if depth == 0 => break,
                b'(' | b'[' => depth -= 1,
                b';' | b'{' | b'}' if depth == 0 => break,
                _ => {}
            }
            at -= 1;
        }
        at..keyword
    }

    /// Blocks `{…}` of the items introduced by `keyword` (`trait`, `impl`, `mod`), with the head in front of each.
    pub(crate) fn blocks(&self, keyword: &str) -> Vec<(Range<usize>, Range<usize>)> {
        self.words()
            .filter(|(_, word)| *word == keyword)
            .filter_map(|(at, _)| {
                let open = end_of_head(&self.code, at);
                let is_block = self.code[open..].starts_with('{');
                is_block.then(|| (at..open, open..matching(&self.code, open)))
            })
            .collect()
    }

    /// Code that exists only under `cfg(test)` or `cfg(loom)`, and functions marked as tests.
    pub(crate) fn test_ranges(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        for attribute in self.attributes() {
            let code = &self.code[attribute.clone()];
            if !is_test_attribute(code) {
                continue;
            }
            if code.starts_with("#!") {
                return std::iter::once(0..self.code.len()).collect();
            }
            ranges.push(attribute.start..self.end_of_item(attribute.end));
        }
        ranges
    }

    /// Modules without a body here (`mod name;`) that exist only for tests.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let declared = |range: Range<usize>| {
            let code = &self.code[range];
            let (at, _) = words(code).find(|(_, word)| *word == "mod")?;
            let name_at = skip_space(code, at + 3);
            let name = leading_word(&code[name_at..]);
            let rest = code[name_at + name.len()..].trim_start();
            rest.starts_with(';').then(|| name.to_owned())
        };
        self.test_ranges()
            .into_iter()
            .filter_map(declared)
            .collect()
    }

    /// Where the item ends whose attributes or keywords begin at `at`.
    fn end_of_item(&self, mut at: usize) -> usize {
        let code = &self.code;
        loop {
            at = skip_space(code, at);
            if !code[at..].starts_with('#') {
                break;
            }
            let Some(open) = code[at..].find('[') else {
                return code.len();
            };
            at = matching(code, at + open);
        }
        let is_item = ITEM_WORDS.contains(&leading_word(&code[at..]));
        let end = if is_item {
            end_of_head(code, at)
        } else {
            end_of_field(code, at)
        };
        if code[end..].starts_with('{') {
            matching(code, end)
        } else {
            (end + 1).min(code.len())
        }
    }

    /// True if an item of this name is defined here.
    pub(crate) fn defines(&self, name: &str) -> bool {
        let mut previous = "";
        for (_, word) in self.words() {
            if word == name && DEFINING_WORDS.contains(&previous) {
                return true;
            }
            if word != "mut" {
                previous = word;
            }
        }
        false
    }
}

/// True for `#[test]`, `#[path::test(…)]` and for a `cfg` that needs `test` or `loom`.
fn is_test_attribute(attribute: &str) -> bool {
    let inside = attribute.trim_start_matches(['#', '!', '[', ' ', '\n']);
    let mentions = |name: &str| words(inside).any(|(_, word)| word == name);
    if leading_word(inside) == "cfg" {
        return (mentions("test") || mentions("loom")) && !mentions("not") && !mentions("any");
    }
    let path = inside.split(['(', ']']).next().unwrap_or_default().trim();
    path.rsplit("::").next() == Some("test")
}

/// The last part of the path that the head of an `impl` or `trait` block speaks of: `Sender` in `impl<T> Clone for mpsc::Sender<T>`.
pub(crate) fn path_of_head(head: &str) -> &str {
    let mut at = skip_space(head, leading_word(head).len());
    if head[at..].starts_with('<') {
        at = skip_space(head, matching_angle(head, at));
    }
    let bounds = words(&head[at..]).find(|(_, word)| *word == "where");
    let named = &head[at..bounds.map_or(head.len(), |(found, _)| at + found)];
    let named = named.rsplit_once(" for ").map_or(named, |(_, rest)| rest);
    let path = named.trim().split(['<', ' ']).next().unwrap_or_default();
    let name = path.trim_end_matches(':').rsplit("::").next();
    leading_word(name.unwrap_or_default())
}

/// Identifiers and keywords of `code`, with their offsets.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word_char)?;
        let word = leading_word(&code[start..]);
        at = start + word.len();
        Some((start, word))
    })
}

/// The identifier at the start of `code`, or nothing.
pub(crate) fn leading_word(code: &str) -> &str {
    let end = code.find(|c| !is_word_char(c)).unwrap_or(code.len());
    &code[..end]
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// The offset after the bracket that closes the one at `open`; the end of the code if none does.
fn matching(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The offset after the `>` that closes the `<` at `open`; arrows do not count.
fn matching_angle(code: &str, open: usize) -> usize {
    let bytes = code.as_bytes();
    let mut depth = 0_usize;
    for at in open..bytes.len() {
        match bytes[at] {
            b'<' => depth += 1,
            b'>' if bytes[at - 1] != b'-' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The first `{` or `;` outside parentheses from `at` on.
fn end_of_head(code: &str, at: usize) -> usize {
    first_at_depth_zero(code, at, b"{;")
}

/// As [`end_of_head`], for a field, variant or statement.
fn end_of_field(code: &str, at: usize) -> usize {
    first_at_depth_zero(code, at, b"{;,}")
}

fn first_at_depth_zero(code: &str, at: usize, wanted: &[u8]) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            byte if depth <= 0 && wanted.contains(&byte) => return at,
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments and the insides of literals by spaces, keeping length and line breaks.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => text[at..]
                .find('\n')
                .map_or(bytes.len(), |found| at + found),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at + 1),
            b'r' if !(at > 0 && is_identifier_byte_before_prefix(bytes, at)) => {
                match end_of_raw_string(text, at) {
                    Some(end) => end,
                    None => {
                        at += 1;
                        continue;
                    }
                }
            }
            b'\'' => end_of_char(text, at),
            _ => {
                at += 1;
                continue;
            }
        };
        let keep_quotes = bytes[at] == b'"';
        for (index, byte) in out.iter_mut().enumerate().take(end).skip(at) {
            let is_quote = keep_quotes && (index == at || index + 1 == end);
            if *byte != b'\n' && !is_quote {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are blanked or kept")
}

/// True if the byte before a raw string's `r` belongs to a longer identifier; `b` and `c` are prefixes.
fn is_identifier_byte_before_prefix(bytes: &[u8], at: usize) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match bytes[at - 1] {
        b'b' | b'c' => at >= 2 && is_part(bytes[at - 2]),
        other => is_part(other),
    }
}

fn end_of_block_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_raw_string(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at + 1..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !rest[hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let inside = at + 1 + hashes + 1;
    let end = text[inside..]
        .find(&close)
        .map(|found| inside + found + close.len());
    Some(end.unwrap_or(text.len()))
}

/// The end of a character literal, or of the quote alone if it starts a lifetime.
fn end_of_char(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    let mut chars = rest.char_indices();
    match chars.next() {
        Some((_, '\\')) => {
            let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
            let from = 1 + escaped;
            rest[from..]
                .find('\'')
                .map_or(text.len(), |found| at + 1 + from + found + 1)
        }
        Some(_) => match chars.next() {
            Some((close, '\'')) => at + 1 + close + 1,
            _ => at + 1,
        },
        None => at + 1,
    }
}

const ITEM_WORDS: [&str; 17] = [
    "pub",
    "fn",
    "mod",
    "use",
    "struct",
    "enum",
    "union",
    "impl",
    "const",
    "static",
    "type",
    "trait",
    "async",
    "unsafe",
    "extern",
    "macro_rules",
    "let",
];

const DEFINING_WORDS: [&str; 11] = [
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "type",
    "const",
    "static",
    "mod",
    "macro_rules",
    "macro",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanking_keeps_length_and_lines() {
        let text =
            "let a = \"{ // no\"; // { é\n/* { /* } */ */ let b = r#\"\"}\"#; let c = '{';\n";
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.code.matches('\n').count(), 2);
        assert!(!source.code.contains(['{', '}']));
        assert!(source.code.contains("let b") && source.code.contains("let c"));
    }

    #[test]
    fn lifetimes_and_escaped_quotes_are_told_apart() {
        let source =
            Source::new("fn f<'a>(x: &'a str) -> char { match x { _ => '\\'' } } fn g() {}");
        let names: Vec<String> = source.functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["f", "g"]);
    }

    #[test]
    fn raw_identifiers_are_not_raw_strings() {
        let source = Source::new("fn r#type() {} let x = br\"{\"; fn bar() {}");
        assert!(source.defines("bar"));
        assert!(!source.code.contains("\"{\""));
    }

    #[test]
    fn function_knows_its_lead_body_and_return_type() {
        let text = "struct A;\n/// Doc.\n#[must_use]\npub async fn f<F: Fn(u8) -> u8>(f: F) -> impl Future<Output = [u8; 4]>\nwhere\n F: Send,\n{\n one();\n}\n";
        let source = Source::new(text);
        let function = source.functions().remove(0);
        assert_eq!(function.returns, "impl Future<Output = [u8; 4]>");
        assert!(text[function.lead.clone()].contains("/// Doc."));
        assert!(text[function.lead].ends_with("pub async "));
        assert_eq!(source.line_count(&function.body.expect("has a body")), 3);
    }

    #[test]
    fn test_code_is_recognised() {
        let text = "fn a() {}\n#[cfg(test)]\n#[expect(x)]\nmod tests { fn b() {} }\n#[cfg(not(loom))]\nfn c() {}\n#[cfg(all(test, loom))]\nmod models;\n#[asupersync::test(seeds = 3)]\nasync fn d() {}\n";
        let source = Source::new(text);
        let ranges = source.test_ranges();
        let inside = |needle: &str| {
            let at = text.find(needle).expect("in the text");
            ranges.iter().any(|range| range.contains(&at))
        };
        assert!(!inside("fn a"));
        assert!(inside("fn b"));
        assert!(!inside("fn c"));
        assert!(inside("fn d"));
        assert_eq!(source.test_modules(), ["models"]);
    }

    #[test]
    fn definitions_are_not_confused_with_uses() {
        let source = Source::new("// fn ghost() {}\nfn real() { ghost(); }\nstatic mut S: u8 = 0;");
        assert!(source.defines("real"));
        assert!(source.defines("S"));
        assert!(!source.defines("ghost"));
    }

    #[test]
    fn unfinished_text_ends_at_its_end() {
        for text in [
            "fn f(",
            "\"open",
            "/* open",
            "r#\"open",
            "'",
            "'\\",
            "#[cfg(test)]",
            "fn f<",
        ] {
            let source = Source::new(text);
            let _ = (
                source.functions(),
                source.attributes(),
                source.test_ranges(),
            );
            assert_eq!(source.code.len(), text.len());
        }
    }
}
