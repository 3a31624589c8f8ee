//! Which resource a request is about: a path and a query, encoded once and correctly.

use std::fmt;

/// The version of Docker's API this client is written against. The daemon serves the same or a
/// newer one; older clients and daemons negotiate, we simply ask for what we know.
const API_VERSION: &str = "v1.44";

/// Path and query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// Joins segments under the API's version; each is encoded, so a name cannot add segments.
    #[must_use]
    pub fn of(segments: &[&str]) -> Self {
        let mut target = Self::outside_the_api(&[API_VERSION]);
        for segment in segments {
            target.text.push('/');
            encode(segment, &mut target.text);
        }
        target
    }

    /// A path without the API's version in front, for our own additions.
    #[must_use]
    pub fn outside_the_api(segments: &[&str]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            encode(segment, &mut text);
        }
        Self {
            text,
            has_query: false,
        }
    }

    /// Adds one query parameter.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        encode(key, &mut self.text);
        self.text.push('=');
        encode(value, &mut self.text);
        self
    }

    /// Adds a parameter only when there is a value for it.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// Adds `key=1` when asked for; absent means false to every Docker daemon.
    #[must_use]
    pub fn flag(self, key: &str, wanted: bool) -> Self {
        if wanted { self.query(key, "1") } else { self }
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_name_with_a_slash_stays_one_segment() {
        let target = Target::of(&["images", "me/app:1", "json"]);
        assert_eq!(target.as_str(), "/v1.44/images/me%2Fapp%3A1/json");
    }

    #[test]
    fn parameters_are_joined_and_encoded() {
        let target = Target::of(&["events"])
            .query("since", "1.5")
            .query("filters", "{\"a\"}");
        assert_eq!(
            target.as_str(),
            "/v1.44/events?since=1.5&filters=%7B%22a%22%7D"
        );
    }

    #[test]
    fn a_flag_that_is_off_is_absent() {
        let target = Target::of(&["x"]).flag("force", false).flag("v", true);
        assert_eq!(target.as_str(), "/v1.44/x?v=1");
    }
}
