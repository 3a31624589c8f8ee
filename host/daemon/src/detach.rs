//! Keys that detach a terminal's client from its container, `ctrl-p,ctrl-q` unless said otherwise.

/// Docker's default: ctrl-p, ctrl-q.
const DEFAULT_KEYS: [u8; 2] = [0x10, 0x11];

/// Not a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid detach keys ({0}) provided")]
pub(crate) struct DetachKeysError(String);

/// Looks for the keys in what a client types.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What became of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// These go to the process.
    Input(Vec<u8>),
    /// These go to the process, then the client leaves.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a`, `ctrl-@`; empty is the default.
    pub(crate) fn parse(text: &str) -> Result<Self, DetachKeysError> {
        let keys = if text.is_empty() {
            DEFAULT_KEYS.to_vec()
        } else {
            text.split(',')
                .map(|key| parse_key(key).ok_or_else(|| DetachKeysError(text.to_owned())))
                .collect::<Result<_, _>>()?
        };
        Ok(Self { keys, matched: 0 })
    }

    /// Passes bytes on, holding back those that may begin the keys.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Typed {
        let mut input = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys[self.matched] != *byte {
                input.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys[self.matched] == *byte {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Typed::Detach(input);
                }
            } else {
                input.push(*byte);
            }
        }
        Typed::Input(input)
    }
}

fn parse_key(key: &str) -> Option<u8> {
    let named = key.strip_prefix("ctrl-").map(str::as_bytes);
    match (named, key.as_bytes()) {
        (Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
            // Control characters are the upper-case letters' codes less 64.
            Some(letter.to_ascii_uppercase() & 0x1f)
        }
        (None, [key]) => Some(*key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_keys_detach() {
        let mut keys = DetachKeys::parse("").unwrap();

        assert_eq!(keys.take(b"ls\x10"), Typed::Input(b"ls".to_vec()));
        assert_eq!(keys.take(b"\x11"), Typed::Detach(Vec::new()));
    }

    #[test]
    fn keys_that_come_to_nothing_are_passed_on() {
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();

        assert_eq!(keys.take(b"\x10x"), Typed::Input(b"\x10x".to_vec()));
    }

    #[test]
    fn refuses_what_is_no_key() {
        DetachKeys::parse("ctrl-").unwrap_err();
        DetachKeys::parse("escape").unwrap_err();
    }
}
