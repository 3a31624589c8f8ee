//! Reads what an archive says about its images: Docker's `manifest.json` or OCI's `index.json`.
//!
//! Both lead to the same plan: a configuration, the files that are its layers, and names. Documents
//! are fetched by path through a closure, so that an archive and a folder are read alike. A document
//! that is named by its digest must have it.

use std::collections::HashSet;

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, ImageId};
use crate::platform::{ARCHITECTURE, OS, Platform};
use crate::reference::Reference;

/// Docker's list of images (Docker image specification v1.2, "Combined Image JSON").
pub(crate) const DOCKER_MANIFEST: &str = "manifest.json";

/// Entry point of an OCI layout.
pub(crate) const OCI_INDEX: &str = "index.json";

/// Folder of an OCI layout's blobs.
pub(crate) const BLOBS_PREFIX: &str = "blobs/sha256/";

/// Annotations with an image's name: containerd's full one, OCI's, which may be only a tag.
const NAME_ANNOTATIONS: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// Most images of one archive.
const MAX_IMAGES: usize = 1024;

/// Most layers of one image: what overlayfs stacks (`OVL_MAX_STACK`).
const MAX_LAYERS: usize = 500;

/// Deepest nesting of indexes.
const MAX_INDEX_DEPTH: usize = 4;

