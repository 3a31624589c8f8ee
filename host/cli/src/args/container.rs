//! What `run` and `create` have in common: how a container is to be.

use std::path::PathBuf;

use clap::Args;

/// Everything a container's configuration can say.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch the user can type"
)]
pub(crate) struct ContainerArgs {
    /// Keep the container's input open
    #[arg(short, long, help_heading = "Streams")]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long, help_heading = "Streams")]
    pub(crate) tty: bool,
    /// Connect only these streams: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM", help_heading = "Streams")]
    pub(crate) attach: Vec<String>,

    /// A name to call it by
    #[arg(long, help_heading = "Identity")]
    pub(crate) name: Option<String>,
    /// Host name inside
    #[arg(short = 'h', long, help_heading = "Identity")]
    pub(crate) hostname: Option<String>,
    /// Domain name inside
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    pub(crate) domainname: Option<String>,
    /// Label it
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = "Identity")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Remove it when it stops
    #[arg(long, help_heading = "Identity")]
    pub(crate) rm: bool,

    /// Publish a port: [ip:][host]:container[/tcp|udp]; ranges such as 8000-8010:80-90 work
    #[arg(short, long, value_name = "SPEC", help_heading = "Network")]
    pub(crate) publish: Vec<String>,
    /// Publish every exposed port on any free port
    #[arg(short = 'P', long, help_heading = "Network")]
    pub(crate) publish_all: bool,
    /// Expose a port or a range
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub(crate) expose: Vec<String>,
    /// Its networks.
    #[command(flatten)]
    pub(crate) networks: NetworkArgs,
    /// Add a line to its /etc/hosts
    #[arg(long, value_name = "HOST:IP", help_heading = "Network")]
    pub(crate) add_host: Vec<String>,
    /// Use this DNS server
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub(crate) dns: Vec<String>,
    /// Set an option of the resolver
    #[arg(
        long,
        value_name = "OPTION",
        alias = "dns-opt",
        help_heading = "Network"
    )]
    pub(crate) dns_option: Vec<String>,
    /// Search names in this domain
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub(crate) dns_search: Vec<String>,

    /// Set a variable; a name alone takes its value from here
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = "Process")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Folder to start in
    #[arg(short, long, value_name = "PATH", help_heading = "Process")]
    pub(crate) workdir: Option<String>,
    /// Run as this user
    #[arg(
        short,
        long,
        value_name = "NAME|UID[:GROUP|GID]",
        help_heading = "Process"
    )]
    pub(crate) user: Option<String>,
    /// Add a group to the user's
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    pub(crate) group_add: Vec<String>,
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "COMMAND", help_heading = "Process")]
    pub(crate) entrypoint: Option<String>,
    /// Put a small init before it that reaps processes and passes signals on
    #[arg(long, help_heading = "Process")]
    pub(crate) init: bool,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds to wait for it to stop
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        help_heading = "Process"
    )]
    pub(crate) stop_timeout: Option<i64>,
    /// Start again when it stops: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "POLICY", help_heading = "Process")]
    pub(crate) restart: Option<String>,

    /// Refused in this version: there are no volumes yet
    #[arg(short, long, value_name = "SPEC", help_heading = "Files")]
    pub(crate) volume: Vec<String>,
    /// Mount something, such as type=tmpfs,target=/run
    #[arg(long, value_name = "SPEC", help_heading = "Files")]
    pub(crate) mount: Vec<String>,
    /// Mount a file system in memory
    #[arg(long, value_name = "PATH[:OPTIONS]", help_heading = "Files")]
    pub(crate) tmpfs: Vec<String>,
    /// Make its root file system read-only
    #[arg(long, help_heading = "Files")]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", help_heading = "Files")]
    pub(crate) shm_size: Option<String>,

    /// How its health is checked.
    #[command(flatten)]
    pub(crate) health: HealthArgs,

    /// Limits on what it may use.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Add a capability
    #[arg(long, value_name = "CAPABILITY", help_heading = "Privileges")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long, value_name = "CAPABILITY", help_heading = "Privileges")]
    pub(crate) cap_drop: Vec<String>,
    /// Give it everything its virtual machine has
    #[arg(long, help_heading = "Privileges")]
    pub(crate) privileged: bool,
    /// Such as no-new-privileges or seccomp=unconfined
    #[arg(long, value_name = "OPTION", help_heading = "Privileges")]
    pub(crate) security_opt: Vec<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Privileges")]
    pub(crate) sysctl: Vec<String>,

    /// When to fetch the image: `missing`, `never` or `always`
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "missing",
        help_heading = "Image"
    )]
    pub(crate) pull: PullPolicy,
    /// Only linux/amd64 can run
    #[arg(long, value_name = "OS/ARCH", help_heading = "Image")]
    pub(crate) platform: Option<String>,
    /// Do not show how a pull goes
    #[arg(short, long, help_heading = "Image")]
    pub(crate) quiet: bool,

    /// Show this help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    pub(crate) help: Option<bool>,

    /// The image to run
    pub(crate) image: String,
    /// The command, and its arguments, instead of the image's own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Which networks a container is on.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// A network, none, host (the machine's), or container:NAME; name=…,alias=…,ip=… says more
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// A further name on its network
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Its address on its network
    #[arg(long, value_name = "IP")]
    pub(crate) ip: Option<String>,
    /// Its IPv6 address on its network
    #[arg(long, value_name = "IP")]
    pub(crate) ip6: Option<String>,
    /// Its hardware address
    #[arg(long, value_name = "MAC")]
    pub(crate) mac_address: Option<String>,
    /// Tell it about another container
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    pub(crate) link: Vec<String>,
    /// Addresses of the link; refused in this version
    #[arg(long, value_name = "IP", hide = true)]
    pub(crate) link_local_ip: Vec<String>,
}

/// How a container's health is checked.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthArgs {
    /// Run this in its shell to see whether it is well
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// From one check to the next
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_interval: Option<String>,
    /// How long one check may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_timeout: Option<String>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) health_retries: Option<i64>,
    /// How long failures do not count after its start
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_period: Option<String>,
    /// From one check to the next meanwhile
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_interval: Option<String>,
    /// Make no checks, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}

/// What a container may use at most.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Those that can be changed later.
    #[command(flatten)]
    pub(crate) changeable: ChangeableLimitArgs,
    /// A limit per process, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// How soon it is killed when memory runs out, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i64>,
}

/// Limits that a running container can be given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ChangeableLimitArgs {
    /// Memory, such as 512m
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Memory it is left with when the machine runs short
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Processors, such as 0.5
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Weight against other containers
    #[arg(short, long, value_name = "WEIGHT")]
    pub(crate) cpu_shares: Option<i64>,
    /// Microseconds per period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Length of a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) cpu_period: Option<i64>,
    /// Processors it may run on, such as 0-3 or 0,1
    #[arg(long, value_name = "CPUS")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Processes; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
}

/// When an image would be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PullPolicy {
    /// Every time.
    Always,
    /// When it is not here.
    Missing,
    /// Never.
    Never,
}
