//! `dhow network`.

use clap::{Args, Subcommand};

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkVerb {
    /// Make a network
    Create(Box<CreateArgs>),
    /// Connect a container to a network
    Connect(Box<ConnectArgs>),
    /// Disconnect a container from a network
    Disconnect(DisconnectArgs),
    /// Show everything about networks
    Inspect(InspectArgs),
    /// List networks
    #[command(alias = "list")]
    Ls(ListArgs),
    /// Remove networks
    #[command(alias = "remove")]
    Rm(RemoveArgs),
    /// Remove every network that no container uses
    Prune(PruneArgs),
}

/// `dhow network create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Let containers of swarms join; kept and shown
    #[arg(long)]
    pub(crate) attachable: bool,
    /// Addresses that others have; refused in this version
    #[arg(long, value_name = "NAME=IP")]
    pub(crate) aux_address: Vec<String>,
    /// What it is made of: bridge
    #[arg(short, long, default_value = "bridge")]
    pub(crate) driver: String,
    /// Address of the gateway
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: Vec<String>,
    /// Keep it from reaching anything beyond it
    #[arg(long)]
    pub(crate) internal: bool,
    /// Take addresses from this part of the subnet
    #[arg(long, value_name = "SUBNET")]
    pub(crate) ip_range: Vec<String>,
    /// Who gives addresses out: default
    #[arg(long, default_value = "default", value_name = "DRIVER")]
    pub(crate) ipam_driver: String,
    /// Give it IPv6 addresses, too
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Label it
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Set an option, such as com.docker.network.driver.mtu=1400
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
    /// `local`
    #[arg(long, hide = true)]
    pub(crate) scope: Option<String>,
    /// Its subnet, such as 10.9.0.0/16
    #[arg(long, value_name = "SUBNET")]
    pub(crate) subnet: Vec<String>,
    /// Its name
    #[arg(value_name = "NETWORK")]
    pub(crate) name: String,
}

/// `dhow network connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// A further name on the network
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// Set an option of the driver
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) driver_opt: Vec<String>,
    /// The network with the highest is the way out
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) gw_priority: Option<i64>,
    /// Its address there
    #[arg(long, value_name = "IP")]
    pub(crate) ip: Option<String>,
    /// Its IPv6 address there
    #[arg(long, value_name = "IP")]
    pub(crate) ip6: Option<String>,
    /// Give another container a name that only this one sees
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    pub(crate) link: Vec<String>,
    /// Addresses of the link; refused in this version
    #[arg(long, value_name = "IP")]
    pub(crate) link_local_ip: Vec<String>,
    /// Name or id of the network
    pub(crate) network: String,
    /// Name or id of the container
    pub(crate) container: String,
}

/// `dhow network disconnect`.
#[derive(Debug, Args)]
pub(crate) struct DisconnectArgs {
    /// Whatever the container's state
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Name or id of the network
    pub(crate) network: String,
    /// Name or id of the container
    pub(crate) container: String,
}

/// `dhow network inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// json, or a Go template such as '{{range .IPAM.Config}}{{.Subnet}}{{end}}'
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// As it is anyway
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) networks: Vec<String>,
}

/// `dhow network ls`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only some, such as driver=bridge, name=front, label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, table, or a Go template such as '{{.Name}}: {{.Driver}}'
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show ids in full length
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `dhow network rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Say nothing about networks that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) networks: Vec<String>,
}

/// `dhow network prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only some, such as until=24h or label=a=b
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Ask no question
    #[arg(short, long)]
    pub(crate) force: bool,
}