/// Why an archive's description is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Neither `manifest.json` nor `index.json` is there.
    #[error("it has neither {DOCKER_MANIFEST} nor {OCI_INDEX}: no docker or OCI archive")]
    NoManifest,
    /// A file that is named is not there.
    #[error("it lacks {name}")]
    Missing {
        /// The file.
        name: String,
    },
    /// A document is not what it should be.
    #[error("{name} is invalid")]
    Json {
        /// The file.
        name: String,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Content is not what its name says.
    #[error("{name} has the wrong digest: expected {expected}, found {actual}")]
    Digest {
        /// The file.
        name: String,
        /// What the name or the manifest says.
        expected: Digest,
        /// What the content has.
        actual: Digest,
    },
    /// A digest that is none.
    #[error("{name} contains an invalid digest: {text}")]
    BadDigest {
        /// The file.
        name: String,
        /// The text.
        text: String,
    },
    /// The configuration and the manifest disagree.
    #[error("{name} lists {diff_ids} layers, its manifest {layers}")]
    LayerCount {
        /// The configuration.
        name: String,
        /// How many it has.
        diff_ids: usize,
        /// How many the manifest has.
        layers: usize,
    },
    /// Nothing for this machine.
    #[error("it has no image for {os}/{architecture}")]
    NoPlatform {
        /// This machine's.
        os: &'static str,
        /// This machine's.
        architecture: &'static str,
    },
    /// More than can be.
    #[error("it has more {what} than the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A file could not be read.
    #[error("failed to read {name}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Fetches a document by its path in the archive; `None` if it is not there.
pub(crate) type Fetch<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, ManifestError> + 'a;

/// One image to be stored.
#[derive(Debug)]
pub(crate) struct PlannedImage {
    pub(crate) id: ImageId,
    pub(crate) config_json: Vec<u8>,
    pub(crate) layers: Vec<PlannedLayer>,
    pub(crate) references: Vec<Reference>,
}

/// One layer of an image, lowest first.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLayer {
    /// Its path in the archive.
    pub(crate) name: String,
    pub(crate) diff_id: Digest,
    /// Its stored bytes, if the manifest says so.
    pub(crate) size: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// An index or a manifest: which of the two shows in the fields it has.
#[derive(Debug, Deserialize)]
struct OciDocument {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Descriptor {
    digest: String,
    size: Option<u64>,
    platform: Option<DescribedPlatform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct DescribedPlatform {
    os: String,
    architecture: String,
}

/// All images of an archive.
pub(crate) fn plan(fetch: &mut Fetch<'_>) -> Result<Vec<PlannedImage>, ManifestError> {
    if let Some(manifest) = fetch(DOCKER_MANIFEST)? {
        let images: Vec<DockerImage> = parse(DOCKER_MANIFEST, &manifest)?;
        check_count(images.len(), "images", MAX_IMAGES)?;
        return images
            .into_iter()
            .map(|image| plan_docker(image, fetch))
            .collect();
    }
    let index = fetch(OCI_INDEX)?.ok_or(ManifestError::NoManifest)?;
    let index: OciDocument = parse(OCI_INDEX, &index)?;
    let mut images = Vec::new();
    let descriptors = index.manifests.unwrap_or_default();
    check_count(descriptors.len(), "images", MAX_IMAGES)?;
    for descriptor in descriptors {
        plan_oci(&descriptor, fetch, &mut images)?;
    }
    Ok(images)
}

fn plan_docker(image: DockerImage, fetch: &mut Fetch<'_>) -> Result<PlannedImage, ManifestError> {
    let name = image.config;
    let config_json = required(&name, fetch)?;
    let actual = Digest::of(&config_json);
    if let Some(expected) = digest_in_name(&name)
        && expected != actual
    {
        return Err(ManifestError::Digest {
            name,
            expected,
            actual,
        });
    }
    let layers = image
        .layers
        .unwrap_or_default()
        .into_iter()
        .map(|layer| (layer, None))
        .collect();
    let tags = image.repo_tags.unwrap_or_default();
    let references = tags.iter().filter_map(|tag| reference(tag)).collect();
    finish(&name, config_json, layers, references)
}

/// Plans a manifest, or the one of an index that fits this machine.
fn plan_oci(
    top: &Descriptor,
    fetch: &mut Fetch<'_>,
    images: &mut Vec<PlannedImage>,
) -> Result<(), ManifestError> {
    let mut descriptor = top.clone();
    for _ in 0..MAX_INDEX_DEPTH {
        let (name, digest) = blob(&descriptor, OCI_INDEX)?;
        let bytes = verified(&name, digest, fetch)?;
        let document: OciDocument = parse(&name, &bytes)?;
        if let Some(manifests) = document.manifests {
            descriptor = manifests
                .into_iter()
                .find(fits_here)
                .ok_or_else(no_platform)?;
            continue;
        }
        let Some(config) = document.config else {
            return Ok(());
        };
        let (config_name, config_digest) = blob(&config, &name)?;
        let config_json = verified(&config_name, config_digest, fetch)?;
        let layers = document.layers.unwrap_or_default();
        let layers = layers
            .iter()
            .map(|layer| Ok((blob(layer, &name)?.0, layer.size)));
        let layers: Vec<_> = layers.collect::<Result<_, ManifestError>>()?;
        let annotated = NAME_ANNOTATIONS
            .iter()
            .filter_map(|key| top.annotations.get(*key));
        let mut references: Vec<_> = annotated
            .filter(|name| name.contains(['/', ':']))
            .filter_map(|name| reference(name))
            .collect();
        references.extend(
            references
                .first()
                .map(|reference| reference.at_digest(digest)),
        );
        images.push(finish(&config_name, config_json, layers, references)?);
        return Ok(());
    }
    Err(ManifestError::TooMany {
        what: "nested indexes",
        limit: MAX_INDEX_DEPTH,
    })
}

fn finish(
    name: &str,
    config_json: Vec<u8>,
    layers: Vec<(String, Option<u64>)>,
    references: Vec<Reference>,
) -> Result<PlannedImage, ManifestError> {
    let configuration: ImageConfiguration = parse(name, &config_json)?;
    let diff_ids = configuration.rootfs().diff_ids();
    if diff_ids.len() != layers.len() {
        let (name, diff_ids, layers) = (name.to_owned(), diff_ids.len(), layers.len());
        return Err(ManifestError::LayerCount {
            name,
            diff_ids,
            layers,
        });
    }
    check_count(layers.len(), "layers", MAX_LAYERS)?;
    let mut planned = Vec::new();
    for ((layer, size), text) in layers.into_iter().zip(diff_ids) {
        let bad = |_| ManifestError::BadDigest {
            name: name.to_owned(),
            text: text.clone(),
        };
        planned.push(PlannedLayer {
            name: normal_name(&layer),
            diff_id: text.parse().map_err(bad)?,
            size,
        });
    }
    let mut known = HashSet::new();
    let references = references
        .into_iter()
        .filter(|name| known.insert(name.clone()))
        .collect();
    let id = ImageId::new(Digest::of(&config_json));
    Ok(PlannedImage {
        id,
        config_json,
        layers: planned,
        references,
    })
}

/// A name from an archive; one that is no reference is not worth refusing the image for.
fn reference(text: &str) -> Option<Reference> {
    match text.parse::<Reference>() {
        Ok(reference) => Some(reference.or_latest()),
        Err(error) => {
            tracing::warn!(%error, "a name in the archive was left out");
            None
        }
    }
}

fn blob(descriptor: &Descriptor, name: &str) -> Result<(String, Digest), ManifestError> {
    let text = &descriptor.digest;
    let digest: Result<Digest, _> = text.parse();
    let digest = digest.map_err(|_| ManifestError::BadDigest {
        name: name.to_owned(),
        text: text.clone(),
    })?;
    Ok((format!("{BLOBS_PREFIX}{}", digest.hex()), digest))
}

fn required(name: &str, fetch: &mut Fetch<'_>) -> Result<Vec<u8>, ManifestError> {
    fetch(name)?.ok_or_else(|| ManifestError::Missing {
        name: name.to_owned(),
    })
}

fn verified(name: &str, expected: Digest, fetch: &mut Fetch<'_>) -> Result<Vec<u8>, ManifestError> {
    let bytes = required(name, fetch)?;
    let actual = Digest::of(&bytes);
    if actual == expected {
        return Ok(bytes);
    }
    Err(ManifestError::Digest {
        name: name.to_owned(),
        expected,
        actual,
    })
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|source| ManifestError::Json {
        name: name.to_owned(),
        source,
    })
}

fn check_count(count: usize, what: &'static str, limit: usize) -> Result<(), ManifestError> {
    if count > limit {
        Err(ManifestError::TooMany { what, limit })
    } else {
        Ok(())
    }
}

/// The digest that a file's name is: `blobs/sha256/HEX`, `HEX.json`, `HEX.tar`.
pub(crate) fn digest_in_name(name: &str) -> Option<Digest> {
    let file = name.rsplit('/').next().unwrap_or(name);
    Digest::from_hex(file.split('.').next().unwrap_or(file)).ok()
}

/// A path in an archive without `./` and doubled slashes.
pub(crate) fn normal_name(name: &str) -> String {
    let parts = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

fn fits_here(descriptor: &Descriptor) -> bool {
    let platform = descriptor.platform.as_ref();
    let here = Platform::here();
    platform.is_none_or(|platform| here.is(&platform.os, &platform.architecture))
}

fn no_platform() -> ManifestError {
    ManifestError::NoPlatform {
        os: OS,
        architecture: ARCHITECTURE,
    }
}
