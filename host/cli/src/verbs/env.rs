//! `dhow env`: the setting that points Docker's own tools at us.

use crate::args::system::{EnvArgs, EnvShell};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output;

/// The variable Docker's tools look at.
const VARIABLE: &str = "DOCKER_HOST";

/// `dhow env`.
pub(crate) fn env(context: &Context, args: &EnvArgs) -> Outcome {
    let shell = args
        .shell
        .unwrap_or_else(|| shell_of(std::env::var("SHELL").ok().as_deref()));
    let address = if args.unset {
        None
    } else {
        Some(context.address()?)
    };
    output::line(&setting(shell, address.as_deref()))?;
    Ok(0)
}

/// The shell whose program this is.
fn shell_of(program: Option<&str>) -> EnvShell {
    match program.and_then(|program| program.rsplit('/').next()) {
        Some("fish") => EnvShell::Fish,
        Some("pwsh") => EnvShell::Powershell,
        _ => EnvShell::Sh,
    }
}

/// A line that sets or removes the variable.
fn setting(shell: EnvShell, address: Option<&str>) -> String {
    match (shell, address) {
        (EnvShell::Sh, Some(address)) => format!("export {VARIABLE}={}", quoted(address)),
        (EnvShell::Sh, None) => format!("unset {VARIABLE}"),
        (EnvShell::Fish, Some(address)) => format!("set -gx {VARIABLE} {}", quoted(address)),
        (EnvShell::Fish, None) => format!("set -e {VARIABLE}"),
        (EnvShell::Powershell, Some(address)) => {
            format!("$Env:{VARIABLE} = '{}'", address.replace('\'', "''"))
        }
        (EnvShell::Powershell, None) => format!("Remove-Item Env:{VARIABLE}"),
    }
}

/// In single quotes, where the text needs them.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{setting, shell_of};
    use crate::args::system::EnvShell;

    #[test]
    fn each_shell_has_its_own_way() {
        let address = Some("unix:///run/user/1000/dhow/docker.sock");
        assert_eq!(
            setting(EnvShell::Sh, address),
            "export DOCKER_HOST=unix:///run/user/1000/dhow/docker.sock"
        );
        assert_eq!(
            setting(EnvShell::Fish, address),
            "set -gx DOCKER_HOST unix:///run/user/1000/dhow/docker.sock"
        );
        assert_eq!(
            setting(EnvShell::Powershell, address),
            "$Env:DOCKER_HOST = 'unix:///run/user/1000/dhow/docker.sock'"
        );
        assert_eq!(setting(EnvShell::Sh, None), "unset DOCKER_HOST");
    }

    #[test]
    fn a_path_with_a_space_is_quoted() {
        let line = setting(EnvShell::Sh, Some("unix:///my home/it's"));
        assert_eq!(line, r"export DOCKER_HOST='unix:///my home/it'\''s'");
    }

    #[test]
    fn the_shell_is_told_by_its_program() {
        assert_eq!(shell_of(Some("/usr/bin/fish")), EnvShell::Fish);
        assert_eq!(shell_of(None), EnvShell::Sh);
    }
}
