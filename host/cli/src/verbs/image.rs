//! `dhow image …`: Docker's other names for verbs about images, and `prune`, which has only this one.

use std::io::{self, Write};

use dhow_api::client::RemovedImage;

use super::{history, images, import, inspect, load, rmi, save, transfer};
use crate::args::image::{ImageVerb, PruneArgs};
use crate::args::look::{InspectArgs, InspectKind};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{self, size};
use crate::resolve::filters;
use crate::terminal::window;

/// `dhow image …`.
pub(crate) async fn image(context: &Context, verb: ImageVerb) -> Outcome {
    match verb {
        ImageVerb::Ls(args) => images::images(context, args).await,
        ImageVerb::Inspect(args) => {
            let args = InspectArgs {
                format: args.format,
                size: false,
                r#type: Some(InspectKind::Image),
                names: args.images,
            };
            inspect::inspect(context, args).await
        }
        ImageVerb::Rm(args) => rmi::remove(context, args).await,
        ImageVerb::Pull(args) => transfer::pull(context, args).await,
        ImageVerb::Push(args) => transfer::push(context, args).await,
        ImageVerb::Save(args) => save::save(context, args).await,
        ImageVerb::Load(args) => load::load(context, args).await,
        ImageVerb::Import(args) => import::import(context, args).await,
        ImageVerb::Tag(args) => rmi::tag(context, args).await,
        ImageVerb::History(args) => history::history(context, args).await,
        ImageVerb::Prune(args) => prune(context, args).await,
    }
}

async fn prune(context: &Context, args: PruneArgs) -> Outcome {
    let what = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !args.force && !confirmed(what)? {
        return Ok(0);
    }
    let mut given = args.filter.clone();
    given.push(format!("dangling={}", !args.all));
    let filters = filters::resolve(&given)?;
    let client = context.client().await?;
    let pruned = client.prune_images(filters.as_deref()).await?;
    let removed = pruned.images.unwrap_or_default();
    if !removed.is_empty() {
        output::line("Deleted Images:")?;
    }
    for RemovedImage { untagged, deleted } in removed {
        if let Some(name) = untagged {
            output::line(&format!("untagged: {name}"))?;
        }
        if let Some(id) = deleted {
            output::line(&format!("deleted: {id}"))?;
        }
    }
    output::line(&format!(
        "Total reclaimed space: {}",
        size::decimal(pruned.space_reclaimed)
    ))?;
    Ok(0)
}

/// Asks before what cannot be undone.
fn confirmed(what: &str) -> Result<bool, Failure> {
    if !window::stdin_is_terminal() {
        return Err(
            Failure::new(format!("this removes {what}")).hint("say that you mean it with --force")
        );
    }
    let question = format!("WARNING! This will remove {what}.\nAre you sure? [y/N] ");
    let _unreadable = io::stderr().write_all(question.as_bytes());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
