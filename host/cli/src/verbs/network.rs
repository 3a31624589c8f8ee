//! `dhow network`.

use anyhow::Context as _;
use dhow_api::client::NetworkSummary;
use dhow_api::client::request::{NetworkConnectRequest, NetworkDisconnectRequest};
use serde_json::{Map, Value};

use super::each::for_each;
use super::inspect;
use crate::args::network::{
    ConnectArgs, CreateArgs, DisconnectArgs, InspectArgs, ListArgs, NetworkVerb, PruneArgs,
    RemoveArgs,
};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::listing::{self, Column, Format};
use crate::resolve::{filters, network};

/// Columns of the usual table.
const COLUMNS: [Column; 4] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
];

/// Columns only templates ask for.
const ALL_COLUMNS: [Column; 9] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// Letters of an id that are shown.
const SHORT_ID: usize = 12;

/// `dhow network`.
pub(crate) async fn network(context: &Context, verb: NetworkVerb) -> Outcome {
    match verb {
        NetworkVerb::Create(args) => create(context, &args).await,
        NetworkVerb::Connect(args) => connect(context, *args).await,
        NetworkVerb::Disconnect(args) => disconnect(context, args).await,
        NetworkVerb::Inspect(args) => inspect(context, &args).await,
        NetworkVerb::Ls(args) => list(context, &args).await,
        NetworkVerb::Rm(args) => remove(context, args).await,
        NetworkVerb::Prune(args) => prune(context, &args).await,
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Outcome {
    let request = network::create(args)?;
    let client = context.client().await?;
    output::line(&client.create_network(&request).await?)?;
    Ok(0)
}

async fn connect(context: &Context, args: ConnectArgs) -> Outcome {
    let request = NetworkConnectRequest {
        endpoint_config: Some(network::connect(&args)?),
        container: args.container,
    };
    let client = context.client().await?;
    client.connect_network(&args.network, &request).await?;
    Ok(0)
}

async fn disconnect(context: &Context, args: DisconnectArgs) -> Outcome {
    let request = NetworkDisconnectRequest {
        container: args.container,
        force: Some(args.force),
    };
    let client = context.client().await?;
    client.disconnect_network(&args.network, &request).await?;
    Ok(0)
}

async fn inspect(context: &Context, args: &InspectArgs) -> Outcome {
    let client = context.client().await?;
    inspect::show(args.format.as_deref(), &args.networks, async |name| {
        Ok(client.inspect_network(name).await?)
    })
    .await
}

async fn list(context: &Context, args: &ListArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let filters = filters::resolve(&args.filter)?;
    let client = context.client().await?;
    let mut networks = client.list_networks(filters.as_deref()).await?;
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    if args.quiet {
        for network in &networks {
            output::line(id(network, args.no_trunc))?;
        }
        return Ok(0);
    }
    let rows: Vec<_> = networks
        .iter()
        .map(|network| row(network, args.no_trunc))
        .collect();
    output::raw(&listing::render(&format, &COLUMNS, &ALL_COLUMNS, &rows)?)?;
    Ok(0)
}

fn id(network: &NetworkSummary, full: bool) -> &str {
    let short = network.id.get(..SHORT_ID).filter(|_| !full);
    short.unwrap_or(&network.id)
}

fn row(network: &NetworkSummary, full: bool) -> Map<String, Value> {
    let labels: Vec<String> = network
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    listing::row([
        ("ID", id(network, full).to_owned()),
        ("Name", network.name.clone()),
        ("Driver", network.driver.clone()),
        ("Scope", network.scope.clone()),
        ("IPv4", network.enable_ipv4.to_string()),
        ("IPv6", network.enable_ipv6.to_string()),
        ("Internal", network.internal.to_string()),
        ("Labels", labels.join(",")),
        ("CreatedAt", network.created.clone()),
    ])
}

async fn remove(context: &Context, args: RemoveArgs) -> Outcome {
    let client = context.client().await?;
    for_each(&args.networks, async |name| {
        match client.remove_network(name).await {
            // What is not there needs no removing, says --force.
            Err(error) if args.force && error.status() == Some(404) => Ok(()),
            other => other,
        }
    })
    .await
}

async fn prune(context: &Context, args: &PruneArgs) -> Outcome {
    let filters = filters::resolve(&args.filter)?;
    if !args.force && !confirmed()? {
        return Ok(0);
    }
    let client = context.client().await?;
    let removed = client.prune_networks(filters.as_deref()).await?;
    if !removed.is_empty() {
        output::line("Deleted Networks:")?;
        for name in &removed {
            output::line(name)?;
        }
        output::line("")?;
    }
    Ok(0)
}

/// Asks whether to go on; without an answer it is no.
fn confirmed() -> Result<bool, Failure> {
    output::note(
        "WARNING! This will remove all custom networks not used by at least one container.\n\
         Are you sure you want to continue? [y/N]",
    );
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("failed to read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_looks_like_dockers() {
        let network = NetworkSummary {
            id: "0123456789abcdef".to_owned(),
            name: "front".to_owned(),
            driver: "bridge".to_owned(),
            scope: "local".to_owned(),
            ..NetworkSummary::default()
        };
        let format = Format::parse(None).unwrap();

        let text = listing::render(&format, &COLUMNS, &COLUMNS, &[row(&network, false)]).unwrap();

        assert_eq!(
            text,
            "NETWORK ID     NAME      DRIVER    SCOPE\n\
             0123456789ab   front     bridge    local\n"
        );
    }
}
