//! Docker's `--init`: a process 1 that runs the command, passes signals on and reaps orphans.
//!
//! It is the agent's own executable under another name ([`init_if_requested`]). By then the
//! process is fully inside its container, as its user and under its filter; it is an ordinary
//! program that happens to be ours.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The name under which the agent's executable is a container's init.
const INIT_NAME: &str = "dhow-container-init";

/// Exit codes for a command that is there but cannot be executed, and for one that is not there.
const NOT_EXECUTABLE_CODE: i32 = 126;
const NOT_FOUND_CODE: i32 = 127;

/// Added to a signal's number to make an exit code.
const SIGNAL_CODE_BASE: i32 = 128;

/// The arguments of the init that runs a command.
pub(crate) fn arguments(command: Vec<CString>) -> Vec<CString> {
    let name = CString::new(INIT_NAME).expect("the name has no zero byte");
    std::iter::once(name).chain(command).collect()
}

/// Becomes a container's init if this process was started as one, and never returns then.
///
/// The first line of the agent's `main`.
pub fn init_if_requested() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == INIT_NAME) {
        let code = init(&arguments.collect::<Vec<_>>());
        #[expect(clippy::exit, reason = "this is the whole of another program")]
        std::process::exit(code);
    }
}

/// Runs the command to its end; returns its exit code.
fn init(arguments: &[OsString]) -> i32 {
    // Blocked signals wait for sigwait below instead of running a handler.
    let all = SigSet::all();
    let _blocked = all.thread_block();
    let Some((program, rest)) = arguments.split_first() else {
        return NOT_FOUND_CODE;
    };
    let mut command = Command::new(program);
    command.args(rest).process_group(0);
    let unblock = || {
        // In the foreground, so that Ctrl-C reaches the command; without a terminal this fails.
        // SIGTTOU, which a background process gets for it, is still blocked here.
        let _foreground = nix::unistd::tcsetpgrp(std::io::stdin(), nix::unistd::getpid());
        SigSet::all().thread_unblock()?;
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    let spawned = unsafe { command.pre_exec(unblock) }.spawn();
    match spawned {
        Ok(child) => watch(Pid::from_raw(child.id().cast_signed()), &all),
        Err(error) => {
            let name = program.clone().into_vec();
            say(&format!(
                "exec {} failed: {error}\n",
                String::from_utf8_lossy(&name)
            ));
            match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND_CODE,
                _ => NOT_EXECUTABLE_CODE,
            }
        }
    }
}

/// Says a line on standard error; whoever closed that does not want to know.
fn say(line: &str) {
    let _written = rustix::io::write(std::io::stderr(), line.as_bytes());
}

/// Passes signals on and reaps until the command has ended; returns its exit code.
fn watch(command: Pid, signals: &SigSet) -> i32 {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(command) {
                    return code;
                }
            }
            Ok(signal) => {
                // To the group, as a terminal would.
                let _sent = nix::sys::signal::killpg(command, signal);
            }
            Err(_real_time_signal) => {}
        }
    }
}

/// Reaps everything that has ended; the command's exit code, if it is among them.
fn reap(command: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                code = Some(SIGNAL_CODE_BASE + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}
