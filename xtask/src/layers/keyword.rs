//! Finds a keyword in Rust source text: as a word of the code, never inside a comment or a string.
//!
//! It knows line comments, nested block comments, plain, byte and raw strings, and tells a character from a lifetime.

/// The line numbers (from 1) on which `keyword` stands as a whole word of the code.
pub(super) fn lines_with(source: &str, keyword: &str) -> Vec<usize> {
    let code = blank_text(source);
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words.any(|word| word == keyword) {
            found.push(number + 1);
        }
    }
    found
}

/// The source with every comment and string blanked; line breaks stay where they are.
fn blank_text(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skip = match rest {
            ['/', '/', ..] => line_comment(rest),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['r', '"' | '#', ..] if !continues_word(&chars, at) => raw_string(rest),
            ['b', 'r', '"' | '#', ..] if !continues_word(&chars, at) => 1 + raw_string(&rest[1..]),
            ['\'', ..] => character(rest),
            _ => 0,
        };
        if skip == 0 {
            code.push(rest[0]);
            at += 1;
        } else {
            code.extend(rest[..skip].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at += skip;
        }
    }
    code
}

fn continues_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_comment(rest: &[char]) -> usize {
    rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// 0 when it is a raw identifier such as `r#type` and no string.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let mut at = 2 + hashes;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

/// 0 when it is a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, ..] => rest[3..].iter().position(|c| *c == '\'').map_or(0, |end| end + 4),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}
