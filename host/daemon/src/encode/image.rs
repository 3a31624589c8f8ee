//! Images in answers.

use std::collections::HashMap;

use dhow_api::models::{
    DriverData, ImageConfig, ImageDeleteResponseItem, ImageInspect, ImageInspectMetadata,
    ImageInspectRootFs, ImageSummary,
};
use dhow_engine::Timestamp;
use dhow_engine::image::{Image, RemovedImage};
use serde_json::{Value, json};

/// Docker's "not counted".
const NOT_COUNTED: i64 = -1;

fn size(image: &Image) -> i64 {
    i64::try_from(image.size()).unwrap_or(i64::MAX)
}

fn created_seconds(image: &Image) -> i64 {
    let created = image.config.created().as_deref();
    created
        .and_then(|text| Timestamp::parse(text).ok())
        .map_or(0, Timestamp::seconds)
}

/// One line of `docker images`.
pub(crate) fn image_summary(image: &Image) -> ImageSummary {
    ImageSummary {
        id: image.id.clone(),
        parent_id: String::new(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        created: created_seconds(image),
        size: size(image),
        shared_size: NOT_COUNTED,
        labels: image.labels().into_iter().collect(),
        containers: NOT_COUNTED,
        manifests: None,
        descriptor: None,
    }
}

/// `docker image inspect`.
pub(crate) fn image(image: &Image) -> ImageInspect {
    // The stored configuration has Docker's own fields, which the OCI types drop.
    let stored: Value = serde_json::from_str(&image.config_json).unwrap_or_default();
    let config = stored
        .get("config")
        .cloned()
        .and_then(|config| serde_json::from_value::<ImageConfig>(config).ok());
    let layers = image.layers.iter().map(|layer| layer.diff_id.clone());
    ImageInspect {
        id: Some(image.id.clone()),
        repo_tags: Some(image.repo_tags.clone()),
        repo_digests: Some(image.repo_digests.clone()),
        comment: Some(String::new()),
        created: image.config.created().clone(),
        author: Some(image.config.author().clone().unwrap_or_default()),
        config,
        architecture: Some(image.config.architecture().to_string()),
        os: Some(image.config.os().to_string()),
        size: Some(size(image)),
        graph_driver: Some(DriverData {
            name: "erofs".to_owned(),
            data: HashMap::new(),
        }),
        root_fs: Some(ImageInspectRootFs {
            typ: "layers".to_owned(),
            layers: Some(layers.collect()),
        }),
        metadata: Some(ImageInspectMetadata::default()),
        ..ImageInspect::default()
    }
}

/// `docker history`: newest first.
pub(crate) fn history(image: &Image) -> Vec<Value> {
    let mut sizes = image.layers.iter().map(|layer| layer.size);
    let mut steps: Vec<Value> = image
        .config
        .history()
        .iter()
        .flatten()
        .map(|step| {
            let empty = step.empty_layer().unwrap_or_default();
            let size = if empty {
                0
            } else {
                sizes.next().unwrap_or_default()
            };
            let created = step.created().as_deref();
            let created = created.and_then(|text| Timestamp::parse(text).ok());
            json!({
                "Id": "<missing>",
                "Created": created.map_or(0, Timestamp::seconds),
                "CreatedBy": step.created_by().clone().unwrap_or_default(),
                "Tags": Value::Null,
                "Size": size,
                "Comment": step.comment().clone().unwrap_or_default(),
            })
        })
        .collect();
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest["Id"] = image.id.as_str().into();
        newest["Tags"] = json!(image.repo_tags);
    }
    steps
}

/// What came of `docker rmi`.
pub(crate) fn removed(removed: RemovedImage) -> ImageDeleteResponseItem {
    match removed {
        RemovedImage::Untagged(name) => ImageDeleteResponseItem {
            untagged: Some(name),
            deleted: None,
        },
        RemovedImage::Deleted(id) => ImageDeleteResponseItem {
            untagged: None,
            deleted: Some(id),
        },
    }
}
