//! `dhow attach`.

use std::sync::Arc;

use dhow_api::client::{AttachOptions, WaitCondition};

use super::attached::{Attachment, Ended, Process, check_input_is_terminal, raw_mode};
use super::run::stay;
use crate::args::lifecycle::AttachArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::session::Session;
use crate::terminal::signals::Signals;

/// `dhow attach`.
pub(crate) async fn attach(context: &Context, args: AttachArgs) -> Outcome {
    let keys = DetachKeys::parse(args.detach_keys.as_deref())?;
    let client = Arc::new(context.client().await?);
    let facts = client.container_facts(&args.container).await?;
    if !facts.state.running {
        return Err(
            Failure::new(format!("container {} does not run", args.container)).hint(format!(
                "`dhow start -a {}` starts it and attaches",
                args.container
            )),
        );
    }
    if facts.state.paused {
        return Err(
            Failure::new(format!("container {} is paused", args.container))
                .hint(format!("`dhow unpause {}` lets it go on", args.container)),
        );
    }
    let tty = facts.config.tty;
    let stdin = !args.no_stdin && facts.config.open_stdin;
    check_input_is_terminal(tty, stdin)?;
    let mut signals = Signals::catch()?;
    let options = AttachOptions {
        stdin,
        stdout: true,
        stderr: true,
        logs: false,
        detach_keys: args.detach_keys.as_deref(),
    };
    let (hijacked, exit) = tokio::try_join!(
        client.attach(&facts.id, &options),
        client.wait_for(&facts.id, WaitCondition::NotRunning)
    )?;
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
        pass_signals: args.sig_proxy,
    };
    let ended = attachment
        .supervise(&mut signals, stay(session, Some(hijacked), exit))
        .await;
    drop(raw);
    ended.map(Ended::code)
}
