//! `dhow machine up|down|status|rm`.

use anyhow::Context as _;
use serde_json::Value;

use crate::args::system::MachineVerb;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::template::{Template, unescape};

/// `dhow machine …`.
pub(crate) async fn machine(context: &Context, verb: MachineVerb) -> Outcome {
    let client = context.client().await?;
    match verb {
        MachineVerb::Up => show(&client.machine_up().await?, None)?,
        MachineVerb::Down { force } => client.machine_down(force).await?,
        MachineVerb::Status { format } => {
            show(&client.machine_status().await?, format.as_deref())?;
        }
        MachineVerb::Rm { force } => client.machine_remove(force).await?,
    }
    Ok(0)
}

/// A fact a line, whatever the daemon knows.
fn show(status: &Value, format: Option<&str>) -> Result<(), Failure> {
    match format {
        Some("json") => output::line(&status.to_string())?,
        Some(text) => {
            let template =
                Template::parse(&unescape(text)).context("invalid template for --format")?;
            output::line(
                &template
                    .render(status)
                    .context("--format does not fit the data")?,
            )?;
        }
        None => {
            let facts = status.as_object().into_iter().flatten();
            for (name, value) in facts.filter(|(_, value)| !value.is_null()) {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                output::line(&format!("{name}: {text}"))?;
            }
        }
    }
    Ok(())
}
