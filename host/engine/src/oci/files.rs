//! `/etc/hosts` and `/etc/resolv.conf` of a container.

use std::fmt::Write;
use std::net::IpAddr;

use super::hostname;
use crate::container::Record;

/// Why an extra host was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid extra host {0:?}: expected NAME:ADDRESS")]
pub struct ExtraHostError(String);

/// What every container's `/etc/hosts` begins with.
const HOSTS_HEAD: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Docker's word for "the host as seen from the container": the gateway, whose other ports are the
/// host's own.
const HOST_GATEWAY: &str = "host-gateway";

/// Where the host's resolver is set up.
const HOST_RESOLVER: &str = "/etc/resolv.conf";

/// What a container's files tell of the networks around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Its own addresses.
    pub own: Vec<IpAddr>,
    /// Who answers for names.
    pub resolver: Option<IpAddr>,
    /// Where the host is.
    pub host: Option<IpAddr>,
    /// Addresses and names of linked containers.
    pub links: Vec<(IpAddr, String)>,
}

impl Surroundings {
    /// Those of a container that shares the machine's network.
    #[must_use]
    pub fn of_machine(gateway: IpAddr) -> Self {
        Self {
            resolver: Some(gateway),
            host: Some(gateway),
            ..Self::default()
        }
    }
}

/// The content of `/etc/hosts`, lines in Docker's order.
///
/// # Errors
/// [`ExtraHostError`] naming the entry that is wrong.
pub fn hosts(record: &Record, around: &Surroundings) -> Result<String, ExtraHostError> {
    let mut text = HOSTS_HEAD.to_owned();
    let mut line = |address: IpAddr, names: &str| {
        writeln!(text, "{address}\t{names}").expect("a String takes everything");
    };
    let loopback = IpAddr::from([127, 0, 0, 1]);
    for extra in &record.host_config.extra_hosts {
        let (address, name) = parse_extra_host(extra)?;
        line(address.or(around.host).unwrap_or(loopback), name);
    }
    for (address, names) in &around.links {
        line(*address, names);
    }
    let own = hostname(record);
    let domain = &record.config.domainname;
    let names = if domain.is_empty() {
        own.to_owned()
    } else {
        format!("{own}.{domain} {own}")
    };
    if around.own.is_empty() {
        line(loopback, &names);
    }
    for address in &around.own {
        line(*address, &names);
    }
    Ok(text)
}

/// `name:address` or `name=address`, the address in brackets or not; `None` is the host's.
fn parse_extra_host(text: &str) -> Result<(Option<IpAddr>, &str), ExtraHostError> {
    let invalid = || ExtraHostError(text.to_owned());
    let (name, address) = text.split_once([':', '=']).ok_or_else(invalid)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(invalid());
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare == HOST_GATEWAY {
        return Ok((None, name));
    }
    let address = bare.parse().map_err(|_not_one| invalid())?;
    Ok((Some(address), name))
}

/// The content of `/etc/resolv.conf`: the gateway, which asks as the host would, unless the user
/// names servers.
#[must_use]
pub fn resolv_conf(record: &Record, around: &Surroundings) -> String {
    let host = &record.host_config;
    let mut text = String::new();
    if host.dns.is_empty() {
        if let Some(resolver) = around.resolver {
            writeln!(text, "nameserver {resolver}").expect("a String takes everything");
        }
    } else {
        for server in &host.dns {
            writeln!(text, "nameserver {server}").expect("a String takes everything");
        }
    }
    let search = if host.dns_search.is_empty() && around.resolver.is_some() {
        host_search(&std::fs::read_to_string(HOST_RESOLVER).unwrap_or_default())
    } else {
        host.dns_search.clone()
    };
    // `--dns-search .` is none at all.
    if !search.is_empty() && search != ["."] {
        writeln!(text, "search {}", search.join(" ")).expect("a String takes everything");
    }
    if !host.dns_options.is_empty() {
        writeln!(text, "options {}", host.dns_options.join(" "))
            .expect("a String takes everything");
    }
    text
}

/// The search domains of a `resolv.conf`; the last line that names some counts (resolv.conf(5)).
fn host_search(resolv_conf: &str) -> Vec<String> {
    let lines = resolv_conf.lines().rev();
    let mut words = lines.map(str::split_whitespace).filter_map(|mut words| {
        matches!(words.next(), Some("search" | "domain")).then(|| words.map(str::to_owned))
    });
    words.next().map(Iterator::collect).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_host_takes_ipv4_and_ipv6() {
        assert_eq!(
            parse_extra_host("db:10.0.0.2").unwrap(),
            (Some("10.0.0.2".parse().unwrap()), "db")
        );
        assert_eq!(
            parse_extra_host("db:[::2]").unwrap(),
            (Some("::2".parse().unwrap()), "db")
        );
    }

    #[test]
    fn the_hosts_gateway_is_known_at_the_start_only() {
        assert_eq!(parse_extra_host("me:host-gateway").unwrap(), (None, "me"));
    }

    #[test]
    fn the_last_search_line_of_the_host_counts() {
        let text = "domain a.example\nnameserver 10.0.0.1\nsearch b.example c.example\n";

        assert_eq!(host_search(text), ["b.example", "c.example"]);
        assert!(host_search("nameserver 10.0.0.1\n").is_empty());
    }

    #[test]
    fn refuses_an_extra_host_that_would_forge_lines() {
        parse_extra_host("a\nb:10.0.0.2").unwrap_err();
        parse_extra_host("nothing").unwrap_err();
    }
}
