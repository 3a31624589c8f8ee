//! JSON with line breaks, its fields in the order in which they came.

/// Spaces a level, as Docker writes it.
const INDENT: &str = "    ";

/// Breaks valid JSON into lines.
pub(crate) fn indent(json: &str) -> String {
    let mut output = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                output.push('"');
                copy_text(&mut letters, &mut output);
            }
            '{' | '[' => {
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
                output.push(letter);
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    output.push(close);
                } else {
                    depth += 1;
                    new_line(&mut output, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut output, depth);
                output.push(letter);
            }
            ',' => {
                output.push(',');
                new_line(&mut output, depth);
            }
            ':' => output.push_str(": "),
            space if space.is_whitespace() => {}
            other => output.push(other),
        }
    }
    output
}

fn new_line(output: &mut String, depth: usize) {
    output.push('\n');
    output.push_str(&INDENT.repeat(depth));
}

/// Copies up to and with the closing quote.
fn copy_text(letters: &mut impl Iterator<Item = char>, output: &mut String) {
    while let Some(letter) = letters.next() {
        output.push(letter);
        match letter {
            '\\' => output.extend(letters.next()),
            '"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::indent;

    #[test]
    fn order_and_texts_are_kept() {
        let json = r#"{"b":1,"a":["x: \"{,}\"", {}],"c":[ ] }"#;
        let expected = "{\n    \"b\": 1,\n    \"a\": [\n        \"x: \\\"{,}\\\"\",\n        {}\n    ],\n    \"c\": []\n}";
        assert_eq!(indent(json), expected);
    }
}
