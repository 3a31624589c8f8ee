//! Manifests of a registry: fetched, verified, and the one for this machine chosen.

use serde::{Deserialize, Serialize};
use ureq::http::{Method, StatusCode};

use super::error::RegistryError;
use super::repository::Repository;
use super::transport::Call;
use crate::digest::Digest;
use crate::platform::Platform;

/// Manifest of one image, OCI.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Manifests of several platforms, OCI.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Manifest of one image, Docker's schema 2.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Manifests of several platforms, Docker's.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Largest manifest; what Docker and registries take.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Deepest nesting of indexes.
const MAX_INDEX_DEPTH: usize = 4;

/// Most layers of one image: what overlayfs stacks (`OVL_MAX_STACK`).
const MAX_LAYERS: usize = 500;

/// Platform names that are no image: signatures and build records beside the images.
const NO_PLATFORM: &str = "unknown";

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) digest: String,
    #[serde(default, skip_serializing)]
    pub(crate) platform: Option<DescribedPlatform>,
}

/// The platform an index says an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DescribedPlatform {
    os: String,
    architecture: String,
}

/// An index or a manifest: which of the two shows in the fields it has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// The manifest of one image, as the registry has it.
#[derive(Debug)]
pub(crate) struct FetchedManifest {
    /// Of what the reference named, an index perhaps.
    pub(crate) top: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Descriptor {
    /// Its digest, checked.
    pub(crate) fn checked_digest(&self, host: &str) -> Result<Digest, RegistryError> {
        self.digest.parse().map_err(|_| RegistryError::Invalid {
            host: host.to_owned(),
            problem: format!("its manifest has the digest {:?}", self.digest),
        })
    }
}

/// Config and layers of a manifest's text; nothing where it is none.
pub(crate) fn parse_manifest(bytes: &[u8]) -> Option<(Descriptor, Vec<Descriptor>)> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    Some((document.config?, document.layers?))
}

/// Fetches the manifest that a tag or digest means on a platform.
pub(crate) fn fetch(
    repository: &Repository<'_>,
    name: &str,
    tag_or_digest: &str,
    platform: &Platform,
) -> Result<FetchedManifest, RegistryError> {
    let mut wanted = tag_or_digest.to_owned();
    let mut top = None;
    for _ in 0..MAX_INDEX_DEPTH {
        let (digest, media_type, bytes, host) = fetch_document(repository, name, &wanted)?;
        let invalid = |problem: String| RegistryError::Invalid {
            host: host.clone(),
            problem,
        };
        let top = *top.get_or_insert(digest);
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("its manifest is no JSON: {error}")))?;
        if document.schema_version == Some(1) {
            let problem = format!("{name} has a manifest of the retired schema 1");
            return Err(invalid(problem));
        }
        if let Some(manifests) = document.manifests {
            wanted = choose(&manifests, name, platform)?;
            continue;
        }
        let (Some(config), Some(layers)) = (document.config, document.layers) else {
            return Err(invalid("its manifest names no image".to_owned()));
        };
        if layers.len() > MAX_LAYERS {
            return Err(invalid(format!("{name} has more than {MAX_LAYERS} layers")));
        }
        return Ok(FetchedManifest {
            top,
            media_type: document.media_type.unwrap_or(media_type),
            bytes,
            config,
            layers,
        });
    }
    Err(RegistryError::NotFound {
        what: format!("manifest for {name}"),
        message: format!("indexes are nested deeper than {MAX_INDEX_DEPTH}"),
    })
}

/// Digest, media type and bytes of a document, verified.
fn fetch_document(
    repository: &Repository<'_>,
    name: &str,
    tag_or_digest: &str,
) -> Result<(Digest, String, Vec<u8>, String), RegistryError> {
    let accept = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
    let call = || {
        let address = repository.address(&format!("manifests/{tag_or_digest}"));
        Call::new(Method::GET, address).header("accept", accept.clone())
    };
    let what = format!("manifest for {name}");
    let answer = repository.fetch(call, &[StatusCode::OK], &what);
    let answer = answer.map_err(|error| match error {
        // What is refused is the image, not its manifest.
        RegistryError::Denied { host, message, .. } => RegistryError::Denied {
            host,
            what: name.to_owned(),
            message,
        },
        other => other,
    })?;
    let host = answer.host.clone();
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let promised = answer.header("docker-content-digest");
    let promised = promised.and_then(|text| text.parse::<Digest>().ok());
    let bytes = answer.read(MAX_MANIFEST_BYTES)?;
    let actual = Digest::of(&bytes);
    let expected = tag_or_digest.parse().ok().or(promised).unwrap_or(actual);
    if actual != expected {
        return Err(RegistryError::Digest {
            what,
            expected,
            actual,
        });
    }
    Ok((actual, media_type, bytes, host))
}

/// The digest of the image for a platform.
fn choose(
    manifests: &[Descriptor],
    name: &str,
    platform: &Platform,
) -> Result<String, RegistryError> {
    let fits = |descriptor: &&Descriptor| {
        let described = descriptor.platform.as_ref();
        described.is_some_and(|described| platform.is(&described.os, &described.architecture))
    };
    if let Some(found) = manifests.iter().find(fits) {
        return Ok(found.digest.clone());
    }
    // An index that says nothing of platforms has one image for all.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only.digest.clone());
    }
    let mut others: Vec<String> = manifests
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .filter(|described| described.os != NO_PLATFORM)
        .map(|described| format!("{}/{}", described.os, described.architecture))
        .collect();
    others.sort();
    others.dedup();
    Err(RegistryError::NotFound {
        what: format!("manifest for {name}"),
        message: format!(
            "it has no image for {platform}, only for {}",
            others.join(", ")
        ),
    })
}
