//! Reads `WWW-Authenticate` (RFC 9110, section 11.6.1): how a registry wants to be asked.

/// What a registry demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token that another server gives.
    Bearer {
        /// That server's address.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What must be allowed.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge to answer among those of all headers: a token if it can be had.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for header in headers {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(bearer) = bearer(rest) {
                    return Some(bearer);
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

fn bearer(text: &str) -> Option<Challenge> {
    let mut realm = None;
    let mut service = None;
    let mut scope = None;
    for (key, value) in parameters(text) {
        match key.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    realm.map(|realm| Challenge::Bearer {
        realm,
        service,
        scope,
    })
}

/// `key=value, key="quoted, value"`.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',']);
        let Some((key, rest)) = text.split_once('=') else {
            return found;
        };
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        found.push((key.trim().to_owned(), value));
        text = rest;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_token_server_whose_scope_has_commas() {
        let header = r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::choose([header].into_iter()), Some(expected));
    }

    #[test]
    fn prefers_a_token_to_a_password() {
        let headers = ["Basic realm=\"x\"", "bearer realm=https://a.example"];
        let chosen = Challenge::choose(headers.into_iter());
        assert!(
            matches!(chosen, Some(Challenge::Bearer { .. })),
            "{chosen:?}"
        );
    }

    #[test]
    fn unknown_and_broken_challenges_are_none() {
        assert_eq!(
            Challenge::choose(["Negotiate abc", "Bearer", "Bearer realm"].into_iter()),
            None
        );
        assert_eq!(
            Challenge::choose(["BASIC"].into_iter()),
            Some(Challenge::Basic)
        );
    }
}
