//! Verbs that change containers that exist.

use std::path::PathBuf;

use clap::Args;

use super::container::ChangeableLimitArgs;

/// One or more containers.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `dhow start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Connect to its output, and pass signals on
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Connect to its input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `dhow attach`.
#[derive(Debug, Args)]
#[command(after_help = "Leave it running with ctrl-p ctrl-q.")]
pub(crate) struct AttachArgs {
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Do not connect our input
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Pass signals on to it
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true
    )]
    pub(crate) sig_proxy: bool,
    /// Name or id
    pub(crate) container: String,
}

/// `dhow exec`.
#[derive(Debug, Args)]
#[command(
    override_usage = "dhow exec [OPTIONS] CONTAINER COMMAND [ARGUMENT]...",
    after_help = "Examples:\n  \
        dhow exec -it web sh          a shell beside the server\n  \
        dhow exec web cat /etc/hosts  one command; its exit code becomes ours"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch the user can type"
)]
pub(crate) struct ExecArgs {
    /// Leave it running in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Keys that leave it running
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Set a variable; a name alone takes its value from here
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Connect our input
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Give it every capability
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Run as this user
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub(crate) user: Option<String>,
    /// Folder to start in
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<String>,
    /// Name or id
    pub(crate) container: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// `dhow stop` and `dhow restart`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Seconds to wait before it is killed; -1 for as long as it takes
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub(crate) time: Option<i64>,
    /// Signal that asks it to stop
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `dhow kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Name or number of the signal
    #[arg(short, long, default_value = "KILL")]
    pub(crate) signal: String,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `dhow rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Also a running one, which is killed
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Together with the volumes made for it alone
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `dhow rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Name or id
    pub(crate) container: String,
    /// The name to give it
    pub(crate) new_name: String,
}

/// `dhow update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Limits on what it may use.
    #[command(flatten)]
    pub(crate) limits: ChangeableLimitArgs,
    /// Start again when it stops: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}
