//! `dhow start`.

use std::sync::Arc;

use dhow_api::client::WaitCondition;

use super::attached::{Company, check_input_is_terminal, start_failure, tell_warnings};
use super::each::for_each;
use crate::args::lifecycle::StartArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::terminal::detach_keys::DetachKeys;
use crate::terminal::signals::Signals;

/// `dhow start`.
pub(crate) async fn start(context: &Context, args: StartArgs) -> Outcome {
    if !args.attach && !args.interactive {
        let client = context.client().await?;
        return for_each(&args.containers, async |name| {
            tell_warnings(&client.start_container(name).await?);
            Ok(())
        })
        .await;
    }
    let [name] = args.containers.as_slice() else {
        return Err(Failure::new(
            "only one container can be attached to at a time",
        ));
    };
    let _wrong_ones_are_told_first = DetachKeys::parse(args.detach_keys.as_deref())?;
    let client = Arc::new(context.client().await?);
    let facts = client.container_facts(name).await?;
    let stdin = args.interactive && facts.config.open_stdin;
    check_input_is_terminal(facts.config.tty, stdin)?;
    let mut signals = Signals::catch()?;
    let condition = if facts.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let company = Company {
        client,
        facts,
        stdin,
        detach_keys: args.detach_keys,
        pass_signals: true,
    };
    let joined = company.join(condition).await?;
    let started = company.client.start_container(&company.facts.id).await;
    tell_warnings(&started.map_err(|error| start_failure(error.into()))?);
    company.keep(&mut signals, joined).await
}
