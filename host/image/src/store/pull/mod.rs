//! Pulls an image: its manifest, its configuration, and those of its layers that are not here.
//!
//! Layers arrive on three threads, each converted while it is being read. Nothing is believed before
//! its digest and size are right, and nothing is committed before everything is believed: until then
//! all is in the session folder, which goes with us.

mod layers;

use oci_spec::image::ImageConfiguration;

use super::commit::StagedImage;
use super::load::MAX_DOCUMENT_BYTES;
use super::manifests::StoredManifest;
use super::{ImageStore, StoreError, diff_ids};
use crate::digest::{Digest, ImageId};
use crate::layer::LayerError;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::manifest::{self, Descriptor, FetchedManifest};
use crate::registry::repository::{Access, Repository};
use crate::registry::{Credentials, RegistryClient, RegistryError, blob};
use layers::Wanted;

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The image.
    pub reference: Reference,
    /// For which machine; this one if `None`.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Credentials,
}

/// What happens while an image is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// The registry has it.
    Begun {
        /// The repository, as in `library/busybox`.
        repository: String,
        /// The tag or digest asked for.
        reference: String,
    },
    /// A layer got on.
    Layer {
        /// The first digits of its blob's digest.
        id: String,
        /// How far it is.
        step: LayerStep,
    },
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerStep {
    /// Its turn will come.
    Waiting,
    /// It is here already.
    Exists,
    /// On its way; it becomes a file system while it arrives.
    Downloading {
        /// Bytes that came.
        current: u64,
        /// Bytes there are.
        total: u64,
    },
    /// All of it came and is what it should be.
    Verified,
    /// It can be used.
    Complete,
}

/// An image that is now here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its identity.
    pub id: ImageId,
    /// What the registry knows it by.
    pub digest: Digest,
    /// Whether the name meant it before.
    pub was_here: bool,
    /// Bytes that came over the network for layers.
    pub fetched_bytes: u64,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Its configuration is none.
    #[error("{name} is no container image")]
    Configuration {
        /// The image.
        name: String,
        /// Where its configuration goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Manifest and configuration disagree.
    #[error(
        "{name} is no container image: its manifest has {layers} layers, its configuration {diff_ids}"
    )]
    LayerCount {
        /// The image.
        name: String,
        /// How many the manifest has.
        layers: usize,
        /// How many the configuration has.
        diff_ids: usize,
    },
    /// For another machine.
    #[error("{name} is for {os}/{architecture} and cannot run here; this machine runs {here}")]
    Platform {
        /// The image.
        name: String,
        /// What it is for.
        os: String,
        /// What it is for.
        architecture: String,
        /// What runs here.
        here: Platform,
    },
    /// A layer was refused.
    #[error("failed to use the layer {digest}")]
    Layer {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// The store failed.
    #[error("failed to store the image")]
    Store(#[source] StoreError),
}

/// Who is asked for an image, and as whom.
struct Asked<'a> {
    client: &'a RegistryClient,
    bases: &'a [String],
    credentials: &'a Credentials,
}

