//! `dhow start`.

use std::sync::Arc;

use dhow_api::client::{AttachOptions, WaitCondition};

use super::attached::{
    Attachment, Ended, Process, check_input_is_terminal, raw_mode, start_failure,
};
use super::each::for_each;
use super::run::stay;
use crate::args::lifecycle::StartArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::session::Session;
use crate::terminal::signals::Signals;

/// `dhow start`.
pub(crate) async fn start(context: &Context, args: StartArgs) -> Outcome {
    if !args.attach && !args.interactive {
        let client = context.client().await?;
        return for_each(&args.containers, async |name| {
            client.start_container(name).await
        })
        .await;
    }
    let [name] = args.containers.as_slice() else {
        return Err(Failure::new(
            "only one container can be attached to at a time",
        ));
    };
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    let client = Arc::new(context.client().await?);
    let facts = client.container_facts(name).await?;
    let tty = facts.config.tty;
    let stdin = args.interactive && facts.config.open_stdin;
    check_input_is_terminal(tty, stdin)?;
    let mut signals = Signals::catch()?;
    let options = AttachOptions {
        stdin,
        stdout: true,
        stderr: true,
        logs: false,
        detach_keys: args.detach_keys.as_deref(),
    };
    let condition = if facts.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let attach = client.attach(&facts.id, &options);
    let (hijacked, exit) = tokio::try_join!(attach, client.wait_for(&facts.id, condition))?;
    client
        .start_container(&facts.id)
        .await
        .map_err(|e| start_failure(e.into()))?;
    let raw = raw_mode(tty, stdin)?;
    let session = Session {
        tty,
        stdin,
        detach_keys: tty.then_some(keys),
    };
    let attachment = Attachment {
        client,
        process: Process::Container(facts.id),
        tty,
        pass_signals: true,
    };
    let ended = attachment
        .supervise(&mut signals, stay(session, Some(hijacked), exit))
        .await;
    drop(raw);
    ended.map(Ended::code)
}
