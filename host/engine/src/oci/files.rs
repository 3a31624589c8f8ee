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

/// Docker's word for "the host as seen from the container". There is no route to it yet, so it
/// names the container itself and fails at once instead of after a timeout.
const HOST_GATEWAY: &str = "host-gateway";

/// The content of `/etc/hosts`.
///
/// # Errors
/// [`ExtraHostError`] naming the entry that is wrong.
pub fn hosts(record: &Record) -> Result<String, ExtraHostError> {
    let mut text = HOSTS_HEAD.to_owned();
    for extra in &record.host_config.extra_hosts {
        let (address, name) = parse_extra_host(extra)?;
        writeln!(text, "{address}\t{name}").expect("a String takes everything");
    }
    let own = hostname(record);
    let domain = &record.config.domainname;
    let names = if domain.is_empty() {
        own.to_owned()
    } else {
        format!("{own}.{domain} {own}")
    };
    writeln!(text, "127.0.0.1\t{names}").expect("a String takes everything");
    Ok(text)
}

/// `name:address` or `name=address`, the address in brackets or not.
fn parse_extra_host(text: &str) -> Result<(IpAddr, &str), ExtraHostError> {
    let invalid = || ExtraHostError(text.to_owned());
    let (name, address) = text.split_once([':', '=']).ok_or_else(invalid)?;
    let named_well = !name.is_empty() && !name.contains(char::is_whitespace);
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let address = match bare {
        HOST_GATEWAY => Some(IpAddr::from([127, 0, 0, 1])),
        bare => bare.parse().ok(),
    };
    address
        .filter(|_| named_well)
        .map(|address| (address, name))
        .ok_or_else(invalid)
}

/// The content of `/etc/resolv.conf`. Containers have no way out yet, so without `--dns` there is no
/// server to name.
#[must_use]
pub fn resolv_conf(record: &Record) -> String {
    let host = &record.host_config;
    let mut text = String::new();
    for server in &host.dns {
        writeln!(text, "nameserver {server}").expect("a String takes everything");
    }
    if !host.dns_search.is_empty() {
        writeln!(text, "search {}", host.dns_search.join(" ")).expect("a String takes everything");
    }
    if !host.dns_options.is_empty() {
        writeln!(text, "options {}", host.dns_options.join(" "))
            .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_host_takes_ipv4_and_ipv6() {
        assert_eq!(
            parse_extra_host("db:10.0.0.2").unwrap(),
            ("10.0.0.2".parse().unwrap(), "db")
        );
        assert_eq!(
            parse_extra_host("db:[::2]").unwrap(),
            ("::2".parse().unwrap(), "db")
        );
    }

    #[test]
    fn refuses_an_extra_host_that_would_forge_lines() {
        parse_extra_host("a\nb:10.0.0.2").unwrap_err();
        parse_extra_host("nothing").unwrap_err();
    }
}
