//! `dhow rmi` and `dhow tag`.

use crate::args::image::{RemoveImageArgs, TagArgs};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::resolve::reference;

/// `dhow rmi`.
pub(crate) async fn remove(context: &Context, args: RemoveImageArgs) -> Outcome {
    let client = context.client().await?;
    let mut last: Option<Failure> = None;
    for name in &args.images {
        match client.remove_image(name, args.force, args.no_prune).await {
            Ok(removed) => {
                for one in removed {
                    if let Some(name) = one.untagged {
                        output::line(&format!("Untagged: {name}"))?;
                    }
                    if let Some(id) = one.deleted {
                        output::line(&format!("Deleted: {id}"))?;
                    }
                }
            }
            Err(error) if args.force && error.status() == Some(404) => {
                output::note(&error.to_string());
            }
            Err(error) => {
                if let Some(earlier) = last.replace(Failure::from(error)) {
                    output::note(&earlier.line());
                }
            }
        }
    }
    last.map_or(Ok(0), Err)
}

/// `dhow tag`.
pub(crate) async fn tag(context: &Context, args: TagArgs) -> Outcome {
    let (repository, tag) = reference::new_name(&args.name)?;
    let client = context.client().await?;
    client.tag_image(&args.image, repository, tag).await?;
    Ok(0)
}
