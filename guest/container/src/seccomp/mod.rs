//! OCI's `linux.seccomp` compiled to a classic BPF program.
//!
//! Under User Mode Linux nothing compiles the program to machine code and every system call runs
//! it, so it is kept short: system calls with the same answer that are neighbours by number become
//! one interval, and a balanced tree of comparisons finds the interval. Docker's default profile
//! takes some ten instructions per call this way, against hundreds in a list.
//!
//! As with libseccomp: a rule without conditions beats one with conditions; conditions of one rule
//! must all hold; rules are tried in order; and what no rule names gets the default action. As
//! with runc: a call newer than every one we know gets ENOSYS, not the default's EPERM, so that C
//! libraries fall back to what they did before.

mod names;
mod program;

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::libc;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
};

use crate::plan::process::Filter;

/// The most conditions of one profile: what keeps a program below the kernel's 4096 instructions.
const MAX_CONDITIONS: usize = 256;

/// The errno of `SCMP_ACT_ERRNO` where none is given: EPERM.
const DEFAULT_ERRNO: u32 = 1;

/// How many arguments a system call has.
const ARGUMENT_COUNT: usize = 6;

/// `SECCOMP_RET_…` of `linux/seccomp.h`.
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;
const RETURN_KILL_THREAD: u32 = 0;
const RETURN_TRAP: u32 = 0x0003_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_TRACE: u32 = 0x7ff0_0000;
const RETURN_LOG: u32 = 0x7ffc_0000;
const RETURN_ALLOW: u32 = 0x7fff_0000;

/// Why a profile cannot become a program.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// An action that needs somebody outside.
    #[error("seccomp action {0} is not supported")]
    Action(LinuxSeccompAction),
    /// A flag that needs somebody outside.
    #[error("seccomp flag {0} is not supported")]
    Flag(LinuxSeccompFilterFlag),
    /// A condition on an argument that no system call has.
    #[error("system calls have no argument {0}")]
    Argument(usize),
    /// Too many conditions.
    #[error("{0} conditions in a seccomp profile are more than {MAX_CONDITIONS}")]
    TooManyConditions(usize),
    /// An errno out of range.
    #[error("errno {0} in a seccomp profile is out of range")]
    Errno(u32),
}

/// What happens at a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// Conditions, each with its answer; the first that holds decides.
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    /// The answer otherwise.
    otherwise: u32,
}

/// Compiles a profile.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let verdicts = verdicts(profile)?;
    let default = answer(profile.default_action(), profile.default_errno_ret())?;
    let newer = match profile.default_action() {
        LinuxSeccompAction::ScmpActErrno => RETURN_ERRNO | libc::ENOSYS.cast_unsigned(),
        _ => default,
    };
    let program = program::assemble(&intervals(&verdicts, default, newer));
    let mut flags = 0;
    for flag in profile.flags().iter().flatten() {
        flags |= flag_bits(*flag)?;
    }
    Ok(Filter {
        program: Arc::new(program),
        flags,
    })
}

fn flag_bits(flag: LinuxSeccompFilterFlag) -> Result<u64, SeccompError> {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Ok(libc::SECCOMP_FILTER_FLAG_LOG),
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
            Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW)
        }
        // There is one thread when the filter goes in.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Ok(0),
        other => Err(SeccompError::Flag(other)),
    }
}

/// An action as the kernel's return value.
fn answer(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    let errno = errno.unwrap_or(DEFAULT_ERRNO);
    if errno > u32::from(u16::MAX) {
        return Err(SeccompError::Errno(errno));
    }
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Ok(RETURN_KILL_THREAD)
        }
        LinuxSeccompAction::ScmpActKillProcess => Ok(RETURN_KILL_PROCESS),
        LinuxSeccompAction::ScmpActTrap => Ok(RETURN_TRAP),
        LinuxSeccompAction::ScmpActErrno => Ok(RETURN_ERRNO | errno),
        LinuxSeccompAction::ScmpActTrace => Ok(RETURN_TRACE | errno),
        LinuxSeccompAction::ScmpActLog => Ok(RETURN_LOG),
        LinuxSeccompAction::ScmpActAllow => Ok(RETURN_ALLOW),
        other @ LinuxSeccompAction::ScmpActNotify => Err(SeccompError::Action(other)),
    }
}

