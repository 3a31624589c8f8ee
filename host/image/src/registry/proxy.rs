//! Which proxy leads to a host: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower or
//! upper case, with the meaning Go's `net/http` gives them, which is what Docker's users know.

use std::net::IpAddr;

use super::settings::{is_loopback, network_contains, without_port};

/// The environment's word on proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    /// Hosts that are reached without.
    direct: Vec<String>,
}

impl Proxies {
    /// Reads the variables.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let lower = variable(&name.to_ascii_lowercase());
            lower
                .or_else(|| variable(name))
                .filter(|text| !text.is_empty())
        };
        let all = either("ALL_PROXY");
        let direct = either("NO_PROXY").unwrap_or_default();
        Self {
            http: either("HTTP_PROXY").or_else(|| all.clone()),
            https: either("HTTPS_PROXY").or(all),
            direct: direct
                .split([',', ' '])
                .filter(|entry| !entry.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        }
    }

    /// The proxy for `host[:port]`, if there is one. Loopback is always reached directly.
    pub(crate) fn for_host(&self, is_https: bool, host: &str) -> Option<&str> {
        let proxy = if is_https { &self.https } else { &self.http };
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        let direct = is_loopback(name) || self.direct.iter().any(|entry| covers(entry, &host));
        proxy.as_deref().filter(|_| !direct)
    }
}

/// Whether an entry of `NO_PROXY` means this host: `*`, a network, a name with its subdomains, or a
/// name with a port.
fn covers(entry: &str, host: &str) -> bool {
    let name = without_port(host);
    if entry == "*" || entry == host {
        return true;
    }
    if entry.contains('/') {
        let address = name.parse::<IpAddr>();
        return address.is_ok_and(|address| network_contains(entry, address));
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    let is_subdomain = name
        .strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'));
    is_subdomain || (name == domain && !entry.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies = proxies(&[
            ("HTTPS_PROXY", "http://one:1"),
            ("http_proxy", "http://two:2"),
        ]);
        assert_eq!(
            proxies.for_host(true, "registry.example"),
            Some("http://one:1")
        );
        assert_eq!(
            proxies.for_host(false, "registry.example:80"),
            Some("http://two:2")
        );
    }

    #[test]
    fn exceptions_and_loopback_are_reached_directly() {
        let proxies = proxies(&[
            ("ALL_PROXY", "http://all:1"),
            (
                "NO_PROXY",
                "internal.example, .dotted.example,10.0.0.0/8,host:5000",
            ),
        ]);
        for host in [
            "localhost:5000",
            "127.1.2.3",
            "internal.example",
            "a.internal.example:443",
            "a.dotted.example",
            "10.9.8.7:5000",
            "host:5000",
        ] {
            assert_eq!(proxies.for_host(true, host), None, "{host}");
        }
        for host in [
            "dotted.example",
            "otherinternal.example",
            "host:5001",
            "11.0.0.1",
        ] {
            assert_eq!(proxies.for_host(true, host), Some("http://all:1"), "{host}");
        }
    }
}
