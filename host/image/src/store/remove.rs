//! Removes names and images by Docker's rules.
//!
//! A name is untagged, and when it was the last one, the image goes too. An id removes the image with
//! its only name, or with all of them if forced. Layers go with the last image that has them.

use std::fs;

use super::{ImageStore, ResolveError, StoreError};
use crate::digest::ImageId;
use crate::reference::Reference;

/// What was done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// An image lost this name.
    Untagged(String),
    /// An image is gone.
    Deleted(ImageId),
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The image was not found.
    #[error("failed to remove an image")]
    Resolve(#[source] ResolveError),
    /// Something needs it.
    #[error("conflict: unable to remove image {image} (must force): {user} is using it")]
    InUse {
        /// What was to be removed.
        image: String,
        /// What needs it, in the caller's words.
        user: String,
    },
    /// An id whose image has names in several repositories.
    #[error(
        "conflict: unable to delete {image} (must be forced): \
         the image is referenced in multiple repositories"
    )]
    ManyNames {
        /// The image's short id.
        image: String,
    },
    /// The store failed.
    #[error("failed to remove an image from the store")]
    Store(#[source] StoreError),
}

impl ImageStore {
    /// Removes a name or an image. `in_use` says who needs an image, if anybody does: then it stays,
    /// and with `force` only loses its names, so that whoever needs it keeps its layers.
    ///
    /// # Errors
    /// If there is no such image, it is in use, an id is ambiguous in what it removes, or the store
    /// cannot be written.
    pub fn remove(
        &self,
        text: &str,
        force: bool,
        in_use: &dyn Fn(&ImageId) -> Option<String>,
    ) -> Result<Vec<Removed>, RemoveError> {
        let lock = self.lock().map_err(RemoveError::Store)?;
        let id = self.resolve_id(text).map_err(RemoveError::Resolve)?;
        let mut references = self.references().map_err(RemoveError::Store)?;
        let names = references.of(&id);
        let user = in_use(&id);
        let named = text
            .parse()
            .is_ok_and(|typed| references.get(&typed) == Some(id));
        let going = if !named {
            if !force && !is_single_reference(&names) {
                return Err(RemoveError::ManyNames { image: id.short() });
            }
            names.clone()
        } else {
            self.names_to_remove(text, &names)
        };
        let is_last = going.len() == names.len();
        if let (true, false, Some(user)) = (is_last, force, &user) {
            return Err(RemoveError::InUse {
                image: text.to_owned(),
                user: user.clone(),
            });
        }
        let mut done = Vec::new();
        for name in going {
            references.remove(&name);
            done.push(Removed::Untagged(name.familiar()));
        }
        references
            .write(&self.inner.root, self.session())
            .map_err(RemoveError::Store)?;
        if is_last && user.is_none() {
            let path = self.image_path(&id);
            fs::remove_file(&path)
                .map_err(|source| RemoveError::Store(StoreError::io("remove", &path)(source)))?;
            done.push(Removed::Deleted(id));
            self.remove_unused_layers(&lock)
                .map_err(RemoveError::Store)?;
        }
        Ok(done)
    }

    /// The name typed, and with the last tag of a repository also its digests.
    fn names_to_remove(&self, text: &str, names: &[Reference]) -> Vec<Reference> {
        let Ok(typed) = text.parse::<Reference>() else {
            return Vec::new();
        };
        let typed = match typed.digest() {
            Some(digest) => typed.at_digest(digest),
            None => typed.or_latest(),
        };
        let same_repository = |name: &&Reference| name.name() == typed.name();
        let others = names
            .iter()
            .filter(same_repository)
            .filter(|name| **name != typed);
        let only_digests = typed.tag().is_some() && others.clone().all(|name| name.tag().is_none());
        let mut going = vec![typed.clone()];
        if only_digests {
            going.extend(others.cloned());
        }
        going
    }
}

/// At most one tag, and all names in one repository.
fn is_single_reference(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let mut repositories = names.iter().map(Reference::name);
    let first = repositories.next();
    tags <= 1 && repositories.all(|name| Some(&name) == first.as_ref())
}
