//! Verbs that do the same to each container named: stop, restart, kill, pause, unpause, rm. And
//! rename, which is as short.

use dhow_api::client::ClientError;

use crate::args::lifecycle::{KillArgs, NamesArgs, RemoveArgs, RenameArgs, StopArgs};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Does it to one after the other and prints the names of those that went well. One that fails does
/// not keep the others from their turn.
pub(super) async fn for_each(
    names: &[String],
    act: impl AsyncFn(&str) -> Result<(), ClientError>,
) -> Outcome {
    for_each_that_was(names, async |name| act(name).await.map(|()| true)).await
}

/// As [`for_each`], for an act that says whether there was anything to do.
async fn for_each_that_was(
    names: &[String],
    act: impl AsyncFn(&str) -> Result<bool, ClientError>,
) -> Outcome {
    let mut last: Option<Failure> = None;
    for name in names {
        match act(name).await {
            Ok(true) => output::line(name)?,
            Ok(false) => {}
            Err(error) => {
                if let Some(earlier) = last.replace(Failure::from(error)) {
                    output::note(&earlier.line());
                }
            }
        }
    }
    match last {
        Some(failure) => Err(failure),
        None => Ok(0),
    }
}

/// `dhow stop`.
pub(crate) async fn stop(context: &Context, args: StopArgs) -> Outcome {
    let client = context.client().await?;
    let signal = args.signal.as_deref();
    for_each(&args.containers, async |name| {
        client.stop_container(name, signal, args.time).await
    })
    .await
}

/// `dhow restart`.
pub(crate) async fn restart(context: &Context, args: StopArgs) -> Outcome {
    let client = context.client().await?;
    let signal = args.signal.as_deref();
    for_each(&args.containers, async |name| {
        client.restart_container(name, signal, args.time).await
    })
    .await
}

/// `dhow kill`.
pub(crate) async fn kill(context: &Context, args: KillArgs) -> Outcome {
    let client = context.client().await?;
    for_each(&args.containers, async |name| {
        client.kill_container(name, &args.signal).await
    })
    .await
}

/// `dhow pause`.
pub(crate) async fn pause(context: &Context, args: NamesArgs) -> Outcome {
    let client = context.client().await?;
    for_each(&args.containers, async |name| {
        client.pause_container(name).await
    })
    .await
}

/// `dhow unpause`.
pub(crate) async fn unpause(context: &Context, args: NamesArgs) -> Outcome {
    let client = context.client().await?;
    for_each(&args.containers, async |name| {
        client.unpause_container(name).await
    })
    .await
}

/// `dhow rm`.
pub(crate) async fn remove(context: &Context, args: RemoveArgs) -> Outcome {
    let client = context.client().await?;
    for_each_that_was(&args.containers, async |name| {
        match client
            .remove_container(name, args.force, args.volumes)
            .await
        {
            // What is not there needs no removing, says --force; told all the same, as Docker does.
            Err(ClientError::Refused {
                status: 404,
                message,
            }) if args.force => {
                output::note(&message);
                Ok(false)
            }
            other => other.map(|()| true),
        }
    })
    .await
}

/// `dhow rename`.
pub(crate) async fn rename(context: &Context, args: RenameArgs) -> Outcome {
    let client = context.client().await?;
    client
        .rename_container(&args.container, &args.new_name)
        .await?;
    Ok(0)
}
