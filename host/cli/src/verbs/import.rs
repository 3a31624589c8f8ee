//! `dhow import`.

use dhow_api::client::ImportOptions;

use super::load::{explain, next_step, open};
use crate::args::Source;
use crate::args::image::ImportArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::resolve::{container, reference};

/// `dhow import`.
pub(crate) async fn import(context: &Context, args: ImportArgs) -> Outcome {
    container::check_platform(args.platform.as_deref())?;
    let name = args.name.as_deref().map(reference::new_name).transpose()?;
    let options = ImportOptions {
        repository: name.map(|(repository, _)| repository.to_owned()),
        tag: name.map(|(_, tag)| tag.to_owned()),
        message: args.message.clone(),
        changes: args.change.clone(),
        platform: args.platform.clone(),
    };
    let is_address = args.file.to_str().is_some_and(|text| text.contains("://"));
    if is_address {
        return Err(
            Failure::new("archives cannot be fetched from the network in this version")
                .hint("fetch it yourself: `curl ADDRESS | dhow import -`"),
        );
    }
    let (upload, sent) = open(&Source::from(Some(args.file)))?;
    let client = context.client().await?;
    let mut progress = explain(client.import_image(upload, &options).await, sent)?;
    let mut last = None;
    while let Some(step) = next_step(&mut progress).await? {
        last = step.status.or(last);
    }
    if let Some(id) = last {
        output::line(id.trim())?;
    }
    Ok(0)
}
