//! `-p [ip:][host]:container[/protocol]`, with ranges.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

/// One `-p`, or one port of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// Where to listen; the daemon's choice (127.0.0.1) when not said.
    pub(crate) address: Option<String>,
    /// Port to listen on, `first-last` to pick one of, or nothing for any free one.
    pub(crate) host: String,
    /// `80/tcp`.
    pub(crate) container: String,
}

/// Ports from a first to a last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
}

impl Range {
    fn length(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

/// Reads one `-p`.
pub(crate) fn parse(text: &str) -> Result<Vec<Published>> {
    parse_parts(text).with_context(|| format!("invalid port specification \"{text}\""))
}

fn parse_parts(text: &str) -> Result<Vec<Published>> {
    let (ports, protocol) = split_protocol(text)?;
    let (rest, container) = match ports.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, ports),
    };
    let container = range(container, "container port")?;
    if container.first == 0 {
        bail!("container port 0 does not exist");
    }
    let (address, host) = match rest {
        None => (None, ""),
        Some(rest) => split_address(rest)?,
    };
    let host = if host.is_empty() {
        None
    } else {
        Some(range(host, "host port")?)
    };
    pair_up(address, host, container, protocol)
}

/// Matches host ports with container ports: as many of each, or a range to pick one port from.
fn pair_up(
    address: Option<String>,
    host: Option<Range>,
    container: Range,
    protocol: &str,
) -> Result<Vec<Published>> {
    if let Some(host) = host
        && container.length() == 1
        && host.length() > 1
    {
        return Ok(vec![Published {
            address,
            host: format!("{}-{}", host.first, host.last),
            container: format!("{}/{protocol}", container.first),
        }]);
    }
    if let Some(host) = host
        && host.length() != container.length()
    {
        bail!(
            "{} host ports cannot be matched with {} container ports",
            host.length(),
            container.length()
        );
    }
    let published = (container.first..=container.last)
        .enumerate()
        .map(|(index, port)| Published {
            address: address.clone(),
            host: host.map_or_else(String::new, |host| {
                (usize::from(host.first) + index).to_string()
            }),
            container: format!("{port}/{protocol}"),
        });
    Ok(published.collect())
}

/// Reads one `--expose`.
pub(crate) fn parse_exposed(text: &str) -> Result<Vec<String>> {
    let (ports, protocol) = split_protocol(text)?;
    let ports = range(ports, "port").with_context(|| format!("invalid --expose \"{text}\""))?;
    Ok((ports.first..=ports.last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn split_protocol(text: &str) -> Result<(&str, &'static str)> {
    match text.split_once('/') {
        None => Ok((text, "tcp")),
        Some((ports, protocol)) => match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Ok((ports, "tcp")),
            "udp" => Ok((ports, "udp")),
            _ => bail!("protocol \"{protocol}\" is neither tcp nor udp"),
        },
    }
}

/// Splits `ip:host`, `[ip6]:host`, `ip:` or `host`.
fn split_address(text: &str) -> Result<(Option<String>, &str)> {
    let (address, host) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, host) = rest.split_once(']').context("'[' without ']'")?;
            (address, host.strip_prefix(':').context("no ':' after ']'")?)
        }
        None => match text.rsplit_once(':') {
            Some(parts) => parts,
            None => return Ok((None, text)),
        },
    };
    if address.is_empty() {
        return Ok((None, host));
    }
    let address: IpAddr = address
        .parse()
        .ok()
        .with_context(|| format!("\"{address}\" is not an IP address"))?;
    Ok((Some(address.to_string()), host))
}

fn range(text: &str, what: &str) -> Result<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| -> Result<u16> {
        if digits.is_empty() {
            bail!("no {what} given");
        }
        // `parse` alone would let a sign through.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("{what} \"{digits}\" is not a number");
        }
        digits
            .parse()
            .ok()
            .with_context(|| format!("{what} {digits} is above 65535"))
    };
    let range = Range {
        first: number(first)?,
        last: number(last)?,
    };
    if range.first > range.last {
        bail!("{what} range {text} runs backwards");
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::{Published, parse, parse_exposed};

    fn published(address: Option<&str>, host: &str, container: &str) -> Published {
        Published {
            address: address.map(str::to_owned),
            host: host.to_owned(),
            container: container.to_owned(),
        }
    }

    fn one(text: &str) -> Published {
        let mut all = parse(text).expect("a valid port");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_container_port_alone_gets_any_host_port() {
        assert_eq!(one("80"), published(None, "", "80/tcp"));
    }

    #[test]
    fn host_and_container() {
        assert_eq!(one("8080:80"), published(None, "8080", "80/tcp"));
        assert_eq!(one("53:53/UDP"), published(None, "53", "53/udp"));
        assert_eq!(one("0:80"), published(None, "0", "80/tcp"));
    }

    #[test]
    fn an_address_before_the_host_port() {
        assert_eq!(
            one("0.0.0.0:8080:80"),
            published(Some("0.0.0.0"), "8080", "80/tcp")
        );
        assert_eq!(
            one("127.0.0.1::80"),
            published(Some("127.0.0.1"), "", "80/tcp")
        );
        assert_eq!(
            one("[::1]:8080:80"),
            published(Some("::1"), "8080", "80/tcp")
        );
        assert_eq!(one("::1:8080:80"), published(Some("::1"), "8080", "80/tcp"));
    }

    #[test]
    fn ranges_pair_up() {
        let all = parse("8000-8002:90-92").expect("a valid range");
        assert_eq!(
            all,
            [
                published(None, "8000", "90/tcp"),
                published(None, "8001", "91/tcp"),
                published(None, "8002", "92/tcp"),
            ]
        );
    }

    #[test]
    fn a_range_of_host_ports_for_one_container_port_is_a_choice() {
        assert_eq!(one("8000-8010:80"), published(None, "8000-8010", "80/tcp"));
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| format!("{:#}", parse(text).expect_err("an error"));
        assert_eq!(
            wrong("8080:http"),
            "invalid port specification \"8080:http\": container port \"http\" is not a number"
        );
        assert!(wrong("70000:80").ends_with("host port 70000 is above 65535"));
        assert!(wrong("8000-8001:80-82").contains("2 host ports cannot be matched with 3"));
        assert!(wrong("8002-8000:80").contains("runs backwards"));
        assert!(wrong("80/sctp").contains("neither tcp nor udp"));
        assert!(wrong("localhost:80:80").contains("is not an IP address"));
        assert!(wrong("").contains("no container port given"));
        assert!(wrong("8080:").contains("no container port given"));
        assert!(wrong("+80:80").contains("is not a number"));
        assert!(wrong("80:0").contains("does not exist"));
    }

    #[test]
    fn exposes_ranges() {
        let all = parse_exposed("70-72/udp").expect("a valid range");
        assert_eq!(all, ["70/udp", "71/udp", "72/udp"]);
    }
}
