//! `dhow version`.

use serde_json::{Value, json};

use super::info::formatted;
use crate::args::system::FormatArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output;

/// What is shown of the daemon's versions: the API's name and ours.
const SERVER_LINES: [(&str, &str); 6] = [
    ("Version", "Version"),
    ("ApiVersion", "API version"),
    ("MinAPIVersion", "Oldest API version"),
    ("Os", "OS"),
    ("Arch", "Architecture"),
    ("KernelVersion", "Kernel"),
];

/// `dhow version`.
pub(crate) async fn version(context: &Context, args: FormatArgs) -> Outcome {
    let client = context.client().await?;
    let server = client.version().await?;
    let ours = env!("CARGO_PKG_VERSION");
    let both = json!({"Client": {"Version": ours}, "Server": server});
    if formatted(&both, args.format.as_deref())? {
        return Ok(0);
    }
    output::line(&format!("Client:\n Version: {ours}\n\nServer:"))?;
    for (name, title) in SERVER_LINES {
        if let Some(value) = server
            .get(name)
            .and_then(Value::as_str)
            .filter(|v| !v.is_empty())
        {
            output::line(&format!(" {title}: {value}"))?;
        }
    }
    Ok(0)
}
