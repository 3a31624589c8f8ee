//! `dhow pull` and `dhow push`, and the pull of an image that `run` and `create` lack.

use dhow_api::client::{Client, StreamedBody};

use super::load::next_step;
use crate::args::image::{PullArgs, PushArgs};
use crate::context::Context;
use crate::credentials;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::progress::{Shown, TransferProgress};
use crate::resolve::reference;

/// `dhow pull`.
pub(crate) async fn pull(context: &Context, args: PullArgs) -> Outcome {
    let has_tag = args.name.contains('@') || reference::split_tag(&args.name).1.is_some();
    if args.all_tags && has_tag {
        return Err(Failure::new(
            "a tag cannot be given together with --all-tags",
        ));
    }
    let name = match args.all_tags || has_tag {
        true => args.name.clone(),
        false => reference::with_tag(&args.name),
    };
    if !args.quiet && !args.all_tags && !has_tag {
        output::line("Using default tag: latest")?;
    }
    let client = context.client().await?;
    let shown = if args.quiet {
        Shown::Nowhere
    } else {
        Shown::Output
    };
    fetch(&client, &name, args.platform.as_deref(), shown).await?;
    output::line(&name)?;
    Ok(0)
}

/// Pulls an image and shows how that goes.
pub(super) async fn fetch(
    client: &Client,
    name: &str,
    platform: Option<&str>,
    shown: Shown,
) -> Result<(), Failure> {
    let auth = credentials::for_image(name)?;
    let (repository, tag) = match name.split_once('@') {
        Some((repository, digest)) => (reference::split_tag(repository).0, Some(digest)),
        None => reference::split_tag(name),
    };
    let answer = client.pull_image(repository, tag, platform, &auth).await;
    let answer = answer.map_err(|error| explain(name, error.into()))?;
    let shown = show(answer, shown).await;
    shown.map_err(|error| explain(name, error))
}

/// `dhow push`.
pub(crate) async fn push(context: &Context, args: PushArgs) -> Outcome {
    let (repository, tag) = reference::split_tag(&args.name);
    if args.name.contains('@') {
        return Err(Failure::new(
            "a digest cannot be pushed; give the image a tag first",
        ));
    }
    if args.all_tags && tag.is_some() {
        return Err(Failure::new(
            "a tag cannot be given together with --all-tags",
        ));
    }
    let tag = match (args.all_tags, tag) {
        (true, _) => None,
        (false, Some(tag)) => Some(tag),
        (false, None) => {
            if !args.quiet {
                output::line("Using default tag: latest")?;
            }
            Some("latest")
        }
    };
    let auth = credentials::for_image(&args.name)?;
    let client = context.client().await?;
    let shown = if args.quiet {
        Shown::Nowhere
    } else {
        Shown::Output
    };
    let answer = client.push_image(repository, tag, &auth).await;
    let answer = answer.map_err(|error| explain(&args.name, error.into()))?;
    show(answer, shown)
        .await
        .map_err(|error| explain(&args.name, error))?;
    if args.quiet {
        output::line(&args.name)?;
    }
    Ok(0)
}

async fn show(mut answer: StreamedBody, shown: Shown) -> Result<(), Failure> {
    let mut progress = TransferProgress::new(shown);
    while let Some(step) = next_step(&mut answer).await? {
        progress.step(&step)?;
    }
    Ok(())
}

/// Adds what to do next to failures that have a usual cure.
fn explain(name: &str, failure: Failure) -> Failure {
    let line = failure.line();
    if line.contains("access denied") || line.contains("unauthorized") {
        let (registry, _) = name.split_once('/').unwrap_or(("", ""));
        let host = registry.contains(['.', ':']) || registry == "localhost";
        let host = if host { registry } else { "" };
        let login =
            format!("log in with `dhow login {host}`").replace(" `dhow login `", " `dhow login`");
        return failure.hint(format!("check the name, or {login}"));
    }
    if line.contains("plain HTTP") {
        return failure.hint("`dhow info` tells where daemon.json is read from");
    }
    if line.contains("failed to trust the registry") {
        return failure.hint(
            "put its authority's certificate into certs.d/HOST:PORT/ca.crt beside daemon.json",
        );
    }
    failure
}
