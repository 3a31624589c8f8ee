//! Images by filters: the listing, and the pruning of those that nothing needs.

use std::collections::BTreeMap;

use crate::class::{Classified, ErrorClass};
use crate::engine::Engine;
use crate::filter::{FilterError, Filters};
use crate::image::{Image, ImageError, RemovedImage};
use crate::time::Timestamp;

/// Filters of a listing.
const LIST_FILTERS: [&str; 8] = [
    "before",
    "dangling",
    "id",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

/// Filters of a pruning.
const PRUNE_FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// Why images were not listed or pruned.
#[derive(Debug, thiserror::Error)]
pub enum FilterImagesError {
    /// A filter means nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An image was not found, or the store failed.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Classified for FilterImagesError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Filter(error) => error.class(),
            Self::Image(error) => error.class(),
        }
    }
}

/// What came of a pruning.
#[derive(Debug, Default)]
pub struct PrunedImages {
    /// Names and images that are gone.
    pub removed: Vec<RemovedImage>,
    /// Bytes of the layers that went with them.
    pub freed_bytes: u64,
}

impl Engine {
    /// The images that pass, newest first. As in Docker a filter on references also leaves only the
    /// names that pass.
    ///
    /// # Errors
    /// [`FilterImagesError`].
    pub async fn images_filtered(
        &self,
        filters: &Filters,
    ) -> Result<Vec<Image>, FilterImagesError> {
        filters.only(&LIST_FILTERS)?;
        let dangling = yes_or_no(filters, "dangling")?;
        let before = self.created_of(filters, "before").await?;
        let since = self.created_of(filters, "since").await?;
        let until = until(filters)?;
        let references: Vec<&str> = filters.values("reference").collect();
        let mut images = self.images_list().await?;
        if !references.is_empty() {
            for image in &mut images {
                image
                    .repo_tags
                    .retain(|tag| references.iter().any(|one| is_named(tag, one)));
            }
            images.retain(|image| !image.repo_tags.is_empty());
        }
        images.retain(|image| {
            let created = created(image);
            dangling.is_none_or(|wanted| wanted == image.repo_tags.is_empty())
                && before.is_none_or(|limit| created < limit)
                && since.is_none_or(|limit| created > limit)
                && until.is_none_or(|limit| created < limit)
                && has_labels(&image.labels(), filters)
                && filters.values("id").all(|id| has_id(image, id))
        });
        images.sort_by(|a, b| b.config.created().cmp(a.config.created()));
        Ok(images)
    }

    /// Removes images that no container needs: those without a tag, or all with `dangling=false`.
    ///
    /// # Errors
    /// [`FilterImagesError`].
    pub async fn images_prune(&self, filters: &Filters) -> Result<PrunedImages, FilterImagesError> {
        filters.only(&PRUNE_FILTERS)?;
        let only_dangling = yes_or_no(filters, "dangling")?.unwrap_or(true);
        let until = until(filters)?;
        let images = self.images_list().await?;
        let before = layer_bytes(&images);
        let used: Vec<String> = self
            .containers()
            .all()
            .iter()
            .map(|container| container.record().image_id)
            .collect();
        let mut pruned = PrunedImages::default();
        for image in images {
            let goes = !used.contains(&image.id)
                && (!only_dangling || image.repo_tags.is_empty())
                && until.is_none_or(|limit| created(&image) < limit)
                && has_labels(&image.labels(), filters);
            if !goes {
                continue;
            }
            match self.image_remove(&image.id, true).await {
                Ok(removed) => pruned.removed.extend(removed),
                // Taken by somebody since it was looked at.
                Err(ImageError::NotFound(_) | ImageError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let after = layer_bytes(&self.images_list().await?);
        pruned.freed_bytes = before.saturating_sub(after);
        Ok(pruned)
    }

    /// When the image that a filter names was made.
    async fn created_of(
        &self,
        filters: &Filters,
        key: &str,
    ) -> Result<Option<i64>, FilterImagesError> {
        match filters.values(key).next() {
            None => Ok(None),
            Some(name) => Ok(Some(created(&self.image(name).await?))),
        }
    }
}

/// Bytes of all layers, each once.
fn layer_bytes(images: &[Image]) -> u64 {
    let layers = images.iter().flat_map(|image| &image.layers);
    let sizes: BTreeMap<&str, u64> = layers.map(|one| (one.diff_id.as_str(), one.size)).collect();
    sizes.values().sum()
}

fn created(image: &Image) -> i64 {
    let created = image.config.created().as_deref();
    let created = created.and_then(|text| Timestamp::parse(text).ok());
    created.map_or(0, Timestamp::seconds)
}

fn yes_or_no(filters: &Filters, key: &str) -> Result<Option<bool>, FilterError> {
    let Some(value) = filters.values(key).next() else {
        return Ok(None);
    };
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" => Ok(Some(true)),
        "0" | "false" | "f" => Ok(Some(false)),
        _ => Err(FilterError::InvalidValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// A point in time, or how long ago.
fn until(filters: &Filters) -> Result<Option<i64>, FilterError> {
    let Some(value) = filters.values("until").next() else {
        return Ok(None);
    };
    let time = match ago(value) {
        Some(seconds) => Some(Timestamp::now().seconds() - seconds),
        None => Timestamp::parse(value).ok().map(Timestamp::seconds),
    };
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(FilterError::InvalidValue {
            key: "until".to_owned(),
            value: value.to_owned(),
        }),
    }
}

/// Seconds of a duration such as `1h30m`.
fn ago(text: &str) -> Option<i64> {
    let mut seconds = 0_i64;
    let mut digits = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let number: i64 = std::mem::take(&mut digits).parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
    }
    (digits.is_empty() && !text.is_empty()).then_some(seconds)
}

fn has_labels(labels: &BTreeMap<String, String>, filters: &Filters) -> bool {
    let mut wanted = filters.values("label");
    let mut unwanted = filters.values("label!");
    wanted.all(|one| Filters::label_matches(labels, one))
        && !unwanted.any(|one| Filters::label_matches(labels, one))
}

fn has_id(image: &Image, id: &str) -> bool {
    let digits = image.id.trim_start_matches("sha256:");
    digits.starts_with(id.trim_start_matches("sha256:"))
}

/// A reference with or without tag, `*` standing for anything within a part.
fn is_named(tag: &str, wanted: &str) -> bool {
    let repository = tag.rsplit_once(':').map_or(tag, |(name, _)| name);
    glob(wanted, tag) || glob(wanted, repository)
}

/// `*` matches any run of characters other than `/`, `?` one of them.
fn glob(pattern: &str, text: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => text.is_empty(),
        Some('*') => {
            let end = text.find('/').unwrap_or(text.len());
            let mut ends = (0..=end).filter(|at| text.is_char_boundary(*at));
            ends.any(|at| glob(letters.as_str(), &text[at..]))
        }
        Some(letter) => {
            let mut rest = text.chars();
            let fits = rest
                .next()
                .is_some_and(|first| first == letter || (letter == '?' && first != '/'));
            fits && glob(letters.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_part() {
        assert!(glob("busy*", "busybox"));
        assert!(glob("*/web", "team/web"));
        assert!(glob("busybox:1.?", "busybox:1.3"));
        assert!(!glob("*", "team/web"));
        assert!(!glob("web", "web2"));
    }

    #[test]
    fn a_time_may_be_said_as_a_duration() {
        assert_eq!(ago("1h30m"), Some(5400));
        assert_eq!(ago("10"), None);
        assert_eq!(ago("2026-01-01"), None);
    }
}
