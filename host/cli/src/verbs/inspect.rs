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

/// `dhow inspect`.
pub(crate) async fn inspect(context: &Context, args: InspectArgs) -> Outcome {
    let template = match args.format.as_deref() {
        None | Some("json") => None,
        Some(text) => {
            Some(Template::parse(&unescape(text)).context("invalid template for --format")?)
        }
    };
    let client = context.client().await?;
    let mut found = Vec::new();
    let mut last = Ok(0);
    for name in &args.names {
        match look_up(&client, name, &args).await {
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
            let compact = args.format.is_some();
            output::line(&if compact { list } else { json::indent(&list) })?;
        }
    }
    last
}

/// A container of that name, or else an image.
async fn look_up(client: &Client, name: &str, args: &InspectArgs) -> Result<String, Failure> {
    let missing = |error: &ClientError| error.status() == Some(404);
    if args.r#type != Some(InspectKind::Image) {
        match client.inspect_container(name, args.size).await {
            Err(error) if missing(&error) && args.r#type.is_none() => {}
            other => return Ok(other?),
        }
    }
    match client.inspect_image(name).await {
        Err(error) if missing(&error) && args.r#type.is_none() => Err(Failure::new(format!(
            "there is no container or image \"{name}\""
        ))
        .hint("`dhow ps -a` and `dhow images` list them")),
        other => Ok(other?),
    }
}
