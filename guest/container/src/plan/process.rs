//! OCI's `process` as steps: who the process is, what it may do, what it executes.

use std::ffi::CString;
use std::sync::Arc;

use nix::libc;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process};
use rustix::process::{Gid, Resource, Rlimit, Uid};

use super::{ZeroByte, c_string, capability};
use crate::spawn::{Program, Step};
use crate::user::ResolvedUser;

/// Where commands are looked for when the environment does not say: Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file mode creation mask where none is asked for.
const DEFAULT_UMASK: u32 = 0o022;

/// Why a process cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No command.
    #[error("process args must not be empty")]
    NoArguments,
    /// A text with a zero byte.
    #[error("bad text in the process")]
    Text(#[from] ZeroByte),
    /// A working directory that is not absolute.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// A resource limit that this runtime does not set.
    #[error("resource limit {0} is not supported")]
    Limit(PosixRlimitType),
    /// A badness out of range.
    #[error("oom_score_adj {0} is not in the range -1000 to 1000")]
    OomScore(i32),
}

/// What the steps of a process depend on besides its configuration.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// Who it is to be.
    pub(crate) user: &'a ResolvedUser,
    /// The system call filter of its container.
    pub(crate) seccomp: Option<&'a Filter>,
    /// A mask of the capabilities that the kernel has.
    pub(crate) known_capabilities: u64,
    /// The agent's executable, where a tiny init is to run the command.
    pub(crate) init: Option<std::os::fd::OwnedFd>,
}

/// A system call filter, ready to install.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// The program.
    pub(crate) program: Arc<Vec<libc::sock_filter>>,
    /// `SECCOMP_FILTER_FLAG_…`.
    pub(crate) flags: u64,
}

/// The steps of a process once it is in its namespaces, its root and its working directory, up to
/// `execve`.
pub(crate) fn steps(
    process: &Process,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Step>, ProcessError> {
    let mut steps = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        steps.push(resource_limit(limit)?);
    }
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    let filter = surroundings.seccomp.map(|filter| Step::Seccomp {
        filter: Arc::clone(&filter.program),
        flags: filter.flags,
    });
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, so it goes before the capabilities; with
    // it, it goes last, so that it need not allow what happens in between.
    let (early_filter, late_filter) = if no_new_privileges {
        (None, filter)
    } else {
        (filter, None)
    };
    steps.extend(early_filter);
    let capabilities = capability::plan(
        process.capabilities().as_ref(),
        surroundings.known_capabilities,
    );
    steps.extend(capabilities.before_user);
    steps.push(become_user(surroundings.user));
    steps.push(capabilities.after_user);
    steps.push(Step::Umask(process.user().umask().unwrap_or(DEFAULT_UMASK)));
    if no_new_privileges {
        steps.push(Step::NoNewPrivileges);
    }
    steps.extend(late_filter);
    steps.push(Step::Execute(program(
        process,
        surroundings.user,
        surroundings.init,
    )?));
    Ok(steps)
}

/// The badness for the out-of-memory killer; done first, through the machine's own `/proc`.
pub(crate) fn oom_score(process: &Process) -> Result<CString, ProcessError> {
    let value = process.oom_score_adj().unwrap_or(0);
    if !(-1000..=1000).contains(&value) {
        return Err(ProcessError::OomScore(value));
    }
    Ok(c_string(&value.to_string())?)
}

/// The step into the working directory. It comes before the root becomes read-only, since a missing
/// directory is made.
pub(crate) fn working_directory(process: &Process) -> Result<Step, ProcessError> {
    let path = process.cwd().to_string_lossy();
    let path = if path.is_empty() { "/".into() } else { path };
    if !path.starts_with('/') {
        return Err(ProcessError::WorkingDirectory(path.into_owned()));
    }
    Ok(Step::WorkingDirectory(c_string(&path)?))
}

fn become_user(user: &ResolvedUser) -> Step {
    Step::User {
        uid: Uid::from_raw(user.uid),
        gid: Gid::from_raw(user.gid),
        groups: user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect(),
    }
}

