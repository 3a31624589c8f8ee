//! Pushes an image: the layers that the registry lacks, its configuration, and its manifest.
//!
//! A layer is known to registries by the digest of its compressed bytes, which the store does not keep.
//! Where it came from a registry or went to one, that digest is remembered, and a registry that has the
//! blob is not sent it again: in the same repository it is there, from another it is mounted. Else the
//! layer's archive is put together and compressed with gzip, the same way every time. When all layers
//! keep their old digests, the image also keeps its manifest, byte for byte.

mod blobs;
mod layers;

use std::collections::BTreeSet;
use std::io;

use serde_json::json;
use ureq::http::Method;

use super::manifests::StoredManifest;
use super::{Image, ImageStore, ResolveError, StoreError};
use crate::digest::{Digest, ImageId};
use crate::reference::Reference;
use crate::registry::manifest::{DOCKER_MANIFEST, Descriptor, OCI_MANIFEST, parse_manifest};
use crate::registry::repository::{Access, Repository};
use crate::registry::transport::{Call, Payload};
use crate::registry::{Credentials, RegistryClient, RegistryError};
use blobs::{begin_upload, exists, put_blob};

/// Docker's media types, for images that came without a manifest.
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// OCI's.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The image, under the name it is to have.
    pub reference: Reference,
    /// Who asks.
    pub credentials: Credentials,
}

/// What happens while an image is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// It goes there.
    Begun {
        /// The repository with its registry.
        repository: String,
    },
    /// A layer got on.
    Layer {
        /// The first digits of its diff id.
        id: String,
        /// How far it is.
        step: PushStep,
    },
}

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushStep {
    /// Its turn will come.
    Preparing,
    /// The registry has it.
    Exists,
    /// The registry has it elsewhere.
    Mounted {
        /// The repository.
        from: String,
    },
    /// On its way.
    Pushing {
        /// Bytes of its archive that went.
        current: u64,
        /// Bytes there are.
        total: u64,
    },
    /// The registry has it now.
    Pushed,
}

/// An image that a registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The tag it has there.
    pub tag: String,
    /// What the registry knows it by.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub size: u64,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// No such image.
    #[error("an image does not exist locally with the tag: {reference}")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// A name cannot be pushed to.
    #[error("cannot push a digest reference: {reference}")]
    Digest {
        /// What was asked for.
        reference: String,
    },
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer's archive cannot be made again.
    #[error("failed to put the archive of layer {diff_id} together")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The image was not read.
    #[error("failed to read the image")]
    Resolve(#[source] ResolveError),
    /// The store failed.
    #[error("failed to use the image store")]
    Store(#[source] StoreError),
}

impl ImageStore {
    /// Pushes an image. Whoever holds `client` may end it from another thread.
    ///
    /// # Errors
    /// If there is no such image, the registry does not take it, or a layer is damaged.
    pub fn push(
        &self,
        client: &RegistryClient,
        request: &PushRequest,
        report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Pushed, PushError> {
        let reference = request.reference.clone().or_latest();
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            let reference = reference.familiar();
            return Err(PushError::Digest { reference });
        };
        let image = self
            .resolve(&reference.to_string())
            .map_err(|error| match error {
                ResolveError::NotFound { .. } => PushError::NotFound {
                    reference: reference.familiar(),
                },
                other => PushError::Resolve(other),
            })?;
        report(PushEvent::Begun {
            repository: reference.name(),
        });
        let manifests = self.stored_manifests(&image.id).map_err(PushError::Store)?;
        let outgoing = self
            .outgoing(&image, &reference)
            .map_err(PushError::Store)?;
        let sources: BTreeSet<String> = outgoing
            .iter()
            .flat_map(|one| one.sources.clone())
            .collect();
        let bases = client.bases(reference.domain());
        let transport = client.transport();
        let repository = Repository::open(
            transport,
            &bases,
            reference.path(),
            Access::Push,
            &request.credentials,
        )?
        .reading(sources.into_iter().collect());
        let is_oci = manifests
            .first()
            .is_some_and(|known| known.media_type == OCI_MANIFEST);
        let layers = self.send_layers(&repository, &outgoing, is_oci, report)?;
        send_configuration(&repository, &image)?;
        let manifest = manifest_of(&image, &layers, &manifests, is_oci);
        let (digest, size) = send_manifest(&repository, tag, &manifest)?;
        self.remember(&image.id, &reference.at_digest(digest), &manifest)
            .map_err(PushError::Store)?;
        Ok(Pushed {
            tag: tag.to_owned(),
            digest,
            size,
        })
    }

    /// Records what the registry knows the image by.
    fn remember(
        &self,
        id: &ImageId,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        // Another process may have removed it meanwhile.
        if self.configuration(id)?.is_none() {
            return Ok(());
        }
        self.write_manifest(id, manifest)?;
        let mut references = self.references()?;
        references.set(reference.clone(), *id);
        references.write(&self.inner.root, self.session())
    }
}

fn send_configuration(repository: &Repository<'_>, image: &Image) -> Result<(), RegistryError> {
    let digest = image.id.digest();
    if exists(repository, &digest.to_string())? {
        return Ok(());
    }
    let location = begin_upload(repository)?;
    put_blob(repository, &location, digest, &image.config_json)
}

/// A known manifest if all layers are as it says, else a new one of the same family.
fn manifest_of(
    image: &Image,
    layers: &[(Digest, Descriptor)],
    known: &[StoredManifest],
    is_oci: bool,
) -> StoredManifest {
    let of = |diff_id: &Digest| {
        let found = layers.iter().find(|(known, _)| known == diff_id);
        found
            .map(|(_, descriptor)| descriptor.clone())
            .expect("all layers were sent")
    };
    let mut layers: Vec<Descriptor> = image
        .layers
        .iter()
        .map(|layer| of(&layer.diff_id))
        .collect();
    let same = |manifest: &&StoredManifest| {
        parse_manifest(manifest.text.as_bytes()).is_some_and(|(_, theirs)| {
            let digests = theirs.iter().map(|one| &one.digest);
            digests.eq(layers.iter().map(|one| &one.digest))
        })
    };
    if let Some(manifest) = known.iter().find(same) {
        return manifest.clone();
    }
    let is_oci = is_oci
        || layers
            .iter()
            .any(|layer| layer.media_type.ends_with("zstd"));
    let (media_type, config_type, layer_type) = match is_oci {
        true => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        false => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
    };
    for layer in layers
        .iter_mut()
        .filter(|layer| layer.media_type.ends_with("gzip"))
    {
        layer_type.clone_into(&mut layer.media_type);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": config_type,
            "size": image.config_json.len(),
            "digest": image.id.to_string(),
        },
        "layers": layers,
    });
    StoredManifest {
        media_type: media_type.to_owned(),
        text: manifest.to_string(),
    }
}

fn send_manifest(
    repository: &Repository<'_>,
    tag: &str,
    manifest: &StoredManifest,
) -> Result<(Digest, u64), RegistryError> {
    let bytes = manifest.text.as_bytes();
    let answer = repository.retrying(|| {
        let call = Call::new(Method::PUT, repository.address(&format!("manifests/{tag}")))
            .header("content-type", manifest.media_type.clone())
            .payload(Payload::Bytes(bytes));
        repository.send(call)
    })?;
    if !answer.status.is_success() {
        return Err(answer.refusal("the manifest"));
    }
    Ok((Digest::of(bytes), bytes.len() as u64))
}
