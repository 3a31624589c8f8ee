//! `dhow attach`.

use std::sync::Arc;

use dhow_api::client::WaitCondition;

use super::attached::{Company, check_input_is_terminal};
use crate::args::lifecycle::AttachArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::signals::Signals;

/// `dhow attach`.
pub(crate) async fn attach(context: &Context, args: AttachArgs) -> Outcome {
    let _wrong_ones_are_told_first = DetachKeys::parse(args.detach_keys.as_deref())?;
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
    let stdin = !args.no_stdin && facts.config.open_stdin;
    check_input_is_terminal(facts.config.tty, stdin)?;
    let mut signals = Signals::catch()?;
    let company = Company {
        client,
        facts,
        stdin,
        detach_keys: args.detach_keys,
        pass_signals: args.sig_proxy,
    };
    let joined = company.join(WaitCondition::NotRunning).await?;
    company.keep(&mut signals, joined).await
}
