//! Images that are only names: `busybox`, which runs what it is told.

use std::io::{Read, Write};

use dhow_engine::image::{
    CommitOptions, Image, ImageError, ImageLayer, ImageLibrary, ImportOptions, LoadProgress,
    PullEvent, PullRequest, Pulled, PushEvent, PushRequest, Pushed, RegistryClient, RemovedImage,
};

/// The id of the one image.
const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z",
    "config":{"Cmd":["sh"],"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"ExposedPorts":{"80/tcp":{}}},
    "rootfs":{"type":"layers","diff_ids":[]}}"#;

/// A library of one image.
#[derive(Clone, Debug, Default)]
pub struct FakeImages;

fn busybox() -> Image {
    Image {
        id: ID.to_owned(),
        config: serde_json::from_str(CONFIG).expect("valid"),
        config_json: CONFIG.to_owned(),
        layers: vec![ImageLayer {
            diff_id: ID.to_owned(),
            path: "/nonexistent".into(),
            size: 4096,
        }],
        repo_tags: vec!["busybox:latest".to_owned()],
        repo_digests: Vec::new(),
    }
}

impl ImageLibrary for FakeImages {
    fn resolve(&self, reference: &str) -> Result<Image, ImageError> {
        match reference {
            "busybox" | "busybox:latest" | ID => Ok(busybox()),
            other => Err(ImageError::NotFound(other.to_owned())),
        }
    }

    fn list(&self) -> Result<Vec<Image>, ImageError> {
        Ok(vec![busybox()])
    }

    fn load(
        &self,
        archive: &mut dyn Read,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<(), ImageError> {
        std::io::copy(archive, &mut std::io::sink())
            .map_err(|error| ImageError::Invalid(error.into()))?;
        progress(LoadProgress::Loaded("busybox:latest".to_owned()));
        Ok(())
    }

    fn pull(
        &self,
        _client: &RegistryClient,
        request: &PullRequest,
        _report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, ImageError> {
        Err(ImageError::NotFound(request.reference.familiar()))
    }

    fn push(
        &self,
        _client: &RegistryClient,
        request: &PushRequest,
        _report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Pushed, ImageError> {
        Err(ImageError::NotFound(request.reference.familiar()))
    }

    fn save(&self, names: &[String], output: &mut dyn Write) -> Result<(), ImageError> {
        for name in names {
            self.resolve(name)?;
        }
        let written = output.write_all(ID.as_bytes());
        written.map_err(|error| ImageError::Store(error.into()))
    }

    fn import(&self, tar: &mut dyn Read, _options: &ImportOptions) -> Result<String, ImageError> {
        std::io::copy(tar, &mut std::io::sink())
            .map_err(|error| ImageError::Invalid(error.into()))?;
        Ok(ID.to_owned())
    }

    fn commit(&self, layer: &mut dyn Read, options: &CommitOptions) -> Result<String, ImageError> {
        std::io::copy(layer, &mut std::io::sink())
            .map_err(|error| ImageError::Invalid(error.into()))?;
        self.resolve(&options.base).map(|image| image.id)
    }

    fn tag(&self, source: &str, _target: &str) -> Result<(), ImageError> {
        self.resolve(source).map(drop)
    }

    fn remove(
        &self,
        reference: &str,
        force: bool,
        in_use: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<RemovedImage>, ImageError> {
        let image = self.resolve(reference)?;
        match in_use(&image.id) {
            Some(user) if !force => Err(ImageError::Conflict(user)),
            _ => Ok(vec![RemovedImage::Untagged(reference.to_owned())]),
        }
    }
}
