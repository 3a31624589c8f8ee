//! Addresses: where a registry is, and where a redirect leads to.

/// Docker Hub as images name it.
const HUB_DOMAIN: &str = "docker.io";

/// Where Docker Hub serves its registry.
const HUB_REGISTRY: &str = "https://registry-1.docker.io";

/// Under which name Docker Hub's credentials are kept and its index searched.
const HUB_INDEX: &str = "index.docker.io";

/// The addresses to try for a domain, best first: encrypted, and plain where that is allowed.
pub(crate) fn bases(domain: &str, is_insecure: bool) -> Vec<String> {
    if domain == HUB_DOMAIN {
        return vec![HUB_REGISTRY.to_owned()];
    }
    let mut bases = vec![format!("https://{domain}")];
    if is_insecure {
        bases.push(format!("http://{domain}"));
    }
    bases
}

/// Whether mirrors are asked for images of this domain; as in Docker only the default one's.
pub(crate) fn has_mirrors(domain: &str) -> bool {
    domain == HUB_DOMAIN
}

/// The domain a login is for: clients send `https://index.docker.io/v1/`, `host:5000` or nothing.
pub(crate) fn login_domain(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "" | HUB_INDEX => HUB_DOMAIN.to_owned(),
        host => host.to_owned(),
    }
}

/// The addresses of version 1 of the API, which knows how to search.
pub(crate) fn search_bases(domain: &str, is_insecure: bool) -> Vec<String> {
    if domain == HUB_DOMAIN {
        return vec![format!("https://{HUB_INDEX}")];
    }
    bases(domain, is_insecure)
}

/// `host[:port]` of an address.
pub(crate) fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

/// Whether an address is encrypted.
pub(crate) fn is_https(address: &str) -> bool {
    address.starts_with("https://")
}

/// Where `location` leads from `base` (RFC 3986, section 5.2, without dot segments); nothing where it
/// leads to another scheme.
pub(crate) fn join(base: &str, location: &str) -> Option<String> {
    if location.contains("://") && !location.starts_with('/') {
        let known = location.starts_with("http://") || location.starts_with("https://");
        return known.then(|| location.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    if let Some(authority) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{authority}"));
    }
    let path_start = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_start);
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let path = path.split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{authority}{folder}/{location}"))
}

/// Adds a query parameter, encoded.
pub(crate) fn with_query(address: &str, key: &str, value: &str) -> String {
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}{key}={}", encode(value))
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_comes_second_and_only_where_allowed() {
        assert_eq!(bases("a.example", false), ["https://a.example"]);
        let both = ["https://localhost:5000", "http://localhost:5000"];
        assert_eq!(bases("localhost:5000", true), both);
    }

    #[test]
    fn a_login_names_its_registry_in_many_ways() {
        assert_eq!(login_domain(""), "docker.io");
        assert_eq!(login_domain("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(login_domain("http://localhost:5000"), "localhost:5000");
        assert_eq!(login_domain("a.example/v2/"), "a.example");
    }

    #[test]
    fn redirects_are_absolute_or_not() {
        let base = "http://a.example:5000/v2/x/blobs/uploads/?digest=1";
        assert_eq!(
            join(base, "https://b.example/c").unwrap(),
            "https://b.example/c"
        );
        assert_eq!(join(base, "//b.example/c").unwrap(), "http://b.example/c");
        assert_eq!(
            join(base, "/v2/y?z").unwrap(),
            "http://a.example:5000/v2/y?z"
        );
        assert_eq!(
            join(base, "one").unwrap(),
            "http://a.example:5000/v2/x/blobs/uploads/one"
        );
        assert_eq!(join(base, "file://etc/passwd"), None);
    }

    #[test]
    fn hosts_have_no_user_part() {
        assert_eq!(host_of("https://me:secret@a.example:1/b@c"), "a.example:1");
    }
}
