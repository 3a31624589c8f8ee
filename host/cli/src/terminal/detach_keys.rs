//! The keys that leave a container running: `ctrl-p,ctrl-q` unless others are wished for.

use anyhow::{Result, bail};

/// What Docker's users have in their fingers.
const DEFAULT: &str = "ctrl-p,ctrl-q";

/// Watches what is typed for a sequence of keys.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads `--detach-keys`: letters, or `ctrl-` and a letter or one of `@[\]^_`, with commas.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
        let keys = text
            .split(',')
            .map(|key| key_byte(key, text))
            .collect::<Result<_>>()?;
        Ok(Self { keys, matched: 0 })
    }

    /// Passes input on, holding back what may be the start of the sequence; true when it is whole.
    /// What was typed before it still goes to the container.
    pub(crate) fn filter(&mut self, input: &[u8], output: &mut Vec<u8>) -> bool {
        for byte in input {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            output.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                output.push(*byte);
            } else if self.keys.len() == 1 {
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// What is held back, when no more input comes.
    pub(crate) fn held_back(&mut self) -> &[u8] {
        let held = &self.keys[..self.matched];
        self.matched = 0;
        held
    }
}

fn key_byte(key: &str, whole: &str) -> Result<u8> {
    /// Bits that turn a letter into its control code.
    const CONTROL_MASK: u8 = 0x1f;
    if let [byte] = key.as_bytes()
        && byte.is_ascii_graphic()
    {
        return Ok(*byte);
    }
    if let Some(rest) = key.strip_prefix("ctrl-")
        && let [byte] = rest.as_bytes()
        && (byte.is_ascii_lowercase() || b"@[\\]^_".contains(byte))
    {
        return Ok(byte.to_ascii_uppercase() & CONTROL_MASK);
    }
    bail!("invalid detach keys \"{whole}\": \"{key}\" is no key; write for example ctrl-p,ctrl-q")
}

#[cfg(test)]
mod tests {
    use super::DetachKeys;

    const CTRL_P: u8 = 0x10;
    const CTRL_Q: u8 = 0x11;

    fn typed(keys: &mut DetachKeys, input: &[u8]) -> (bool, Vec<u8>) {
        let mut output = Vec::new();
        let detached = keys.filter(input, &mut output);
        (detached, output)
    }

    #[test]
    fn the_whole_sequence_detaches_and_is_not_passed_on() {
        let mut keys = DetachKeys::parse(None).expect("keys");
        assert_eq!(
            typed(&mut keys, &[b'a', CTRL_P, CTRL_Q, b'b']),
            (true, vec![b'a'])
        );
    }

    #[test]
    fn the_sequence_may_come_in_pieces() {
        let mut keys = DetachKeys::parse(None).expect("keys");
        assert_eq!(typed(&mut keys, &[CTRL_P]), (false, vec![]));
        assert_eq!(typed(&mut keys, &[CTRL_Q]), (true, vec![]));
    }

    #[test]
    fn half_a_sequence_is_passed_on_late() {
        let mut keys = DetachKeys::parse(None).expect("keys");
        assert_eq!(
            typed(&mut keys, &[CTRL_P, b'x']),
            (false, vec![CTRL_P, b'x'])
        );
        assert_eq!(typed(&mut keys, &[CTRL_P, CTRL_P]), (false, vec![CTRL_P]));
        assert_eq!(typed(&mut keys, &[CTRL_Q]), (true, vec![]));
    }

    #[test]
    fn what_is_held_back_is_not_lost() {
        let mut keys = DetachKeys::parse(None).expect("keys");
        typed(&mut keys, &[CTRL_P]);
        assert_eq!(keys.held_back(), [CTRL_P]);
    }

    #[test]
    fn other_keys_can_be_wished_for() {
        let mut keys = DetachKeys::parse(Some("ctrl-a,d")).expect("keys");
        assert_eq!(typed(&mut keys, &[1, b'd']), (true, vec![]));
        let _refused = DetachKeys::parse(Some("ctrl-1")).expect_err("a refusal");
        let _refused = DetachKeys::parse(Some("escape")).expect_err("a refusal");
    }
}
