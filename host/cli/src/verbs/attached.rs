//! What every verb that is attached to a process does beside carrying its streams: signals,
//! window sizes, and the last resort.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use dhow_api::client::{
    AttachOptions, Client, ContainerFacts, Hijacked, PendingExit, WaitCondition,
};

use super::run::stay;
use crate::failure::{Failure, NOT_EXECUTABLE, NOT_FOUND, OUR_FAULT, Outcome, SIGNAL_BASE};
use crate::output;
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::raw::RawMode;
use crate::terminal::session::Session;
use crate::terminal::signals::{Caught, Notice, Signals};
use crate::terminal::window;

/// So many requests to end, and we end although the container does not.
const PATIENCE: u32 = 3;

/// The process we are attached to.
#[derive(Debug, Clone)]
pub(super) enum Process {
    /// A container's first.
    Container(String),
    /// A further one.
    Exec(String),
}

/// How a piece of work ended.
#[derive(Debug)]
pub(super) enum Ended<T> {
    /// By itself.
    Done(T),
    /// By a signal that was meant for us.
    Signalled(Caught),
}

impl Ended<u8> {
    /// The exit code for the shell.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done(code) => code,
            Self::Signalled(caught) => SIGNAL_BASE + caught.number,
        }
    }
}

/// Watches signals while attached.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) client: Arc<Client>,
    pub(super) process: Process,
    pub(super) tty: bool,
    /// Pass signals on instead of ending by them.
    pub(super) pass_signals: bool,
}

impl Attachment {
    /// Runs `work` to its end, passing on what signals say meanwhile.
    pub(super) async fn supervise<T>(
        &self,
        signals: &mut Signals,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Ended<T>, Failure> {
        let mut work = pin!(work);
        let mut requests_to_end = 0;
        if self.tty {
            self.resize();
        }
        loop {
            let notice = tokio::select! {
                result = &mut work => return result.map(Ended::Done),
                notice = signals.next() => notice,
            };
            match notice {
                Notice::WindowChanged if self.tty => self.resize(),
                Notice::WindowChanged => {}
                Notice::Caught(caught) if self.pass_signals => {
                    requests_to_end += u32::from(caught.asks_to_end());
                    if requests_to_end >= PATIENCE {
                        output::note("the container does not end; leaving it running");
                        return Ok(Ended::Signalled(caught));
                    }
                    self.pass_on(caught);
                }
                Notice::Caught(caught) if caught.asks_to_end() => {
                    return Ok(Ended::Signalled(caught));
                }
                Notice::Caught(_) => {}
            }
        }
    }

    /// Tells the process's terminal our size. In a task of its own, so that output keeps flowing; a
    /// process that has just ended needs no size.
    fn resize(&self) {
        let Some(size) = window::size() else { return };
        let (client, process) = (Arc::clone(&self.client), self.process.clone());
        tokio::spawn(async move {
            let _process_gone = match &process {
                Process::Container(id) => {
                    client.resize_container(id, size.rows, size.columns).await
                }
                Process::Exec(id) => client.resize_exec(id, size.rows, size.columns).await,
            };
        });
    }

    fn pass_on(&self, caught: Caught) {
        let Process::Container(id) = self.process.clone() else {
            return;
        };
        let client = Arc::clone(&self.client);
        tokio::spawn(async move {
            let _process_gone = client.kill_container(&id, caught.name).await;
        });
    }
}

/// How to be attached to a container that there is already, running or not.
#[derive(Debug)]
pub(super) struct Company {
    pub(super) client: Arc<Client>,
    pub(super) facts: ContainerFacts,
    /// Send our input.
    pub(super) stdin: bool,
    /// The keys that leave, as they were typed.
    pub(super) detach_keys: Option<String>,
    /// Pass signals on instead of ending by them.
    pub(super) pass_signals: bool,
}

impl Company {
    /// Opens the streams and registers the wait; from here on nothing is missed.
    pub(super) async fn join(
        &self,
        condition: WaitCondition,
    ) -> Result<(Hijacked, PendingExit), Failure> {
        let options = AttachOptions {
            stdin: self.stdin,
            stdout: true,
            stderr: true,
            logs: false,
            detach_keys: self.detach_keys.as_deref(),
        };
        let id = &self.facts.id;
        let attach = self.client.attach(id, &options);
        Ok(tokio::try_join!(
            attach,
            self.client.wait_for(id, condition)
        )?)
    }

    /// Carries the streams to their end, and says how the container ended.
    pub(super) async fn keep(
        self,
        signals: &mut Signals,
        (hijacked, exit): (Hijacked, PendingExit),
    ) -> Outcome {
        let tty = self.facts.config.tty;
        let keys = DetachKeys::parse(self.detach_keys.as_deref())?;
        let raw = raw_mode(tty, self.stdin)?;
        let session = Session {
            tty,
            stdin: self.stdin,
            detach_keys: tty.then_some(keys),
        };
        let attachment = Attachment {
            client: self.client,
            process: Process::Container(self.facts.id),
            tty,
            pass_signals: self.pass_signals,
        };
        let ended = attachment
            .supervise(signals, stay(session, Some(hijacked), exit))
            .await;
        drop(raw);
        ended.map(Ended::code)
    }
}

/// Prints what the daemon had to say about something that went well.
pub(super) fn tell_warnings(warnings: &[String]) {
    for warning in warnings {
        output::note(&format!("warning: {warning}"));
    }
}

/// Raw mode for a process with a terminal, when our input is one too.
pub(super) fn raw_mode(tty: bool, stdin: bool) -> Result<Option<RawMode>, Failure> {
    if tty && stdin && window::stdin_is_terminal() {
        return Ok(Some(RawMode::enter()?));
    }
    Ok(None)
}

/// `-it` needs a terminal on our side; found out before anything is created.
pub(super) fn check_input_is_terminal(tty: bool, stdin: bool) -> Result<(), Failure> {
    if tty && stdin && !window::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY")
            .hint("leave -t away when input comes from a pipe or a file")
            .code(OUR_FAULT));
    }
    Ok(())
}

/// Gives a failure to start a command the exit code that says which kind it was.
pub(super) fn start_failure(failure: Failure) -> Failure {
    let words = failure.line().to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    // Only what the daemon says about the command counts, not our own trouble with a socket.
    let code = if failure.refusal().is_none() {
        OUR_FAULT
    } else if says(&[
        "executable file not found",
        "no such file or directory",
        "not found in $path",
    ]) {
        NOT_FOUND
    } else if says(&[
        "permission denied",
        "is a directory",
        "exec format error",
        "not executable",
    ]) {
        NOT_EXECUTABLE
    } else {
        OUR_FAULT
    };
    failure.code(code)
}

/// A container's exit code as a process's.
pub(super) fn shell_code(code: i64) -> u8 {
    /// Only the low eight bits of an exit code reach a shell.
    const SHELL_MASK: i64 = 0xff;
    u8::try_from(code & SHELL_MASK).unwrap_or(OUR_FAULT)
}