/// The program, where to look for it, its arguments and its environment.
fn program(
    process: &Process,
    user: &ResolvedUser,
    init: Option<std::os::fd::OwnedFd>,
) -> Result<Program, ProcessError> {
    let arguments = process.args().as_deref().unwrap_or_default();
    let command = arguments.first().ok_or(ProcessError::NoArguments)?;
    let environment = process.env().as_deref().unwrap_or_default();
    let path = variable(environment, "PATH").unwrap_or(DEFAULT_PATH);
    let candidates = candidates(command, path)?;
    let mut c_environment = c_strings(environment)?;
    if variable(environment, "HOME").is_none_or(str::is_empty) {
        c_environment.push(c_string(&format!("HOME={}", user.home))?);
    }
    let c_arguments = c_strings(arguments)?;
    let Some(executable) = init else {
        return Ok(Program::new(candidates, c_arguments, c_environment));
    };
    let through = crate::init::arguments(c_arguments);
    Ok(Program::new(candidates, through, c_environment).through(executable))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, ZeroByte> {
    texts.iter().map(|text| c_string(text)).collect()
}

/// The value of a variable; the last one wins, as with Docker.
fn variable<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// Where a command may be: its own path, or below each directory of `PATH`.
fn candidates(command: &str, path: &str) -> Result<Vec<CString>, ZeroByte> {
    if command.contains('/') {
        return Ok(vec![c_string(command)?]);
    }
    if command.is_empty() {
        return Ok(Vec::new());
    }
    path.split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder })
        .map(|folder| c_string(&format!("{folder}/{command}")))
        .collect()
}

fn resource_limit(limit: &PosixRlimit) -> Result<Step, ProcessError> {
    let resource = match limit.typ() {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    };
    let bound = |value: u64| (value != u64::MAX).then_some(value);
    let limit = Rlimit {
        current: bound(limit.soft()),
        maximum: bound(limit.hard()),
    };
    Ok(Step::Limit(resource, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Process {
        serde_json::from_str(json).unwrap()
    }

    fn root() -> ResolvedUser {
        ResolvedUser {
            uid: 0,
            gid: 0,
            groups: vec![],
            home: "/root".to_owned(),
        }
    }

    fn plan(process: &Process, user: &ResolvedUser, seccomp: Option<&Filter>) -> Vec<Step> {
        let surroundings = Surroundings {
            user,
            seccomp,
            known_capabilities: (1 << 41) - 1,
            init: None,
        };
        steps(process, surroundings).unwrap()
    }

    fn position(steps: &[Step], wanted: fn(&Step) -> bool) -> usize {
        steps.iter().position(wanted).unwrap()
    }

    #[test]
    fn a_bare_command_is_looked_for_along_the_path() {
        let found = candidates("sh", "/a:/b::/c").unwrap();

        assert_eq!(
            found,
            [c"/a/sh", c"/b/sh", c"./sh", c"/c/sh"].map(CString::from)
        );
    }

    #[test]
    fn a_command_with_a_slash_is_taken_as_it_is() {
        assert_eq!(
            candidates("./run", "/bin").unwrap(),
            [CString::from(c"./run")]
        );
    }

    #[test]
    fn an_empty_command_is_nowhere() {
        assert!(candidates("", "/bin").unwrap().is_empty());
    }

    #[test]
    fn the_last_of_two_equal_variables_counts() {
        let environment = ["PATH=/a", "PATHS=/c", "PATH=/b"].map(str::to_owned);

        assert_eq!(variable(&environment, "PATH"), Some("/b"));
    }

    #[test]
    fn the_filter_comes_last_where_privileges_cannot_grow() {
        let process =
            parse(r#"{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},"noNewPrivileges":true}"#);
        let filter = Filter {
            program: Arc::new(vec![]),
            flags: 0,
        };

        let steps = plan(&process, &root(), Some(&filter));

        let filter = position(&steps, |step| matches!(step, Step::Seccomp { .. }));
        assert_eq!(filter, steps.len() - 2);
    }

    #[test]
    fn the_filter_comes_before_capabilities_go_where_privileges_may_grow() {
        let process = parse(r#"{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0}}"#);
        let filter = Filter {
            program: Arc::new(vec![]),
            flags: 0,
        };

        let steps = plan(&process, &root(), Some(&filter));

        let filter = position(&steps, |step| matches!(step, Step::Seccomp { .. }));
        let capabilities = position(&steps, |step| matches!(step, Step::Capabilities { .. }));
        assert!(filter < capabilities);
    }

    #[test]
    fn refuses_a_relative_working_directory() {
        let process = parse(r#"{"cwd":"here","args":["x"],"user":{"uid":0,"gid":0}}"#);

        let error = working_directory(&process).unwrap_err();

        assert!(matches!(error, ProcessError::WorkingDirectory(_)));
    }

    #[test]
    fn an_unlimited_resource_has_no_bound() {
        let limit: PosixRlimit =
            serde_json::from_str(r#"{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":0}"#)
                .unwrap();

        let step = resource_limit(&limit).unwrap();

        assert!(matches!(
            step,
            Step::Limit(
                Resource::Core,
                Rlimit {
                    current: Some(0),
                    maximum: None
                }
            )
        ));
    }

    #[test]
    fn refuses_a_command_with_a_zero_byte() {
        let process = parse(r#"{"cwd":"/","args":["a\u0000b"],"user":{"uid":0,"gid":0}}"#);

        let error = program(&process, &root(), None).unwrap_err();

        assert!(matches!(error, ProcessError::Text(_)));
    }
}
