//! The words a template can use.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;

/// Every function there is.
const NAMES: [&str; 23] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Longest padding `pad` adds; a template has no use for more.
const MAX_PAD: usize = 1000;

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let result = match (name, arguments) {
        ("json", [value]) => serde_json::to_string(value).ok().map(Value::String),
        ("index", [value, keys @ ..]) => Some(index(value, keys)),
        ("len", [value]) => length(value).map(Value::from),
        ("join", [list, separator]) => join(list, separator),
        ("split", [text, separator]) => split(text, separator),
        ("lower", [text]) => text.as_str().map(|text| text.to_lowercase().into()),
        ("upper", [text]) => text.as_str().map(|text| text.to_uppercase().into()),
        ("title", [text]) => text.as_str().map(|text| title(text).into()),
        ("truncate", [text, length]) => truncate(text, length),
        ("pad", [text, before, after]) => pad(text, before, after),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Some((!truth(value)).into()),
        ("and", [first, rest @ ..]) => Some(
            rest.iter()
                .fold(first, |a, b| if truth(a) { b } else { a })
                .clone(),
        ),
        ("or", [first, rest @ ..]) => Some(
            rest.iter()
                .fold(first, |a, b| if truth(a) { a } else { b })
                .clone(),
        ),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            Some(rest.iter().any(|other| same(first, other)).into())
        }
        ("ne", [a, b]) => Some((!same(a, b)).into()),
        ("lt", [a, b]) => compare(a, b).map(|order| order.is_lt().into()),
        ("le", [a, b]) => compare(a, b).map(|order| order.is_le().into()),
        ("gt", [a, b]) => compare(a, b).map(|order| order.is_gt().into()),
        ("ge", [a, b]) => compare(a, b).map(|order| order.is_ge().into()),
        ("print", all) => Some(all.iter().map(show).collect::<String>().into()),
        ("println", all) => {
            let words: Vec<String> = all.iter().map(show).collect();
            Some(format!("{}\n", words.join(" ")).into())
        }
        ("printf", [Value::String(format), values @ ..]) => Some(printf(format, values).into()),
        _ => None,
    };
    result.ok_or_else(|| TemplateError::Arguments(name.to_owned()))
}

/// A value as Go prints it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", show(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Everything but nothing, zero and empty is true.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// What is not there is nothing, as with Go's maps.
fn index(value: &Value, keys: &[Value]) -> Value {
    keys.iter().fold(value.clone(), |value, key| {
        let found = match (&value, key) {
            (Value::Object(map), Value::String(key)) => map.get(key),
            (Value::Array(list), key) => as_index(key).and_then(|index| list.get(index)),
            _ => None,
        };
        found.cloned().unwrap_or(Value::Null)
    })
}

fn as_index(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::Array(list) => Some(list.len()),
        Value::Object(map) => Some(map.len()),
        Value::Null => Some(0),
        _ => None,
    }
}

fn join(list: &Value, separator: &Value) -> Option<Value> {
    let words: Vec<String> = match list {
        Value::Array(list) => list.iter().map(show).collect(),
        Value::Null => Vec::new(),
        _ => return None,
    };
    separator
        .as_str()
        .map(|separator| words.join(separator).into())
}

fn split(text: &Value, separator: &Value) -> Option<Value> {
    let parts = text.as_str()?.split(separator.as_str()?);
    Some(parts.map(Value::from).collect::<Vec<_>>().into())
}

fn title(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn truncate(text: &Value, length: &Value) -> Option<Value> {
    let text: String = text.as_str()?.chars().take(as_index(length)?).collect();
    Some(text.into())
}

fn pad(text: &Value, before: &Value, after: &Value) -> Option<Value> {
    let spaces = |count: &Value| as_index(count).map(|count| " ".repeat(count.min(MAX_PAD)));
    let text = text.as_str()?;
    if text.is_empty() {
        return Some("".into());
    }
    Some(format!("{}{text}{}", spaces(before)?, spaces(after)?).into())
}

fn slice(value: &Value, bounds: &[Value]) -> Option<Value> {
    let length = length(value)?;
    let start = bounds.first().map_or(Some(0), as_index)?;
    let end = bounds.get(1).map_or(Some(length), as_index)?;
    match value {
        Value::String(text) => text.get(start..end).map(Value::from),
        Value::Array(list) => list.get(start..end).map(|part| part.to_vec().into()),
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => Some(a.as_f64()?.total_cmp(&b.as_f64()?)),
    }
}

/// `%s`, `%v`, `%d`, `%t`, `%q` and `%%`; widths are passed over.
fn printf(format: &str, values: &[Value]) -> String {
    let mut output = String::new();
    let mut values = values.iter();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            output.push(letter);
            continue;
        }
        let verb = letters.find(|letter| letter.is_alphabetic() || *letter == '%');
        match (verb, values.as_slice().first()) {
            (Some('%') | None, _) => output.push('%'),
            (Some('q'), Some(value)) => {
                values.next();
                output.push_str(&Value::String(show(value)).to_string());
            }
            (Some(_), Some(value)) => {
                values.next();
                output.push_str(&show(value));
            }
            (Some(verb), None) => output.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    output
}
