//! `dhow images`.

use dhow_api::client::ImageSummary;
use serde_json::{Map, Value};

use crate::args::image::ImagesArgs;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::listing::{self, Column, Format};
use crate::output::{self, age, size, time};
use crate::resolve::{filters, reference};

/// Columns of the usual table.
const COLUMNS: [Column; 5] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
];

/// Columns with `--digests`.
const DIGEST_COLUMNS: [Column; 6] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
];

/// Columns only templates ask for.
const ALL_COLUMNS: [Column; 8] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
];

/// What stands where an image has no name.
const NONE: &str = "<none>";
/// Letters of an id that are shown.
const SHORT_ID: usize = 12;

/// `dhow images`.
pub(crate) async fn images(context: &Context, args: ImagesArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref())?;
    let mut given = args.filter.clone();
    given.extend(args.name.iter().map(|name| format!("reference={name}")));
    let filters = filters::resolve(&given)?;
    let client = context.client().await?;
    let images = client.list_images(args.all, filters.as_deref()).await?;
    if args.quiet {
        for image in &images {
            output::line(id(image, args.no_trunc))?;
        }
        return Ok(0);
    }
    let now = time::now();
    let rows: Vec<_> = images
        .iter()
        .flat_map(|image| rows(image, args.no_trunc, now))
        .collect();
    let columns: &[Column] = if args.digests {
        &DIGEST_COLUMNS
    } else {
        &COLUMNS
    };
    output::raw(&listing::render(&format, columns, &ALL_COLUMNS, &rows)?)?;
    Ok(0)
}

fn id(image: &ImageSummary, full: bool) -> &str {
    if full {
        return &image.id;
    }
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    id.get(..SHORT_ID).unwrap_or(id)
}

/// A row per name; an image without names has one as well.
fn rows(image: &ImageSummary, full: bool, now: i64) -> Vec<Map<String, Value>> {
    let names: Vec<&str> = image.repo_tags.iter().map(String::as_str).collect();
    let named: Vec<(&str, &str)> = if names.is_empty() {
        let digest = image
            .repo_digests
            .first()
            .and_then(|digest| digest.split_once('@'));
        vec![(digest.map_or(NONE, |(repository, _)| repository), NONE)]
    } else {
        let split = names.into_iter().map(|name| {
            let (repository, tag) = reference::split_tag(name);
            (repository, tag.unwrap_or(NONE))
        });
        split.collect()
    };
    let row = |(repository, tag): (&str, &str)| {
        let digest = image.repo_digests.iter().find_map(|digest| {
            digest
                .split_once('@')
                .filter(|(of, _)| *of == repository)
                .map(|(_, digest)| digest)
        });
        listing::row([
            ("Repository", repository.to_owned()),
            ("Tag", tag.to_owned()),
            ("Digest", digest.unwrap_or(NONE).to_owned()),
            ("ID", id(image, full).to_owned()),
            ("CreatedSince", age::ago(now - image.created)),
            ("CreatedAt", time::listing(image.created)),
            ("Size", size::decimal(image.size)),
            (
                "Containers",
                if image.containers < 0 {
                    "N/A".to_owned()
                } else {
                    image.containers.to_string()
                },
            ),
        ])
    };
    named.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use dhow_api::client::ImageSummary;

    use super::{COLUMNS, rows};
    use crate::output::listing::{self, Format};

    #[test]
    fn an_image_has_a_row_for_each_name() {
        let image = ImageSummary {
            id: "sha256:0123456789abcdef".to_owned(),
            repo_tags: vec!["busybox:latest".to_owned(), "host:5000/b:1".to_owned()],
            created: 0,
            size: 2_139_648,
            ..ImageSummary::default()
        };
        let rows = rows(&image, false, 3 * 86_400);
        let format = Format::parse(None).expect("the table");
        let text = listing::render(&format, &COLUMNS, &COLUMNS, &rows).expect("a table");
        assert_eq!(
            text,
            "REPOSITORY    TAG       IMAGE ID       CREATED      SIZE\n\
             busybox       latest    0123456789ab   3 days ago   2.14MB\n\
             host:5000/b   1         0123456789ab   3 days ago   2.14MB\n"
        );
    }

    #[test]
    fn an_image_without_name_is_shown_too() {
        let rows = rows(&ImageSummary::default(), false, 0);
        assert_eq!(rows[0]["Repository"], "<none>");
    }
}
