//! `dhow search`.

use crate::args::image::SearchArgs;
use crate::context::Context;
use crate::credentials;
use crate::failure::Outcome;
use crate::output;
use crate::output::listing::{self, Column, Format};
use crate::resolve::filters;

/// Columns of the table.
const COLUMNS: [Column; 4] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

/// Letters of a description that are shown.
const DESCRIPTION_LETTERS: usize = 45;

/// `dhow search`.
pub(crate) async fn search(context: &Context, args: SearchArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let filters = filters::resolve(&args.filter)?;
    let auth = credentials::for_image(&args.term)?;
    let client = context.client().await?;
    let found = client
        .search_images(&args.term, args.limit, filters.as_deref(), &auth)
        .await?;
    let rows: Vec<_> = found
        .iter()
        .map(|one| {
            let description = match args.no_trunc {
                true => one.description.clone(),
                false => shortened(&one.description),
            };
            listing::row([
                ("Name", one.name.clone()),
                ("Description", description),
                ("StarCount", one.star_count.to_string()),
                (
                    "IsOfficial",
                    if one.is_official { "[OK]" } else { "" }.to_owned(),
                ),
            ])
        })
        .collect();
    output::raw(&listing::render(&format, &COLUMNS, &COLUMNS, &rows)?)?;
    Ok(0)
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_LETTERS {
        return text.to_owned();
    }
    let kept: String = text.chars().take(DESCRIPTION_LETTERS - 1).collect();
    format!("{kept}…")
}
