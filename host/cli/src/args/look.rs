//! Verbs that look at containers and change nothing.

use clap::Args;

/// `dhow ps`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch the user can type"
)]
pub(crate) struct PsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only some, such as status=exited, name=web, label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, table, or a Go template such as '{{.Names}}: {{.Status}}'
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// The last so many that were created, in any state
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true
    )]
    pub(crate) last: Option<i64>,
    /// The one created last, in any state
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Show everything in full length
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Also sizes
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// `dhow logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on as more is said
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// From a time on (2026-11-22T12:00:00Z) or so long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to a time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only the last so many lines
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        default_value = "all",
        allow_negative_numbers = true
    )]
    pub(crate) tail: String,
    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Name or id
    pub(crate) container: String,
}

/// `dhow inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow inspect -f '{{.State.Running}}' web")]
pub(crate) struct InspectArgs {
    /// json, or a Go template such as '{{.State.Running}}' or '{{json .Mounts}}'
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Also sizes
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only containers, images or networks
    #[arg(long, value_name = "KIND")]
    pub(crate) r#type: Option<InspectKind>,
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InspectKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
}

/// `dhow top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Name or id
    pub(crate) container: String,
    /// Options for `ps`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) ps_options: Vec<String>,
}

/// `dhow stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Also containers that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// `json`, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show it once
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Show whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Names or ids; all that run without any
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// `dhow port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// Name or id
    pub(crate) container: String,
    /// Only this port, such as 80 or 53/udp
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub(crate) port: Option<String>,
}

/// `dhow events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only some, such as type=container, event=die, container=web
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// First what happened since a time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Stop at a time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}
