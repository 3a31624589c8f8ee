//! Container names: Docker's rule for given ones, and random ones for the rest.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::id::random_bytes;

/// A name that keeps Docker's rule `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Why a name was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct NameError(String);

/// The longest name taken, in bytes: it becomes part of answers and events.
const MAX_NAME_BYTES: usize = 255;

impl ContainerName {
    /// The name as text, without Docker's leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A random adjective and surname; `attempt` past the first few appends a digit.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn random(attempt: u32) -> io::Result<Self> {
        let [first, second, digit] = random_bytes()?;
        let adjective = ADJECTIVES[usize::from(first) % ADJECTIVES.len()];
        let surname = SURNAMES[usize::from(second) % SURNAMES.len()];
        let suffix = if attempt < ATTEMPTS_WITHOUT_DIGIT {
            String::new()
        } else {
            digit.to_string()
        };
        Ok(Self(format!("{adjective}_{surname}{suffix}")))
    }
}

impl TryFrom<String> for ContainerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let text = text.strip_prefix('/').map_or(text.clone(), str::to_owned);
        let mut bytes = text.bytes();
        let starts_well = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if starts_well && goes_on_well && (2..=MAX_NAME_BYTES).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(NameError(text))
        }
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Clashes to bear before names get a number.
const ATTEMPTS_WITHOUT_DIGIT: u32 = 3;

const ADJECTIVES: [&str; 48] = [
    "airy", "amber", "ardent", "balmy", "brisk", "calm", "candid", "cheery", "clear", "cosy",
    "crisp", "deft", "dusky", "eager", "early", "even", "fair", "fleet", "fond", "frank", "fresh",
    "gentle", "glad", "hardy", "hazy", "hearty", "keen", "kind", "lively", "lucid", "mellow",
    "merry", "mild", "nimble", "plucky", "polite", "quick", "quiet", "ready", "rosy", "sandy",
    "serene", "silver", "steady", "sunny", "tidal", "warm", "windy",
];

/// Sailors, shipwrights and hydrographers: a dhow is a boat.
const SURNAMES: [&str; 40] = [
    "ballard",
    "barents",
    "beaufort",
    "bering",
    "blyth",
    "bowditch",
    "cabot",
    "chichester",
    "cook",
    "cortereal",
    "cousteau",
    "dampier",
    "davis",
    "earhart",
    "earle",
    "fitzroy",
    "flinders",
    "franklin",
    "harrison",
    "heyerdahl",
    "hudson",
    "humboldt",
    "knoxjohnston",
    "laperouse",
    "magellan",
    "majid",
    "maury",
    "mercator",
    "nansen",
    "noonan",
    "piccard",
    "polynesia",
    "ross",
    "scoresby",
    "slocum",
    "tabarly",
    "tasman",
    "tharp",
    "vancouver",
    "zheng",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_dockers_names() {
        let name = ContainerName::try_from("/web-1.a_b".to_owned()).unwrap();

        assert_eq!(name.as_str(), "web-1.a_b");
    }

    #[test]
    fn refuses_names_docker_refuses() {
        for text in ["", "a", "-web", "a b", "a/b", "ä1"] {
            assert_eq!(
                ContainerName::try_from(text.to_owned()),
                Err(NameError(text.to_owned()))
            );
        }
    }

    #[test]
    fn a_random_name_keeps_the_rule() {
        let name = ContainerName::random(5).unwrap();

        assert_eq!(ContainerName::try_from(name.to_string()), Ok(name));
    }
}
