//! The first page of help: verbs in groups, examples, and nothing that needs scrolling.

use clap::{ArgAction, Command, CommandFactory};

use super::Cli;

/// Groups of the first page, by the verbs' names.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Run containers",
        &["run", "exec", "create", "start", "attach"],
    ),
    (
        "Look after them",
        &[
            "ps", "logs", "inspect", "top", "stats", "port", "events", "wait", "update",
        ],
    ),
    (
        "End them",
        &[
            "stop", "restart", "kill", "pause", "unpause", "rm", "rename",
        ],
    ),
    ("Their files", &["cp", "diff", "export", "commit"]),
    (
        "Images",
        &[
            "images", "pull", "push", "search", "save", "load", "import", "tag", "rmi", "history",
            "image", "login", "logout",
        ],
    ),
    (
        "dhow itself",
        &["machine", "info", "version", "doctor", "env", "completion"],
    ),
];

/// What people type first.
const EXAMPLES: &str = "Examples:
  dhow pull busybox                          add an image from a registry
  dhow load -i busybox.tar                   add one from an archive
  dhow run --rm -it busybox sh               a shell in a container
  dhow run -d --name web -p 8080:80 IMAGE    a server on http://127.0.0.1:8080/
  eval \"$(dhow env)\"; docker ps              Docker's own tools, with dhow behind them

`dhow VERB --help` says more about a verb.";

/// The whole command line, with our first page of help.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let page = first_page(&command);
    // As with Docker, the last of a repeated flag counts.
    command
        .help_template(page)
        .mut_subcommands(|verb| verb.args_override_self(true))
}

/// The same command line, where every switch also takes `=true` or `=false`.
pub(super) fn command_with_switch_values() -> Command {
    let with_values = |verb: Command| {
        verb.mut_args(|arg| {
            if !matches!(arg.get_action(), ArgAction::SetTrue) {
                return arg;
            }
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
        })
    };
    command().mut_subcommands(with_values)
}

fn first_page(command: &Command) -> String {
    let mut page = String::from("{about}\n\nUsage: dhow [OPTIONS] VERB ...\n");
    for (title, verbs) in GROUPS {
        page.push_str(&format!("\n{title}:\n"));
        for verb in verbs {
            let about = command
                .find_subcommand(verb)
                .and_then(Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            page.push_str(&format!("  {verb:<11} {about}\n"));
        }
    }
    page.push_str("\nOptions:\n{options}\n\n");
    page.push_str(EXAMPLES);
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, command};

    #[test]
    fn every_verb_that_is_not_hidden_is_on_the_first_page() {
        let command = command();
        let mut listed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, verbs)| verbs.iter().copied())
            .collect();
        let mut verbs: Vec<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        listed.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(listed, verbs);
    }
}
