//! `dhow wait`.

use dhow_api::client::{Client, WaitCondition};

use crate::args::lifecycle::NamesArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;

/// `dhow wait`: an exit code a line, in the order of the names.
pub(crate) async fn wait(context: &Context, args: NamesArgs) -> Outcome {
    let client = context.client().await?;
    let mut last = Ok(0);
    for name in &args.containers {
        match exit_code(&client, name).await {
            Ok(code) => output::line(&code.to_string())?,
            Err(failure) => {
                if let Err(earlier) = std::mem::replace(&mut last, Err(failure)) {
                    output::note(&earlier.line());
                }
            }
        }
    }
    last
}

async fn exit_code(client: &Client, name: &str) -> Result<i64, Failure> {
    let pending = client.wait_for(name, WaitCondition::NotRunning).await?;
    match pending.exit().await? {
        Some(exit) => Ok(exit.status_code),
        None => Err(Failure::new(format!(
            "the daemon ended while {name} was waited for"
        ))),
    }
}
