//! `dhow top`.

use crate::args::look::TopArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use crate::output::table::Table;

/// `dhow top`.
pub(crate) async fn top(context: &Context, args: TopArgs) -> Outcome {
    let client = context.client().await?;
    let reply = client
        .top(&args.container, &args.ps_options.join(" "))
        .await?;
    let titles: Vec<&str> = reply.titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    for process in reply.processes {
        table.row(process);
    }
    output::raw(&table.render())?;
    Ok(0)
}
