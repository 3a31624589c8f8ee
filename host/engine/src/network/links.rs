//! Docker's legacy links: names and variables that tell a container about another one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::port::{ContainerPort, Protocol};

/// A link to another container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container.
    pub container: Id,
    /// What it is called here.
    pub alias: String,
}

/// A linked container as it is when the one with the link starts.
#[derive(Clone, Debug)]
pub(super) struct Linked<'a> {
    /// `/web/db`: who links, and the alias.
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) ports: Vec<ContainerPort>,
    pub(super) environment: &'a [String],
}

/// Splits `container[:alias]`.
pub(super) fn parse(text: &str) -> Option<(&str, &str)> {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    let alias = alias.rsplit('/').next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let named = !container.is_empty() && !alias.is_empty() && alias.bytes().all(plain);
    named.then_some((container, alias))
}

/// The variables of a link, in Docker's order.
pub(super) fn variables(linked: &Linked<'_>) -> Vec<String> {
    let alias = linked.name.rsplit('/').next().unwrap_or_default();
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut ports = linked.ports.clone();
    ports.sort_by_key(|port| (port.number, port.protocol != Protocol::Tcp));
    let url = |port: &ContainerPort| {
        format!(
            "{}://{}:{}",
            port.protocol.name(),
            linked.address,
            port.number
        )
    };
    let key = |port: &ContainerPort| {
        let protocol = port.protocol.name().to_uppercase();
        format!("{prefix}_PORT_{}_{protocol}", port.number)
    };
    let mut all = Vec::new();
    if let Some(first) = ports.first() {
        all.push(format!("{prefix}_PORT={}", url(first)));
    }
    for run in ranges(&ports) {
        let (first, last) = (&ports[run.0], &ports[run.1]);
        let (start, end) = (key(first), key(last));
        all.push(format!("{start}_START={}", url(first)));
        all.push(format!("{start}_ADDR={}", linked.address));
        all.push(format!("{start}_PROTO={}", first.protocol.name()));
        all.push(format!("{start}_PORT_START={}", first.number));
        all.push(format!("{end}_END={}", url(last)));
        all.push(format!("{end}_PORT_END={}", last.number));
    }
    for port in &ports {
        let key = key(port);
        all.push(format!("{key}={}", url(port)));
        all.push(format!("{key}_ADDR={}", linked.address));
        all.push(format!("{key}_PORT={}", port.number));
        all.push(format!("{key}_PROTO={}", port.protocol.name()));
    }
    all.push(format!("{prefix}_NAME={}", linked.name));
    let handed_on = linked
        .environment
        .iter()
        .filter_map(|variable| variable.split_once('='));
    for (name, value) in handed_on {
        if !name.is_empty() && !matches!(name, "HOME" | "PATH") {
            all.push(format!("{prefix}_ENV_{name}={value}"));
        }
    }
    all
}

/// First and last index of each run of at least three ports without a gap: Docker tells where such
/// a run starts and ends.
fn ranges(ports: &[ContainerPort]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < ports.len() {
        let mut end = start;
        while end + 1 < ports.len() && ports[end + 1].number <= ports[end].number.saturating_add(1)
        {
            end += 1;
        }
        if end > start + 1 {
            runs.push((start, end));
            start = end + 1;
        } else {
            start += 1;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked<'a>(ports: &[&str], environment: &'a [String]) -> Linked<'a> {
        Linked {
            name: "/web/my-db".to_owned(),
            address: [172, 17, 0, 2].into(),
            ports: ports.iter().map(|port| port.parse().unwrap()).collect(),
            environment,
        }
    }

    #[test]
    fn a_port_is_told_as_docker_tells_it() {
        let environment = ["PATH=/bin".to_owned(), "POSTGRES_DB=x".to_owned()];

        let variables = variables(&linked(&["5432/tcp"], &environment));

        assert_eq!(
            variables,
            [
                "MY_DB_PORT=tcp://172.17.0.2:5432",
                "MY_DB_PORT_5432_TCP=tcp://172.17.0.2:5432",
                "MY_DB_PORT_5432_TCP_ADDR=172.17.0.2",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_POSTGRES_DB=x",
            ]
        );
    }

    #[test]
    fn the_lowest_port_is_the_links_own() {
        let variables = variables(&linked(&["80/udp", "53/udp", "53/tcp"], &[]));

        assert_eq!(variables[0], "MY_DB_PORT=tcp://172.17.0.2:53");
    }

    #[test]
    fn a_run_of_ports_has_a_start_and_an_end() {
        let variables = variables(&linked(
            &["7000/tcp", "7001/tcp", "7002/tcp", "9000/tcp"],
            &[],
        ));

        let has = |text: &str| variables.iter().any(|variable| variable == text);
        assert!(has("MY_DB_PORT_7000_TCP_START=tcp://172.17.0.2:7000"));
        assert!(has("MY_DB_PORT_7000_TCP_PORT_START=7000"));
        assert!(has("MY_DB_PORT_7002_TCP_END=tcp://172.17.0.2:7002"));
        assert!(has("MY_DB_PORT_7002_TCP_PORT_END=7002"));
        assert!(!has("MY_DB_PORT_9000_TCP_START=tcp://172.17.0.2:9000"));
    }

    #[test]
    fn a_link_without_alias_is_called_by_its_name() {
        assert_eq!(parse("db"), Some(("db", "db")));
        assert_eq!(parse("db:/web/store"), Some(("db", "store")));
        assert_eq!(parse("db:a b"), None);
    }
}
