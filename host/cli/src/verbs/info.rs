//! `dhow info`.

use anyhow::Context as _;
use serde_json::Value;

use crate::args::system::FormatArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::template::{Template, unescape};
use crate::output::{self, size};

/// What is shown of the daemon's facts, in this order: the API's name and ours.
const LINES: [(&str, &str); 12] = [
    ("Containers", "Containers"),
    ("ContainersRunning", " Running"),
    ("ContainersPaused", " Paused"),
    ("ContainersStopped", " Stopped"),
    ("Images", "Images"),
    ("ServerVersion", "Server Version"),
    ("Driver", "Storage Driver"),
    ("KernelVersion", "Kernel Version"),
    ("OperatingSystem", "Operating System"),
    ("Architecture", "Architecture"),
    ("NCPU", "CPUs"),
    ("DockerRootDir", "Root Dir"),
];

/// `dhow info`.
pub(crate) async fn info(context: &Context, args: FormatArgs) -> Outcome {
    let client = context.client().await?;
    let facts = client.info().await?;
    if formatted(&facts, args.format.as_deref())? {
        return Ok(0);
    }
    for (name, title) in LINES {
        if let Some(value) = facts.get(name).filter(|value| !value.is_null()) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            output::line(&format!("{title}: {text}"))?;
        }
    }
    if let Some(memory) = facts.get("MemTotal").and_then(Value::as_i64) {
        output::line(&format!("Total Memory: {}", size::binary(memory)))?;
    }
    for warning in facts
        .get("Warnings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        output::note(&format!(
            "warning: {}",
            warning.as_str().unwrap_or_default()
        ));
    }
    Ok(0)
}

/// Shows JSON or a template, if that was asked for.
pub(super) fn formatted(facts: &Value, format: Option<&str>) -> Result<bool, Failure> {
    match format {
        None => return Ok(false),
        Some("json") => output::line(&facts.to_string())?,
        Some(text) => {
            let template =
                Template::parse(&unescape(text)).context("invalid template for --format")?;
            output::line(
                &template
                    .render(facts)
                    .context("--format does not fit the data")?,
            )?;
        }
    }
    Ok(true)
}
