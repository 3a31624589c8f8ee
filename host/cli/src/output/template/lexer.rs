//! Cuts a template into text and the tokens of its actions.

use serde_json::{Number, Value};

use super::TemplateError;

/// A stretch of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Shown as it is.
    Text(String),
    /// What stood between `{{` and `}}`.
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.` or `.A.B`; true when it follows the word before without a space.
    Fields(Vec<String>, bool),
    /// `$`, `$name`.
    Variable(String),
    /// A quoted text or a number.
    Literal(Value),
    /// Any other word.
    Word(String),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `:=` or `=`
    Assign,
    /// `,`
    Comma,
}

/// Cuts a template; `{{-` and `-}}` eat the white space beside them, comments vanish.
pub(super) fn split(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_next = false;
    loop {
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let text = if trim_next { text.trim_start() } else { text };
        let trim_here = action.is_some_and(|action| action.starts_with("- "));
        let text = if trim_here { text.trim_end() } else { text };
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let Some(action) = action else {
            return Ok(pieces);
        };
        let end = action_end(action)?;
        let (inside, after) = (&action[..end], &action[end + 2..]);
        let inside = if trim_here { &inside[1..] } else { inside };
        trim_next = inside.ends_with(" -");
        let inside = if trim_next {
            &inside[..inside.len() - 1]
        } else {
            inside
        };
        if !inside.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(tokens(inside)?));
        }
        rest = after;
    }
}

/// Where `}}` stands; not inside a quoted text.
fn action_end(action: &str) -> Result<usize, TemplateError> {
    let bytes = action.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            quote @ (b'"' | b'`') => index += quoted_length(&action[index..], quote)?,
            b'}' if bytes.get(index + 1) == Some(&b'}') => return Ok(index),
            _ => index += 1,
        }
    }
    Err(TemplateError::OpenAction)
}

/// Bytes of a quoted text, both quotes included.
fn quoted_length(text: &str, quote: u8) -> Result<usize, TemplateError> {
    let bytes = text.as_bytes();
    let mut index = 1;
    while index < bytes.len() {
        match bytes[index] {
            b'\\' if quote == b'"' => index += 2,
            byte if byte == quote => return Ok(index + 1),
            _ => index += 1,
        }
    }
    Err(TemplateError::OpenText)
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = action;
    while let Some(first) = rest.chars().next() {
        let glued = rest.len() < action.len()
            && !action[..action.len() - rest.len()].ends_with(char::is_whitespace);
        let length = match first {
            space if space.is_whitespace() => space.len_utf8(),
            '|' => push(&mut tokens, Token::Pipe),
            '(' => push(&mut tokens, Token::Open),
            ')' => push(&mut tokens, Token::Close),
            ',' => push(&mut tokens, Token::Comma),
            '=' => push(&mut tokens, Token::Assign),
            ':' if rest[1..].starts_with('=') => push(&mut tokens, Token::Assign) + 1,
            '"' | '`' => {
                let quote = if first == '"' { b'"' } else { b'`' };
                let length = quoted_length(rest, quote)?;
                tokens.push(Token::Literal(quoted_value(&rest[..length], quote)?));
                length
            }
            '$' => {
                let length = word_length(&rest[1..]);
                tokens.push(Token::Variable(rest[1..=length].to_owned()));
                length + 1
            }
            '.' => {
                let (fields, length) = fields(rest);
                tokens.push(Token::Fields(fields, glued));
                length
            }
            digit if digit.is_ascii_digit() || digit == '-' => {
                let length = 1 + rest[1..]
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .unwrap_or(rest.len() - 1);
                tokens.push(Token::Literal(number(&rest[..length])?));
                length
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                let length = word_length(rest);
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            other => return Err(TemplateError::Unexpected(format!("\"{other}\""))),
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn push(tokens: &mut Vec<Token>, token: Token) -> usize {
    tokens.push(token);
    1
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// `.A.B`, or the dot alone.
fn fields(text: &str) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut length = 0;
    while text[length..].starts_with('.') {
        let name = &text[length + 1..][..word_length(&text[length + 1..])];
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
        length += 1 + name.len();
    }
    (names, length.max(1))
}

fn quoted_value(text: &str, quote: u8) -> Result<Value, TemplateError> {
    if quote == b'`' {
        return Ok(Value::String(text[1..text.len() - 1].to_owned()));
    }
    // Go's escapes are JSON's, for everything people put into a template.
    serde_json::from_str(text).map_err(|_reason| TemplateError::Unexpected(text.to_owned()))
}

fn number(text: &str) -> Result<Value, TemplateError> {
    text.parse::<Number>()
        .map(Value::Number)
        .map_err(|_reason| TemplateError::Unexpected(format!("\"{text}\"")))
}