impl ImageStore {
    /// Pulls an image. Whoever holds `client` may end it from another thread.
    ///
    /// # Errors
    /// If the registry does not give it, something is not what it should be, or the store cannot be
    /// written; then the store is as before.
    pub fn pull(
        &self,
        client: &RegistryClient,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, PullError> {
        let reference = request.reference.clone().or_latest();
        let nobody = Credentials::default();
        for mirror in &client.mirrors(reference.domain()) {
            let asked = Asked {
                client,
                bases: std::slice::from_ref(mirror),
                credentials: &nobody,
            };
            match self.pull_from(&asked, &reference, request, report) {
                Err(PullError::Registry(RegistryError::Cancelled)) => {
                    return Err(RegistryError::Cancelled.into());
                }
                Err(PullError::Registry(error)) => {
                    tracing::warn!(%mirror, %error, "a mirror does not help");
                }
                other => return other,
            }
        }
        let asked = Asked {
            client,
            bases: &client.bases(reference.domain()),
            credentials: &request.credentials,
        };
        self.pull_from(&asked, &reference, request, report)
    }

    fn pull_from(
        &self,
        asked: &Asked<'_>,
        reference: &Reference,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, PullError> {
        let (path, transport) = (reference.path(), asked.client.transport());
        // A mirror before may have failed.
        transport.restart();
        let repository = Repository::open(
            transport,
            asked.bases,
            path,
            Access::Pull,
            asked.credentials,
        )?;
        let asked_for = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let name = reference.familiar();
        let platform = request.platform.clone().unwrap_or_else(Platform::here);
        let manifest = manifest::fetch(&repository, &name, &asked_for, &platform)?;
        report(PullEvent::Begun {
            repository: path.to_owned(),
            reference: asked_for,
        });
        let (config_json, configuration) =
            self.fetch_configuration(&repository, &name, &manifest)?;
        check_platform(&name, &configuration, &platform)?;
        let wanted = wanted(&name, reference.domain(), &manifest, &configuration)?;
        let (layers, fetched_bytes) = self.fetch_layers(&repository, &wanted, report)?;
        let id = ImageId::new(Digest::of(&config_json));
        let was_here = self.references().map_err(PullError::Store)?.get(reference) == Some(id);
        let mut references = vec![reference.at_digest(manifest.top)];
        if reference.digest().is_none() {
            references.push(reference.clone());
        }
        let image = StagedImage {
            id,
            config_json,
            layers,
            references,
            manifest: Some(StoredManifest {
                media_type: manifest.media_type,
                text: String::from_utf8_lossy(&manifest.bytes).into_owned(),
            }),
        };
        self.commit_all(vec![image]).map_err(PullError::Store)?;
        Ok(Pulled {
            id,
            digest: manifest.top,
            was_here,
            fetched_bytes,
        })
    }

    fn fetch_configuration(
        &self,
        repository: &Repository<'_>,
        name: &str,
        manifest: &FetchedManifest,
    ) -> Result<(Vec<u8>, ImageConfiguration), PullError> {
        let digest = manifest.config.checked_digest(name)?;
        let size = manifest.config.size;
        let known = self
            .configuration(&ImageId::new(digest))
            .map_err(PullError::Store)?;
        if let Some(known) = known {
            return Ok(known);
        }
        if size > MAX_DOCUMENT_BYTES {
            return Err(PullError::Registry(RegistryError::Invalid {
                host: name.to_owned(),
                problem: format!("its configuration has {size} bytes"),
            }));
        }
        let bytes = blob::fetch_whole(repository, digest, size)?;
        match serde_json::from_slice(&bytes) {
            Ok(configuration) => Ok((bytes, configuration)),
            Err(source) => Err(PullError::Configuration {
                name: name.to_owned(),
                source,
            }),
        }
    }
}

/// The blobs of an image with the layers they are, lowest first.
fn wanted(
    name: &str,
    host: &str,
    manifest: &FetchedManifest,
    configuration: &ImageConfiguration,
) -> Result<Vec<Wanted>, PullError> {
    let diff_ids = diff_ids(configuration).ok_or_else(|| RegistryError::Invalid {
        host: host.to_owned(),
        problem: format!("the configuration of {name} names a layer that is no digest"),
    })?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(PullError::LayerCount {
            name: name.to_owned(),
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let pairs = manifest.layers.iter().zip(diff_ids);
    let wanted = pairs.map(|(descriptor, diff_id): (&Descriptor, _)| {
        Ok(Wanted {
            digest: descriptor.checked_digest(host)?,
            size: descriptor.size,
            diff_id,
        })
    });
    wanted.collect()
}

/// Manifests without an index do not say what they are for; configurations do.
fn check_platform(
    name: &str,
    configuration: &ImageConfiguration,
    platform: &Platform,
) -> Result<(), PullError> {
    let os = configuration.os().to_string();
    let architecture = configuration.architecture().to_string();
    let silent = os.is_empty() || architecture.is_empty();
    if silent || platform.is(&os, &architecture) {
        return Ok(());
    }
    Err(PullError::Platform {
        name: name.to_owned(),
        os,
        architecture,
        here: platform.clone(),
    })
}