/// What happens at each system call that the profile names, by number. Names that this
/// architecture lacks are skipped: profiles are written for all of them.
fn verdicts(profile: &LinuxSeccomp) -> Result<BTreeMap<u32, Verdict>, SeccompError> {
    let default = answer(profile.default_action(), profile.default_errno_ret())?;
    let mut verdicts = BTreeMap::<u32, Verdict>::new();
    let mut unconditional = std::collections::BTreeSet::new();
    let mut conditions = 0;
    for rule in profile.syscalls().iter().flatten() {
        let answer = answer(rule.action(), rule.errno_ret())?;
        let arguments = rule.args().as_deref().unwrap_or_default();
        let sets = condition_sets(arguments)?;
        for number in rule.names().iter().filter_map(|name| names::number(name)) {
            let verdict = verdicts.entry(number).or_insert_with(|| Verdict {
                conditional: Vec::new(),
                otherwise: default,
            });
            if sets.is_empty() {
                if unconditional.insert(number) {
                    verdict.otherwise = answer;
                    verdict.conditional.clear();
                }
            } else if !unconditional.contains(&number) {
                conditions += arguments.len();
                verdict
                    .conditional
                    .extend(sets.iter().map(|set| (set.clone(), answer)));
            }
        }
    }
    if conditions > MAX_CONDITIONS {
        return Err(SeccompError::TooManyConditions(conditions));
    }
    Ok(verdicts)
}

/// A rule's conditions as sets of which one must hold. All conditions of a rule must hold, except
/// that runc takes several on the same argument as alternatives, and profiles rely on it.
fn condition_sets(
    arguments: &[LinuxSeccompArg],
) -> Result<Vec<Vec<LinuxSeccompArg>>, SeccompError> {
    if let Some(wrong) = arguments
        .iter()
        .find(|argument| argument.index() >= ARGUMENT_COUNT)
    {
        return Err(SeccompError::Argument(wrong.index()));
    }
    let distinct: std::collections::BTreeSet<_> =
        arguments.iter().map(LinuxSeccompArg::index).collect();
    if arguments.is_empty() {
        Ok(Vec::new())
    } else if distinct.len() == arguments.len() {
        Ok(vec![arguments.to_vec()])
    } else {
        Ok(arguments.iter().map(|argument| vec![*argument]).collect())
    }
}

/// A stretch of system call numbers with one verdict, up to the next one's start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    start: u32,
    verdict: Verdict,
}

/// All numbers as intervals, in order, the first one starting at 0.
fn intervals(verdicts: &BTreeMap<u32, Verdict>, default: u32, newer: u32) -> Vec<Interval> {
    let plain = |answer| Verdict {
        conditional: Vec::new(),
        otherwise: answer,
    };
    let mut intervals = vec![Interval {
        start: 0,
        verdict: plain(default),
    }];
    let mut push = |start: u32, verdict: Verdict| match intervals.last_mut() {
        Some(last) if last.start == start => last.verdict = verdict,
        Some(last) if last.verdict == verdict => {}
        _ => intervals.push(Interval { start, verdict }),
    };
    for (number, verdict) in verdicts {
        push(*number, verdict.clone());
        if !verdicts.contains_key(&(number + 1)) {
            push(number + 1, plain(default));
        }
    }
    push(
        names::HIGHEST.max(verdicts.keys().last().copied().unwrap_or(0)) + 1,
        plain(newer),
    );
    // Replacing an interval's verdict may have made it equal to its neighbour's.
    intervals.dedup_by(|later, earlier| later.verdict == earlier.verdict);
    intervals
}

#[cfg(test)]
mod tests;
