//! `dhow ps`.

use std::collections::BTreeMap;

use dhow_api::client::{ContainerSummary, ListOptions, PortBinding};
use serde_json::{Map, Value};

use crate::args::look::PsArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::listing::{self, Column, Format};
use crate::output::{self, age, size, time};
use crate::resolve::filters;

/// Columns of the usual table.
const COLUMNS: [Column; 7] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

/// The column that `--size` adds.
const SIZE_COLUMN: Column = ("Size", "SIZE");

/// Columns only templates ask for.
const MORE_COLUMNS: [Column; 5] = [
    ("CreatedAt", "CREATED AT"),
    ("Labels", "LABELS"),
    ("State", "STATE"),
    ("Networks", "NETWORKS"),
    ("Mounts", "MOUNTS"),
];

/// Letters of an id that are shown.
const SHORT_ID: usize = 12;
/// Letters of a mount that are shown.
const SHORT_MOUNT: usize = 15;
/// Letters of a command that are shown.
const SHORT_COMMAND: usize = 20;

/// `dhow ps`.
pub(crate) async fn ps(context: &Context, args: PsArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let limit = match (args.latest, args.last) {
        (true, _) => Some(1),
        (false, last) => last
            .and_then(|last| u32::try_from(last).ok())
            .filter(|last| *last > 0),
    };
    let options = ListOptions {
        all: args.all || limit.is_some(),
        limit,
        size: args.size,
        filters: filters::resolve(&args.filter)?,
    };
    let client = context.client().await?;
    let containers = client.list_containers(&options).await?;
    if args.quiet {
        for container in &containers {
            output::line(id(container, args.no_trunc))?;
        }
        return Ok(0);
    }
    let now = time::now();
    let rows: Vec<_> = containers
        .iter()
        .map(|container| row(container, args.no_trunc, now))
        .collect();
    let mut columns = COLUMNS.to_vec();
    if args.size {
        columns.push(SIZE_COLUMN);
    }
    let mut all_columns = columns.clone();
    all_columns.extend(MORE_COLUMNS);
    output::raw(&listing::render(&format, &columns, &all_columns, &rows)?)?;
    Ok(0)
}

fn id(container: &ContainerSummary, full: bool) -> &str {
    if full {
        &container.id
    } else {
        container.id.get(..SHORT_ID).unwrap_or(&container.id)
    }
}

fn row(container: &ContainerSummary, full: bool, now: i64) -> Map<String, Value> {
    let names: Vec<&str> = container
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        .collect();
    let labels: Vec<String> = container
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let networks: Vec<&str> = container
        .network_settings
        .networks
        .keys()
        .map(String::as_str)
        .collect();
    let sizes = format!(
        "{} (virtual {})",
        size::decimal(container.size_rw.unwrap_or(0)),
        size::decimal(container.size_root_fs.unwrap_or(0))
    );
    listing::row([
        ("ID", id(container, full).to_owned()),
        ("Image", container.image.clone()),
        ("Command", command(&container.command, full)),
        ("RunningFor", age::ago(now - container.created)),
        ("CreatedAt", time::listing(container.created)),
        ("Status", container.status.clone()),
        ("State", container.state.clone()),
        ("Ports", ports(&container.ports)),
        ("Names", names.join(",")),
        ("Labels", labels.join(",")),
        ("Networks", networks.join(",")),
        ("Mounts", mounts(container, full)),
        ("Size", sizes),
    ])
}

/// Names of volumes and sources of other mounts.
fn mounts(container: &ContainerSummary, full: bool) -> String {
    let shown = container.mounts.iter().map(|mount| {
        let name = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        if full || name.chars().count() <= SHORT_MOUNT {
            return name.clone();
        }
        name.chars().take(SHORT_MOUNT - 1).chain(['…']).collect()
    });
    shown.collect::<Vec<_>>().join(",")
}

