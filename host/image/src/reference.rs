//! Image references: `[domain/]path[:tag][@digest]`, with Docker's short forms.
//!
//! The grammar is that of the distribution project's `reference` package (distribution/reference,
//! `reference.go`), and the short forms are Docker's "familiar names" (`normalize.go`): a name without
//! a domain belongs to Docker Hub, and one without a folder there to `library/`.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, HEX_DIGITS};

/// Domain of names that have none.
const DEFAULT_DOMAIN: &str = "docker.io";

/// An older name of the same domain.
const LEGACY_DOMAIN: &str = "index.docker.io";

/// Folder of official images on the default domain.
const OFFICIAL_PREFIX: &str = "library/";

/// Tag of references that have neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// Longest name, domain included (`NameTotalLengthMax`).
const MAX_NAME_BYTES: usize = 255;

/// Longest tag.
const MAX_TAG_BYTES: usize = 128;

/// A checked reference, normalised to its full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Not of the grammar.
    #[error("invalid reference format: {text:?}")]
    Format {
        /// What was given.
        text: String,
    },
    /// Upper-case letters in the path.
    #[error("invalid reference {text:?}: the repository name must be lower-case")]
    UpperCase {
        /// What was given.
        text: String,
    },
    /// Too long.
    #[error("the repository name must not have more than {MAX_NAME_BYTES} characters")]
    TooLong,
    /// 64 hexadecimal digits are an id.
    #[error("invalid repository name {text:?}: it would be taken for an image id")]
    LooksLikeId {
        /// What was given.
        text: String,
    },
}

impl Reference {
    /// The name without tag and digest, in full: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Which registry it belongs to: `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository in its registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as people write it: `busybox`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        let short = self.path.strip_prefix(OFFICIAL_PREFIX);
        short
            .filter(|short| !short.contains('/'))
            .unwrap_or(&self.path)
            .to_owned()
    }

    /// The whole reference as people write it: `busybox:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same with the tag `latest` if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same name by digest alone.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Self {
        let (domain, path) = (self.domain.clone(), self.path.clone());
        Self {
            domain,
            path,
            tag: None,
            digest: Some(digest),
        }
    }

    /// The same name with another tag alone.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Option<Self> {
        let (domain, path) = (self.domain.clone(), self.path.clone());
        is_tag(tag).then(|| Self {
            domain,
            path,
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = &self.digest {
            text = format!("{text}@{digest}");
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let format = || ParseReferenceError::Format {
            text: text.to_owned(),
        };
        if Digest::from_hex(text).is_ok() {
            return Err(ParseReferenceError::LooksLikeId {
                text: text.to_owned(),
            });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| format())?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (domain, path) = split_domain(name);
        let valid = is_domain(&domain) && is_path(&path) && tag.is_none_or(is_tag);
        if !valid && is_path(&path.to_lowercase()) && path.to_lowercase() != path {
            return Err(ParseReferenceError::UpperCase {
                text: text.to_owned(),
            });
        }
        if !valid {
            return Err(format());
        }
        if domain.len() + 1 + path.len() > MAX_NAME_BYTES {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self {
            domain,
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_suffix(self.name()))
    }
}

/// The first part is a domain if it looks like one: a dot, a port, `localhost`, or upper-case letters,
/// which a path cannot have.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let prefix = if official { OFFICIAL_PREFIX } else { "" };
    (domain.to_owned(), format!("{prefix}{path}"))
}

/// `host[:port]`, where the host is a name or an IPv6 address in brackets.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_is_valid = port
        .is_none_or(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()));
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_is_valid = match address {
        Some(address) => {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        }
        None => host.split('.').all(is_domain_component),
    };
    port_is_valid && host_is_valid
}

/// Letters and digits, with hyphens inside.
fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && component
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !component.starts_with('-')
        && !component.ends_with('-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, separated by `.`, `_`, `__` or any number of hyphens.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = component.split(|letter| u8::try_from(letter).is_ok_and(alphanumeric));
    let edges = component.bytes().next().is_some_and(alphanumeric)
        && component.bytes().last().is_some_and(alphanumeric);
    edges
        && separators.all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

/// A word character, then up to 127 word characters, dots and hyphens.
fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG_BYTES
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Whether `text` could be the start of an image id: hexadecimal digits, at most a whole digest's.
pub(crate) fn is_id_prefix(text: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    !text.is_empty() && text.len() <= HEX_DIGITS && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().or_latest().to_string()
    }

    #[test]
    fn completes_familiar_names() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("busybox:1.36"), "docker.io/library/busybox:1.36");
        assert_eq!(full("user/app"), "docker.io/user/app:latest");
        assert_eq!(
            full("index.docker.io/busybox"),
            "docker.io/library/busybox:latest"
        );
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/app:v1"), "localhost:5000/app:v1");
        assert_eq!(
            full("[::1]:5000/a/b__c-d.e"),
            "[::1]:5000/a/b__c-d.e:latest"
        );
        assert_eq!(full("Host/app"), "Host/app:latest");
    }

    #[test]
    fn shows_names_as_people_write_them() {
        let familiar = |text: &str| text.parse::<Reference>().unwrap().familiar();
        assert_eq!(
            familiar("docker.io/library/busybox:latest"),
            "busybox:latest"
        );
        assert_eq!(familiar("docker.io/user/app:v1"), "user/app:v1");
        assert_eq!(familiar("example.com/app"), "example.com/app");
    }

    #[test]
    fn keeps_a_digest() {
        let digest = Digest::of(b"");
        let reference: Reference = format!("busybox:1@{digest}").parse().unwrap();
        assert_eq!(reference.digest(), Some(digest));
        assert_eq!(reference.tag(), Some("1"));
    }

    #[test]
    fn rejects_what_the_grammar_does_not_have() {
        for text in [
            "", ":", "a:", "a@b", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "a:-b", "a b",
        ] {
            let parsed = text.parse::<Reference>();
            assert!(
                matches!(parsed, Err(ParseReferenceError::Format { .. })),
                "{text}: {parsed:?}"
            );
        }
        assert!(matches!(
            "Busybox".parse::<Reference>(),
            Err(ParseReferenceError::UpperCase { .. })
        ));
        let id = Digest::of(b"").hex();
        assert!(matches!(
            id.parse::<Reference>(),
            Err(ParseReferenceError::LooksLikeId { .. })
        ));
        let long = "a".repeat(256);
        assert_eq!(long.parse::<Reference>(), Err(ParseReferenceError::TooLong));
        let long_tag = format!("a:{}", "b".repeat(129)).parse::<Reference>();
        assert!(matches!(long_tag, Err(ParseReferenceError::Format { .. })));
    }
}
