//! `dhow inspect`.

use anyhow::Context as _;
use dhow_api::client::{Client, ClientError};
use serde_json::Value;

use crate::args::look::{InspectArgs, InspectKind};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::json;
use crate::output::template::{Template, unescape};

/// HTTP's "there is no such thing".
const NOT_FOUND_STATUS: u16 = 404;

/// `dhow inspect`.
pub(crate) async fn inspect(context: &Context, args: InspectArgs) -> Outcome {
    let client = context.client().await?;
    show_each(&args.names, args.format.as_deref(), async |name| {
        look_up(&client, name, &args).await
    })
    .await
}

/// Looks each name up and shows what was found, also where others were not.
pub(super) async fn show_each(
    names: &[String],
    format: Option<&str>,
    look_up: impl AsyncFn(&str) -> Result<String, Failure>,
) -> Outcome {
    let template = match format {
        None | Some("json") => None,
        Some(text) => {
            Some(Template::parse(&unescape(text)).context("invalid template for --format")?)
        }
    };
    let mut found = Vec::new();
    let mut last = Ok(0);
    for name in names {
        match look_up(name).await {
            Ok(json) => found.push(json),
            Err(failure) => {
                if let Err(earlier) = std::mem::replace(&mut last, Err(failure)) {
                    output::note(&earlier.line());
                }
            }
        }
    }
    match template {
        Some(template) => {
            for json in &found {
                let value: Value =
                    serde_json::from_str(json).context("failed to read the daemon's answer")?;
                let text = template
                    .render(&value)
                    .context("--format does not fit the data")?;
                output::line(&text)?;
            }
        }
        None => {
            let list = format!("[{}]", found.join(","));
            let compact = format.is_some();
            output::line(&if compact { list } else { json::indent(&list) })?;
        }
    }
    last
}

/// A container of that name, or else an image, or else a volume.
async fn look_up(client: &Client, name: &str, args: &InspectArgs) -> Result<String, Failure> {
    let wanted = |kind| args.r#type.is_none_or(|only| only == kind);
    let go_on = |result: &Result<String, ClientError>| {
        args.r#type.is_none()
            && matches!(result, Err(error) if error.status() == Some(NOT_FOUND_STATUS))
    };
    if wanted(InspectKind::Container) {
        let found = client.inspect_container(name, args.size).await;
        if !go_on(&found) {
            return Ok(found?);
        }
    }
    if wanted(InspectKind::Image) {
        let found = client.inspect_image(name).await;
        if !go_on(&found) {
            return Ok(found?);
        }
    }
    let found = client.inspect_volume(name).await;
    if !go_on(&found) {
        return Ok(found?);
    }
    Err(
        Failure::new(format!("there is no container, image or volume \"{name}\""))
            .hint("`dhow ps -a`, `dhow images` and `dhow volume ls` list them"),
    )
}