/// The command in quotes, cut to a length that leaves room for the rest.
fn command(command: &str, full: bool) -> String {
    let shown = if full || command.chars().count() <= SHORT_COMMAND {
        command.to_owned()
    } else {
        command
            .chars()
            .take(SHORT_COMMAND - 1)
            .chain(['…'])
            .collect()
    };
    let escaped = shown
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// Ports in one line: runs of ports become ranges, published ones point to where they lead.
fn ports(bindings: &[PortBinding]) -> String {
    let mut sorted = bindings.to_vec();
    sorted.sort_by(|a, b| {
        (a.container_port, &a.address, a.host_port, &a.protocol).cmp(&(
            b.container_port,
            &b.address,
            b.host_port,
            &b.protocol,
        ))
    });
    sorted.dedup();
    let mut runs: BTreeMap<(String, String), Vec<(u16, u16)>> = BTreeMap::new();
    let mut moved = Vec::new();
    for port in sorted {
        let address = port.address.filter(|address| !address.is_empty());
        let address = address.unwrap_or_default();
        if let Some(host) = port.host_port
            && host != port.container_port
        {
            let target = format!("{}->{}/{}", host, port.container_port, port.protocol);
            moved.push(format!("{}:{target}", bracketed(&address)));
            continue;
        }
        let runs = runs.entry((address, port.protocol)).or_default();
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port.container_port) => {
                *last = port.container_port;
            }
            _ => runs.push((port.container_port, port.container_port)),
        }
    }
    let same = runs.iter().flat_map(|((address, protocol), runs)| {
        runs.iter()
            .map(move |(first, last)| run_of_ports(address, protocol, *first, *last))
    });
    same.chain(moved).collect::<Vec<_>>().join(", ")
}

fn run_of_ports(address: &str, protocol: &str, first: u16, last: u16) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    if address.is_empty() {
        return format!("{range}/{protocol}");
    }
    format!("{}:{range}->{range}/{protocol}", bracketed(address))
}

fn bracketed(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use dhow_api::client::{ContainerSummary, PortBinding};
    use serde_json::Value;

    use super::{COLUMNS, command, ports, row};
    use crate::output::listing::{self, Format};

    fn port(address: Option<&str>, host: Option<u16>, container: u16) -> PortBinding {
        PortBinding {
            address: address.map(str::to_owned),
            container_port: container,
            host_port: host,
            protocol: "tcp".to_owned(),
        }
    }

    #[test]
    fn ports_are_told_as_docker_tells_them() {
        let bindings = [
            port(Some("127.0.0.1"), Some(8080), 80),
            port(None, None, 443),
            port(Some("127.0.0.1"), Some(91), 91),
            port(Some("127.0.0.1"), Some(90), 90),
            port(Some("::1"), Some(8080), 80),
        ];
        assert_eq!(
            ports(&bindings),
            "443/tcp, 127.0.0.1:90-91->90-91/tcp, 127.0.0.1:8080->80/tcp, [::1]:8080->80/tcp"
        );
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(
            command("sh -c \"exec sleep 1000\"", false),
            "\"sh -c \\\"exec sleep 1…\""
        );
        assert_eq!(command("sleep 1", false), "\"sleep 1\"");
    }

    #[test]
    fn the_table_has_docker_s_columns() {
        let container = ContainerSummary {
            id: "0123456789abcdef0123".to_owned(),
            names: vec!["/web".to_owned()],
            image: "busybox".to_owned(),
            command: "sleep 1000".to_owned(),
            created: 1_000,
            state: "running".to_owned(),
            status: "Up 2 minutes".to_owned(),
            ..ContainerSummary::default()
        };
        let rows = [row(&container, false, 1_300)];
        let format = Format::parse(None).expect("the table");
        let text = listing::render(&format, &COLUMNS, &COLUMNS, &rows).expect("a table");
        assert_eq!(
            text,
            "CONTAINER ID   IMAGE     COMMAND        CREATED         STATUS         PORTS     NAMES\n\
             0123456789ab   busybox   \"sleep 1000\"   5 minutes ago   Up 2 minutes             web\n"
        );
    }

    #[test]
    fn a_row_has_every_field_templates_use() {
        let row = row(&ContainerSummary::default(), false, 0);
        assert_eq!(row.get("State"), Some(&Value::String(String::new())));
    }
}
