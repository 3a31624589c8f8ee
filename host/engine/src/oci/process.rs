//! The process: arguments, environment, capabilities and resource limits.

use serde_json::{Value, json};

use super::security::Security;
use super::{capabilities, hostname};
use crate::container::{Record, Ulimit, UlimitError};

/// Where programs are looked for unless the image says otherwise.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a terminal is taken for; the oldest one that everything understands.
const DEFAULT_TERMINAL: &str = "TERM=xterm";

/// A further process in a container, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Beyond the container's own.
    pub env: Vec<String>,
    /// Where it starts; the container's where empty.
    pub working_dir: String,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it gets every capability.
    pub privileged: bool,
}

/// The container's first process.
pub(super) fn of_container(
    record: &Record,
    capabilities: &[&str],
    security: &Security,
) -> Result<Value, UlimitError> {
    let config = &record.config;
    let mut process = object(
        &record.arguments,
        &environment(record, config.tty, &[]),
        &config.working_dir,
        config.tty,
    );
    process["capabilities"] = capability_sets(capabilities, has_root(&config.user));
    process["noNewPrivileges"] = security.no_new_privileges.into();
    process["oomScoreAdj"] = record.host_config.resources.oom_score_adj.into();
    process["rlimits"] = rlimits(&record.host_config.resources.ulimits)?;
    Ok(process)
}

/// A further process.
///
/// # Errors
/// [`super::ConfigError`] where the container's own configuration no longer reads.
pub fn of_exec(
    record: &Record,
    options: &ProcessOptions,
    user: &str,
) -> Result<Value, super::ConfigError> {
    let working_dir = match options.working_dir.as_str() {
        "" => &record.config.working_dir,
        given => given,
    };
    let granted = if options.privileged {
        capabilities::all()
    } else {
        capabilities::granted(&record.host_config)?
    };
    let security = Security::parse(&record.host_config.security_opt)?;
    let mut process = object(
        &options.arguments,
        &environment(record, options.tty, &options.env),
        working_dir,
        options.tty,
    );
    process["capabilities"] = capability_sets(&granted, has_root(user));
    process["noNewPrivileges"] = security.no_new_privileges.into();
    process["rlimits"] = rlimits(&record.host_config.resources.ulimits)?;
    Ok(process)
}

fn object(arguments: &[String], env: &[String], working_dir: &str, terminal: bool) -> Value {
    let cwd = if working_dir.is_empty() {
        "/"
    } else {
        working_dir
    };
    json!({
        "args": arguments,
        "env": env,
        "cwd": cwd,
        "terminal": terminal,
        // The agent looks the user up in the container's own files and fills this in.
        "user": {"uid": 0, "gid": 0},
    })
}

/// Whether the user is root as far as can be told without the container's files.
fn has_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "0" | "root")
}

/// As Docker: a process of another user than root may gain the bounding set through files, and has
/// none of it to begin with.
fn capability_sets(granted: &[&str], root: bool) -> Value {
    let held: &[&str] = if root { granted } else { &[] };
    json!({"bounding": granted, "effective": held, "permitted": held})
}

/// Docker's own variables first, then the image's and the user's, each name once, the last winning.
fn environment(record: &Record, tty: bool, further: &[String]) -> Vec<String> {
    let mut env = vec![
        DEFAULT_PATH.to_owned(),
        format!("HOSTNAME={}", hostname(record)),
    ];
    if tty {
        env.push(DEFAULT_TERMINAL.to_owned());
    }
    // HOME is left to the agent, which knows the user's once it has looked the user up.
    merge_environment(&merge_environment(&env, &record.config.env), further)
}

/// `base` with `over` laid over it: a name in `over` replaces the one in `base`; a name without `=`
/// removes it.
#[must_use]
pub fn merge_environment(base: &[String], over: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut merged = base.to_vec();
    for variable in over {
        let wanted = name(variable);
        let place = merged.iter().position(|known| name(known) == wanted);
        match (place, variable.contains('=')) {
            (Some(at), true) => merged[at].clone_from(variable),
            (Some(at), false) => {
                merged.remove(at);
            }
            (None, true) => merged.push(variable.clone()),
            (None, false) => {}
        }
    }
    merged
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Value, UlimitError> {
    ulimits.iter().map(rlimit).collect()
}

fn rlimit(ulimit: &Ulimit) -> Result<Value, UlimitError> {
    ulimit.check()?;
    Ok(json!({
        "type": format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase()),
        "soft": Ulimit::in_kernel(ulimit.soft),
        "hard": Ulimit::in_kernel(ulimit.hard),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(variables: &[&str]) -> Vec<String> {
        variables
            .iter()
            .map(|&variable| variable.to_owned())
            .collect()
    }

    #[test]
    fn later_variables_replace_earlier_ones_in_place() {
        let merged = merge_environment(&owned(&["PATH=/bin", "A=1"]), &owned(&["A=2", "B=3"]));

        assert_eq!(merged, ["PATH=/bin", "A=2", "B=3"]);
    }

    #[test]
    fn a_name_alone_removes_the_variable() {
        assert!(merge_environment(&owned(&["A=1"]), &owned(&["A"])).is_empty());
    }

    #[test]
    fn minus_one_is_no_limit() {
        let nofile = Ulimit {
            name: "nofile".to_owned(),
            soft: 1024,
            hard: -1,
        };

        let rlimit = rlimit(&nofile).unwrap();

        assert_eq!(rlimit["type"], "RLIMIT_NOFILE");
        assert_eq!(rlimit["hard"], u64::MAX);
    }
}
