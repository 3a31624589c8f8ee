//! Registries: pull, push, login, search, tags.
//!
//! Each verb has connections of its own. When nobody listens any more, they are closed and the verb
//! ends: half an image is no use to anybody.

use std::sync::Arc;

use dhow_image::{RegistryError, RegistrySettings};
use tokio::sync::mpsc;

use super::blocking;
use crate::engine::Engine;
use crate::image::{
    Credentials, FoundRepository, ImageError, LayerStep, PullEvent, PullRequest, Pulled, PushEvent,
    PushRequest, PushStep, Pushed, Reference, RegistryClient,
};

impl Engine {
    fn registry_client(&self) -> Result<Arc<RegistryClient>, ImageError> {
        let settings = RegistrySettings::read(self.registry_settings());
        let settings = settings.map_err(RegistryError::Settings)?;
        Ok(Arc::new(RegistryClient::new(settings)))
    }

    /// Pulls an image. Ends early when nobody takes its progress any more.
    ///
    /// # Errors
    /// [`ImageError::Pull`].
    pub async fn image_pull(
        &self,
        request: PullRequest,
        progress: mpsc::Sender<PullEvent>,
    ) -> Result<Pulled, ImageError> {
        let client = self.registry_client()?;
        let (images, name) = (Arc::clone(self.images()), request.reference.familiar());
        let (puller, sender) = (Arc::clone(&client), progress.clone());
        let work = blocking(move || {
            images.pull(&puller, &request, &|event| {
                let is_passing = matches!(
                    event,
                    PullEvent::Layer {
                        step: LayerStep::Downloading { .. },
                        ..
                    }
                );
                pass_on(&sender, event, is_passing);
            })
        });
        let pulled = unless_gone(work, &client, &progress).await?;
        self.announce_image("pull", &name, &name);
        Ok(pulled)
    }

    /// Pushes an image under the name it is to have. Ends early when nobody takes its progress.
    ///
    /// # Errors
    /// [`ImageError::Push`].
    pub async fn image_push(
        &self,
        request: PushRequest,
        progress: mpsc::Sender<PushEvent>,
    ) -> Result<Pushed, ImageError> {
        let client = self.registry_client()?;
        let (images, name) = (Arc::clone(self.images()), request.reference.familiar());
        let (pusher, sender) = (Arc::clone(&client), progress.clone());
        let work = blocking(move || {
            images.push(&pusher, &request, &|event| {
                let is_passing = matches!(
                    event,
                    PushEvent::Layer {
                        step: PushStep::Pushing { .. },
                        ..
                    }
                );
                pass_on(&sender, event, is_passing);
            })
        });
        let pushed = unless_gone(work, &client, &progress).await?;
        self.announce_image("push", &name, &name);
        Ok(pushed)
    }

    /// The tags of an image in its registry.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn image_tags(
        &self,
        reference: Reference,
        credentials: Credentials,
    ) -> Result<Vec<String>, ImageError> {
        let client = self.registry_client()?;
        Ok(blocking(move || client.tags(&reference, &credentials)).await?)
    }

    /// Verifies credentials; a refresh token where the registry gives one.
    ///
    /// # Errors
    /// [`ImageError::Login`] where they are wrong.
    pub async fn registry_login(
        &self,
        credentials: Credentials,
    ) -> Result<Option<String>, ImageError> {
        let client = self.registry_client()?;
        let outcome = blocking(move || client.login(&credentials)).await;
        outcome.map_err(|error| match error {
            RegistryError::Denied { host, message, .. } => ImageError::Login { host, message },
            other => other.into(),
        })
    }

    /// Searches a registry.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn registry_search(
        &self,
        term: String,
        limit: usize,
        credentials: Credentials,
    ) -> Result<Vec<FoundRepository>, ImageError> {
        let client = self.registry_client()?;
        Ok(blocking(move || client.search(&term, limit, &credentials)).await?)
    }
}

/// Tells a step. One that the next makes obsolete is dropped where the listener is slow; the others
/// wait for it.
fn pass_on<T>(progress: &mpsc::Sender<T>, step: T, is_passing: bool) {
    if is_passing {
        let _listener_busy = progress.try_send(step);
    } else {
        let _listener_gone = progress.blocking_send(step);
    }
}

/// The outcome of `work`, which is ended when its listener goes away.
async fn unless_gone<T, S>(
    work: impl Future<Output = Result<T, ImageError>>,
    client: &RegistryClient,
    progress: &mpsc::Sender<S>,
) -> Result<T, ImageError> {
    tokio::select! {
        outcome = work => outcome,
        () = progress.closed() => {
            client.cancel();
            Err(RegistryError::Cancelled.into())
        }
    }
}
