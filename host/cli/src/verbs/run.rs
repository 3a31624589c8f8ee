//! `dhow run`: create, attach, start, and stay until the container ends.
//!
//! Attach and wait are in place before the start, so that neither the first word nor the exit of a
//! container that ends at once is missed. Both are asked for at the same time: a run is four calls
//! in three round trips. A signal before the start undoes what was done.

use std::sync::Arc;
use std::time::Duration;

use dhow_api::client::{AttachOptions, Client, Hijacked, PendingExit, WaitCondition};

use super::attached::{
    Attachment, Ended, Process, check_input_is_terminal, raw_mode, shell_code, start_failure,
    tell_warnings,
};
use super::create::{self, Plan};
use crate::args::run::RunArgs;
use crate::context::Context;
use crate::failure::{Failure, OUR_FAULT, Outcome};
use crate::output;
use crate::resolve::container::{Streams, streams};
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::session::{Session, SessionEnd};
use crate::terminal::signals::Signals;

/// How long undoing may take when a signal came; the user wants to leave.
const UNDO_TIMEOUT: Duration = Duration::from_secs(10);

/// `dhow run`.
pub(crate) async fn run(context: &Context, args: RunArgs) -> Outcome {
    let our_fault = |failure: Failure| failure.code(OUR_FAULT);
    let streams = streams(&args.container, args.detach).map_err(|e| our_fault(e.into()))?;
    check_input_is_terminal(args.container.tty, streams.stdin)?;
    let keys = DetachKeys::parse(args.detach_keys.as_deref()).map_err(|e| our_fault(e.into()))?;
    let mut plan = create::plan(&args.container, streams).map_err(our_fault)?;
    let client = Arc::new(context.client().await.map_err(our_fault)?);
    let mut signals = Signals::catch()?;
    let id = match create_unless_signalled(&client, &mut plan, &mut signals).await {
        Ok(Ended::Done(id)) => id,
        Ok(Ended::Signalled(caught)) => return Ok(Ended::Signalled(caught).code()),
        Err(failure) => return Err(our_fault(failure)),
    };
    let begun = tokio::select! {
        begun = begin(&client, &id, &args, streams) => begun,
        caught = signals.next_end() => {
            undo(&client, &id).await;
            return Ok(Ended::Signalled(caught).code());
        }
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            if args.container.rm {
                undo(&client, &id).await;
            }
            return Err(start_failure(failure));
        }
    };
    let Some((hijacked, exit)) = begun else {
        output::line(&id)?;
        return Ok(0);
    };
    let tty = args.container.tty;
    let session = Session {
        tty,
        stdin: streams.stdin,
        detach_keys: tty.then_some(keys),
    };
    let attachment = Attachment {
        client,
        process: Process::Container(id),
        tty,
        pass_signals: args.sig_proxy,
    };
    let raw = raw_mode(tty, streams.stdin)?;
    let ended = attachment
        .supervise(&mut signals, stay(session, hijacked, exit))
        .await;
    drop(raw);
    ended.map(Ended::code)
}

/// Creates; when a signal comes meanwhile, what may have been created is removed.
async fn create_unless_signalled(
    client: &Client,
    plan: &mut Plan,
    signals: &mut Signals,
) -> Result<Ended<String>, Failure> {
    let mut create = std::pin::pin!(plan.create(client));
    let caught = tokio::select! {
        created = &mut create => return Ok(Ended::Done(created?.id)),
        caught = signals.next_end() => caught,
    };
    if let Ok(Ok(created)) = tokio::time::timeout(UNDO_TIMEOUT, create).await {
        undo(client, &created.id).await;
    }
    Ok(Ended::Signalled(caught))
}

/// Attaches, registers the wait and starts; nothing of the first two when detached.
async fn begin(
    client: &Client,
    id: &str,
    args: &RunArgs,
    streams: Streams,
) -> Result<Option<(Option<Hijacked>, PendingExit)>, Failure> {
    if args.detach {
        tell_warnings(&client.start_container(id).await?);
        return Ok(None);
    }
    let condition = if args.container.rm {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let attach = async {
        if !streams.any() {
            return Ok(None);
        }
        let options = AttachOptions {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            logs: false,
            detach_keys: args.detach_keys.as_deref(),
        };
        client.attach(id, &options).await.map(Some)
    };
    let (hijacked, exit) = tokio::try_join!(attach, client.wait_for(id, condition))?;
    tell_warnings(&client.start_container(id).await?);
    Ok(Some((hijacked, exit)))
}

/// Carries the streams, then learns how the container ended.
pub(super) async fn stay(
    session: Session,
    hijacked: Option<Hijacked>,
    exit: PendingExit,
) -> Result<u8, Failure> {
    if let Some(hijacked) = hijacked
        && session.carry(hijacked).await? == SessionEnd::Detached
    {
        return Ok(0);
    }
    let Some(exit) = exit.exit().await? else {
        return Err(Failure::new("the daemon ended before the container did")
            .hint("`dhow ps -a` shows what became of it")
            .code(OUR_FAULT));
    };
    if let Some(message) = exit
        .error
        .and_then(|error| error.message)
        .filter(|m| !m.is_empty())
    {
        return Err(Failure::new(message).code(OUR_FAULT));
    }
    Ok(shell_code(exit.status_code))
}

/// Removes a container that never got to run. That it is gone already is what we want.
async fn undo(client: &Client, id: &str) {
    let removal = client.remove_container(id, true, true);
    let _already_gone = tokio::time::timeout(UNDO_TIMEOUT, removal).await;
}
