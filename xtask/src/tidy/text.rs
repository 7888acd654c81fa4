//! Rules about prose: one sentence a line, and no word about how the text came to be.

use crate::report::Finding;
use crate::tree::Tree;

/// Markdown everywhere, and words in all text.
pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in tree.with_extension("md") {
        if path.contains("LICENSE") {
            continue;
        }
        for (line, what) in sentence_breaches(text) {
            findings.push(Finding::new("sentence-per-line", path, line, what));
        }
    }
    for (path, text) in tree.files() {
        if path == "Cargo.lock" {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = foreign_word(line) {
                let what = format!("`{word}` says how the text was made, not what the thing is");
                findings.push(Finding::new("words", path, index + 1, what));
            }
        }
    }
}

/// Lines that hold two sentences, or a part of one.
fn sentence_breaches(text: &str) -> Vec<(usize, &'static str)> {
    let mut breaches = Vec::new();
    let mut in_code = false;
    let mut open_sentence = false;
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.starts_with("```") {
            in_code = !in_code;
            open_sentence = false;
            continue;
        }
        let is_prose = !in_code && !line.is_empty() && !line.starts_with(['|', '#', '<']);
        if !is_prose {
            open_sentence = false;
            continue;
        }
        let prose = without_code_and_links(line);
        let is_item = starts_item(line);
        if open_sentence && !is_item {
            breaches.push((index + 1, "a sentence goes on here; keep it on one line"));
        }
        let body = if is_item {
            prose.split_once(' ').map_or("", |(_, rest)| rest)
        } else {
            &prose
        };
        if has_second_sentence(body) {
            breaches.push((index + 1, "one sentence a line"));
        }
        open_sentence = !prose.ends_with(['.', '!', '?', ':', ')', '"', '*', '_']);
    }
    breaches
}

fn starts_item(line: &str) -> bool {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = number.len() < line.len() && number.starts_with(". ");
    line.starts_with("- ") || line.starts_with("* ") || line.starts_with("> ") || is_numbered
}

/// Code spans and link targets become `x`, because their dots end nothing.
fn without_code_and_links(line: &str) -> String {
    let mut prose = String::new();
    for (index, part) in line.split('`').enumerate() {
        prose.push_str(if index % 2 == 0 { part } else { "x" });
    }
    while let Some(at) = prose.find("](") {
        let end = prose[at..]
            .find(')')
            .map_or(prose.len(), |found| at + found + 1);
        prose.replace_range(at..end, "]");
    }
    prose
}

fn has_second_sentence(prose: &str) -> bool {
    let chars: Vec<char> = prose.chars().collect();
    chars.windows(3).enumerate().any(|(at, window)| {
        let ends = matches!(window[0], '.' | '!' | '?') && window[1] == ' ';
        let begins = window[2].is_uppercase() || matches!(window[2], '`' | '[');
        let before: String = chars[..=at].iter().collect();
        let last = before.rsplit([' ', '(']).next().unwrap_or_default();
        ends && begins && !ABBREVIATIONS.contains(&last)
    })
}

/// The first listed word in the line, whatever its case, as a whole word.
fn foreign_word(line: &str) -> Option<&'static str> {
    let lower = line.to_lowercase();
    FOREIGN_WORDS.into_iter().find(|word| {
        lower.match_indices(word).any(|(at, _)| {
            let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let starts_inside =
                word.starts_with(char::is_alphanumeric) && is_part(lower[..at].chars().next_back());
            !starts_inside && !is_part(lower[at + word.len()..].chars().next())
        })
    })
}

const ABBREVIATIONS: [&str; 7] = ["e.g.", "i.e.", "etc.", "vs.", "cf.", "No.", "Fig."];

/// Words about writers, their tools and their machines; split so that this file does not catch itself.
const FOREIGN_WORDS: [&str; 18] = [
    concat!("cla", "ude"),
    concat!("anth", "ropic"),
    concat!("open", "ai"),
    concat!("chat", "gpt"),
    concat!("cop", "ilot"),
    concat!("ll", "m"),
    concat!("language ", "model"),
    concat!("ai ", "assistant"),
    concat!("coding ", "agent"),
    concat!("sub", "agent"),
    concat!("sub-", "agent"),
    concat!("this ", "session"),
    concat!("previous ", "session"),
    concat!("co-authored", "-by"),
    concat!("/work/", "shared"),
    concat!("/work/", "wt"),
    concat!("/work/", "target"),
    concat!("../", "shared"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_prose(text: &str, expected: &[usize]) {
        let lines: Vec<usize> = sentence_breaches(text)
            .into_iter()
            .map(|(line, _)| line)
            .collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn two_sentences_on_a_line_are_caught() {
        check_prose("One. Two.\n", &[1]);
        check_prose("- One. Two.\n", &[1]);
        check_prose("Is it? Yes.\n", &[1]);
        check_prose("One.\nTwo.\n", &[]);
    }

    #[test]
    fn a_broken_sentence_is_caught() {
        check_prose("This goes\non here.\n", &[2]);
        check_prose("- item\n- item\n", &[]);
        check_prose("1. item\n2. item\n", &[]);
    }

    #[test]
    fn code_tables_headings_and_abbreviations_are_left_alone() {
        check_prose("```\nlet a = 1. B\nfoo\nbar\n```\n", &[]);
        check_prose("| One. Two | x |\n| --- | --- |\n", &[]);
        check_prose("# A. B\n\nSee `a. B` and [c](d. E).\n", &[]);
        check_prose("A name, e.g. Alpha, or v1.2 here.\n", &[]);
    }

    #[test]
    fn words_about_the_making_are_caught_as_whole_words() {
        for word in FOREIGN_WORDS {
            assert_eq!(
                foreign_word(&format!("see {} for it", word.to_uppercase())),
                Some(word)
            );
        }
        assert_eq!(
            foreign_word("a session channel, the user agent, cofilm, allmost"),
            None
        );
    }
}
