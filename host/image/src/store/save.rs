//! Saves images as one archive that is two things at once, as Docker has made it since version 25: an
//! OCI layout (`index.json`), and what `docker load` has always read (`manifest.json`).
//!
//! Layers are in it as the archives they came as, put together again from their EROFS files, and each
//! is verified while it is written.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::{Image, ImageStore, ResolveError, StoreError};
use crate::digest::Digest;
use crate::hashing::HashingReader;
use crate::layer::Assembler;
use crate::manifest::{BLOBS_PREFIX, DOCKER_MANIFEST, OCI_INDEX};
use crate::reference::Reference;
use crate::registry::manifest::OCI_MANIFEST;

/// Media type of a configuration.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Media type of a layer that is not compressed.
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Why images were not saved, or not to their end.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// An image was not found.
    #[error("failed to save an image")]
    Resolve(#[source] ResolveError),
    /// A layer's archive cannot be made again.
    #[error("failed to put the archive of layer {diff_id} together")]
    Layer {
        /// The layer.
        diff_id: Digest,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The archive put together is another.
    #[error("the layer {diff_id} is damaged: its archive has the digest {actual}")]
    Digest {
        /// The layer.
        diff_id: Digest,
        /// What came out.
        actual: Digest,
    },
    /// The output takes no more.
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
    /// The store failed.
    #[error("failed to read the image store")]
    Store(#[source] StoreError),
}

/// An image and the names it is saved under.
struct Chosen {
    image: Image,
    names: Vec<Reference>,
}

impl ImageStore {
    /// Writes images as a tar. A name without tag saves all tags of it; an id saves no name.
    ///
    /// # Errors
    /// If an image is not here (then nothing was written), a layer is damaged, or the output fails.
    pub fn save(&self, names: &[String], output: impl Write) -> Result<(), SaveError> {
        let chosen = self.choose(names)?;
        let mut archive = ::tar::Builder::new(output);
        let mut written = HashSet::new();
        for folder in ["blobs/", BLOBS_PREFIX] {
            append_folder(&mut archive, folder)?;
        }
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        for Chosen { image, names } in &chosen {
            let mut layers = Vec::new();
            for layer in &image.layers {
                let size = self.append_layer(&mut archive, layer.diff_id, &mut written)?;
                layers.push(descriptor(OCI_LAYER, layer.diff_id, size));
            }
            let config = image.id.digest();
            append_blob(&mut archive, config, &image.config_json, &mut written)?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(OCI_CONFIG, config, image.config_json.len() as u64),
                "layers": layers,
            });
            let bytes = manifest.to_string().into_bytes();
            let digest = Digest::of(&bytes);
            append_blob(&mut archive, digest, &bytes, &mut written)?;
            manifests.extend(index_entries(digest, bytes.len() as u64, names));
            docker.push(json!({
                "Config": blob_path(config),
                "RepoTags": names.iter().map(Reference::familiar).collect::<Vec<_>>(),
                "Layers": image.layers.iter().map(|one| blob_path(one.diff_id)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        append_json(&mut archive, OCI_INDEX, &index)?;
        append_json(&mut archive, DOCKER_MANIFEST, &json!(docker))?;
        append_json(&mut archive, "oci-layout", &layout)?;
        let mut output = archive.into_inner().map_err(SaveError::Write)?;
        output.flush().map_err(SaveError::Write)
    }

    /// The images that names mean, each once, with those of its names that were asked for.
    fn choose(&self, names: &[String]) -> Result<Vec<Chosen>, SaveError> {
        let mut chosen: Vec<Chosen> = Vec::new();
        let references = self.references().map_err(SaveError::Store)?;
        for name in names {
            let parsed = name.parse::<Reference>().ok();
            let bare = parsed
                .as_ref()
                .filter(|it| it.tag().is_none() && it.digest().is_none());
            let all = bare
                .map(|it| references.tags_of(&it.name()))
                .unwrap_or_default();
            if !all.is_empty() {
                for (reference, _) in all {
                    self.add(&mut chosen, &reference.to_string(), Some(reference.clone()))?;
                }
                continue;
            }
            let is_name = parsed
                .as_ref()
                .is_some_and(|reference| references.get(reference).is_some());
            let tagged = parsed.filter(|it| is_name && it.digest().is_none());
            self.add(&mut chosen, name, tagged)?;
        }
        Ok(chosen)
    }

    fn add(
        &self,
        chosen: &mut Vec<Chosen>,
        text: &str,
        name: Option<Reference>,
    ) -> Result<(), SaveError> {
        let image = self.resolve(text).map_err(SaveError::Resolve)?;
        let at = chosen.iter().position(|known| known.image.id == image.id);
        let at = at.unwrap_or_else(|| {
            let names = Vec::new();
            chosen.push(Chosen { image, names });
            chosen.len() - 1
        });
        let names = &mut chosen[at].names;
        names.extend(name.filter(|name| !names.contains(name)));
        Ok(())
    }

    /// The archive of a layer, as it came.
    pub(super) fn layer_archive(&self, diff_id: &Digest) -> io::Result<Assembler> {
        let image = File::open(self.layer_path(diff_id))?;
        Assembler::new(image, File::open(self.split_path(diff_id))?)
    }

    /// Writes a layer's archive, unless it was written for another image; its size.
    fn append_layer<W: Write>(
        &self,
        archive: &mut ::tar::Builder<W>,
        diff_id: Digest,
        written: &mut HashSet<Digest>,
    ) -> Result<u64, SaveError> {
        let failed = |source| SaveError::Layer { diff_id, source };
        let assembler = self.layer_archive(&diff_id).map_err(failed)?;
        let size = assembler.size();
        if !written.insert(diff_id) {
            return Ok(size);
        }
        let mut content = HashingReader::new(assembler).map_err(failed)?;
        append(archive, &blob_path(diff_id), size, &mut content)?;
        let (actual, _) = content.finish().map_err(failed)?;
        if actual == diff_id {
            Ok(size)
        } else {
            Err(SaveError::Digest { diff_id, actual })
        }
    }
}

/// A descriptor for each name, or one without.
fn index_entries(digest: Digest, size: u64, names: &[Reference]) -> Vec<Value> {
    let mut entry = descriptor(OCI_MANIFEST, digest, size);
    if names.is_empty() {
        return vec![entry];
    }
    let named = names.iter().map(|name| {
        entry["annotations"] = json!({
            "io.containerd.image.name": name.to_string(),
            "org.opencontainers.image.ref.name": name.tag().unwrap_or_default(),
        });
        entry.clone()
    });
    named.collect()
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

fn blob_path(digest: Digest) -> String {
    format!("{BLOBS_PREFIX}{}", digest.hex())
}

fn append_folder<W: Write>(archive: &mut ::tar::Builder<W>, path: &str) -> Result<(), SaveError> {
    let mut header = ::tar::Header::new_ustar();
    header.set_entry_type(::tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    header.set_mtime(0);
    let appended = archive.append_data(&mut header, path, io::empty());
    appended.map_err(SaveError::Write)
}

/// Files are dated at the beginning of time, so that the same images give the same archive.
fn append<W: Write>(
    archive: &mut ::tar::Builder<W>,
    path: &str,
    size: u64,
    content: impl Read,
) -> Result<(), SaveError> {
    let mut header = ::tar::Header::new_ustar();
    header.set_mode(0o444);
    header.set_size(size);
    header.set_mtime(0);
    let appended = archive.append_data(&mut header, path, content);
    appended.map_err(SaveError::Write)
}

fn append_blob<W: Write>(
    archive: &mut ::tar::Builder<W>,
    digest: Digest,
    bytes: &[u8],
    written: &mut HashSet<Digest>,
) -> Result<(), SaveError> {
    if !written.insert(digest) {
        return Ok(());
    }
    append(archive, &blob_path(digest), bytes.len() as u64, bytes)
}

fn append_json<W: Write>(
    archive: &mut ::tar::Builder<W>,
    path: &str,
    value: &Value,
) -> Result<(), SaveError> {
    let bytes = value.to_string().into_bytes();
    append(archive, path, bytes.len() as u64, bytes.as_slice())
}
