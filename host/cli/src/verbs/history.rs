//! `dhow history`.

use crate::args::image::HistoryArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::listing::{self, Column, Format};
use crate::output::{self, age, size, time};

/// Columns of the table.
const COLUMNS: [Column; 5] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Columns that templates may ask for as well.
const ALL_COLUMNS: [Column; 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Letters of an id that are shown.
const ID_LETTERS: usize = 12;

/// Letters of a command that are shown.
const COMMAND_LETTERS: usize = 45;

/// `dhow history`.
pub(crate) async fn history(context: &Context, args: HistoryArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let client = context.client().await?;
    let steps = client.image_history(&args.image).await?;
    let id = |full: &str| {
        let digits = full.strip_prefix("sha256:").unwrap_or(full);
        match args.no_trunc {
            true => full.to_owned(),
            false => digits.chars().take(ID_LETTERS).collect(),
        }
    };
    if args.quiet {
        for step in &steps {
            output::line(&id(&step.id))?;
        }
        return Ok(0);
    }
    let now = time::now();
    let rows: Vec<_> = steps
        .iter()
        .map(|step| {
            let command = step.created_by.replace('\t', " ");
            let is_long = command.chars().count() > COMMAND_LETTERS && !args.no_trunc;
            let shown = match is_long {
                true => command
                    .chars()
                    .take(COMMAND_LETTERS - 1)
                    .chain(['…'])
                    .collect(),
                false => command,
            };
            let bytes = match args.human {
                true => size::decimal(step.size),
                false => step.size.to_string(),
            };
            listing::row([
                ("ID", id(&step.id)),
                ("CreatedSince", age::ago(now - step.created)),
                ("CreatedAt", time::listing(step.created)),
                ("CreatedBy", shown),
                ("Size", bytes),
                ("Comment", step.comment.clone()),
            ])
        })
        .collect();
    output::raw(&listing::render(&format, &COLUMNS, &ALL_COLUMNS, &rows)?)?;
    Ok(0)
}
