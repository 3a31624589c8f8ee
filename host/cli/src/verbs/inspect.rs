//! `dhow inspect`.

use anyhow::Context as _;
use dhow_api::client::Client;
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
    show(args.format.as_deref(), &args.names, async |name| {
        look_up(&client, name, &args).await
    })
    .await
}

/// Shows what is found of each name, as one list or through a template.
pub(super) async fn show(
    format: Option<&str>,
    names: &[String],
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

/// A container of that name, or else an image, a network or a volume.
async fn look_up(client: &Client, name: &str, args: &InspectArgs) -> Result<String, Failure> {
    let kinds = [
        InspectKind::Container,
        InspectKind::Image,
        InspectKind::Network,
        InspectKind::Volume,
    ];
    let wanted = |kind: &InspectKind| args.r#type.is_none_or(|only| only == *kind);
    for kind in kinds.into_iter().filter(wanted) {
        let found = match kind {
            InspectKind::Container => client.inspect_container(name, args.size).await,
            InspectKind::Image => client.inspect_image(name).await,
            InspectKind::Network => client.inspect_network(name).await,
            InspectKind::Volume => client.inspect_volume(name).await,
        };
        match found {
            Err(error) if error.status() == Some(NOT_FOUND_STATUS) && args.r#type.is_none() => {}
            other => return Ok(other?),
        }
    }
    let problem = format!("there is no container, image, network or volume \"{name}\"");
    let hint = "`dhow ps -a`, `dhow images`, `dhow network ls` and `dhow volume ls` list them";
    Err(Failure::new(problem).hint(hint))
}
