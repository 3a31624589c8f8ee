//! `run` and `create`.

use clap::Args;

use super::container::ContainerArgs;

/// `dhow run`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "dhow run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]...",
    after_help = "Examples:\n  \
        dhow run --rm -it busybox sh               a shell, gone when you leave it\n  \
        dhow run -d --name web -p 8080:80 IMAGE    a web server on http://127.0.0.1:8080/\n\n\
        Ends with the container's exit code; 125 when dhow or the flags are at fault,\n\
        126 when the command cannot be executed, 127 when it does not exist."
)]
pub(crate) struct RunArgs {
    /// Leave it running and print its id
    #[arg(short, long, help_heading = "Streams")]
    pub(crate) detach: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", help_heading = "Streams")]
    pub(crate) detach_keys: Option<String>,
    /// Pass signals on to it
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true,
        help_heading = "Streams"
    )]
    pub(crate) sig_proxy: bool,

    /// How the container is to be.
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// `dhow create`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "dhow create [OPTIONS] IMAGE [COMMAND] [ARGUMENT]..."
)]
pub(crate) struct CreateArgs {
    /// How the container is to be.
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}
