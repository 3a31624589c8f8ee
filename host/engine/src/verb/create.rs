//! Creates a container: merges the image's defaults in, checks everything that can be checked without
//! a machine, and writes it down.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use oci_spec::image::Config as ImageDefaults;

use super::blocking;
use super::volumes::VolumeCreateError;
use crate::class::{Classified, ErrorClass};
use crate::container::health::{self, HealthCheckError};
use crate::container::registry::NameTaken;
use crate::container::{
    Container, ContainerConfig, Durability, HostConfig, Record, RecordError, RestartPolicy, Status,
};
use crate::engine::Engine;
use crate::id::Id;
use crate::image::{Image, ImageError};
use crate::name::{ContainerName, NameError};
use crate::network::{CreateNetworkError, EndpointConfig};
use crate::oci::{self, ConfigError, files, process::merge_environment};
use crate::port::{ContainerPort, PortError, RequestedBinding};
use crate::signal::{SignalError, SignalNumber};
use crate::time::Timestamp;
use crate::volume::MountError;

/// Random names tried before giving up.
const NAME_ATTEMPTS: u32 = 32;

/// What to create.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its name, or a random one.
    pub name: Option<String>,
    /// What runs inside.
    pub config: ContainerConfig,
    /// What the host grants.
    pub host_config: HostConfig,
    /// What it asks of networks.
    pub networks: Vec<EndpointConfig>,
    /// Legacy links, `container[:alias]`.
    pub links: Vec<String>,
}

/// Why a container was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another container has the name.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The image is not here, or cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Neither image nor user say what to run.
    #[error("no command specified")]
    NoCommand,
    /// The image's ports make no sense.
    #[error("the image exposes a port that is none")]
    ImagePort(#[source] PortError),
    /// The stop signal is none.
    #[error(transparent)]
    StopSignal(#[from] SignalError),
    /// Something asked for makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The health check makes no sense.
    #[error(transparent)]
    HealthCheck(#[from] HealthCheckError),
    /// It cannot be both.
    #[error("can't create 'AutoRemove' container with restart policy")]
    RemovedAndRestarted,
    /// An extra host is none.
    #[error(transparent)]
    ExtraHost(#[from] files::ExtraHostError),
    /// Its networks make no sense.
    #[error(transparent)]
    Network(#[from] CreateNetworkError),
    /// Its mounts cannot be as asked.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A volume of it cannot be made.
    #[error(transparent)]
    Volume(#[from] VolumeCreateError),
    /// The container could not be written down.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The host failed.
    #[error("failed to make the container's folder")]
    Folder(#[source] io::Error),
}

impl Classified for CreateError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NameTaken(_) => ErrorClass::Conflict,
            Self::Image(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Mount(error) => error.class(),
            Self::Volume(error) => error.class(),
            Self::Record(_) | Self::Folder(_) => ErrorClass::Internal,
            _ => ErrorClass::InvalidParameter,
        }
    }
}

impl Engine {
    /// Creates a container; it needs no machine.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub async fn create(&self, options: CreateOptions) -> Result<Arc<Container>, CreateError> {
        let name = options.name.map(ContainerName::try_from).transpose()?;
        let images = Arc::clone(self.images());
        let reference = options.config.image.clone();
        let image = blocking(move || images.resolve(&reference)).await?;
        let mut config = options.config;
        merge_image(&mut config, &image)?;
        if let Some(signal) = &config.stop_signal {
            SignalNumber::parse(signal)?;
        }
        if let Some(check) = &config.healthcheck {
            check.check()?;
        }
        let mut host_config = options.host_config;
        if host_config.auto_remove && host_config.restart_policy != RestartPolicy::No {
            return Err(CreateError::RemovedAndRestarted);
        }
        let mut networks = options.networks;
        self.settle_networks(&config, &mut host_config, &mut networks, &options.links)?;
        if host_config.publish_all_ports {
            publish_exposed(&config.exposed_ports, &mut host_config);
        }
        let arguments = arguments(&config)?;
        let id = Id::random().map_err(CreateError::Folder)?;
        let planned = self.plan_mounts(&config, &host_config)?;
        let mut record = Record {
            name: ContainerName::random(0).map_err(CreateError::Folder)?,
            id,
            created: Timestamp::now(),
            image_id: image.id,
            config,
            host_config,
            networks,
            arguments,
            status: Status::default(),
            restart_count: 0,
            stopped_by_user: false,
            has_files: false,
            mounts: Vec::new(),
        };
        // What would fail the start fails here, where the user typed it.
        oci::config(&record)?;
        files::hosts(&record, &files::Surroundings::default())?;
        if let Some(name) = &name {
            self.containers().check_name(name)?;
        }
        let made = self.make_mounts(planned).await?;
        record.mounts.clone_from(&made.mounts);
        let container = match self.write_down(record, name.as_ref()) {
            Ok(container) => container,
            Err(error) => {
                self.unmake_mounts(made).await;
                return Err(error);
            }
        };
        drop(made);
        self.announce(&container, "create", &[]);
        Ok(container)
    }

    fn write_down(
        &self,
        mut record: Record,
        name: Option<&ContainerName>,
    ) -> Result<Arc<Container>, CreateError> {
        let directory = self
            .container_directory(&record.id)
            .map_err(CreateError::Folder)?;
        let durability = if record.host_config.auto_remove {
            Durability::DaemonEnd
        } else {
            Durability::PowerCut
        };
        let mut attempt = 0;
        loop {
            record.name = match name {
                Some(name) => name.clone(),
                None => ContainerName::random(attempt).map_err(CreateError::Folder)?,
            };
            let container = Arc::new(Container::new(record.clone(), directory.clone()));
            match self.containers().insert(Arc::clone(&container)) {
                Ok(()) => {}
                Err(_taken) if name.is_none() && attempt < NAME_ATTEMPTS => {
                    attempt += 1;
                    continue;
                }
                Err(taken) => {
                    let _empty = std::fs::remove_dir(&directory);
                    return Err(taken.into());
                }
            }
            if let Err(error) = record.save(&directory, durability) {
                self.containers().remove(&record.id);
                let _partial = std::fs::remove_dir_all(&directory);
                return Err(error.into());
            }
            return Ok(container);
        }
    }
}

/// Program and arguments: the entry point, then the command.
fn arguments(config: &ContainerConfig) -> Result<Vec<String>, CreateError> {
    let parts = [&config.entrypoint, &config.command];
    let arguments: Vec<String> = parts.into_iter().flatten().flatten().cloned().collect();
    if arguments.is_empty() {
        return Err(CreateError::NoCommand);
    }
    Ok(arguments)
}

/// Fills what the user left open from the image, as Docker does.
fn merge_image(config: &mut ContainerConfig, image: &Image) -> Result<(), CreateError> {
    let nothing = ImageDefaults::default();
    let defaults = image.config.config().as_ref().unwrap_or(&nothing);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if config.user.is_empty() {
        config.user = text(defaults.user());
    }
    if config.working_dir.is_empty() {
        config.working_dir = text(defaults.working_dir());
    }
    // An entry point of the user's own makes the image's command meaningless.
    if config.entrypoint.is_none() {
        config.entrypoint.clone_from(defaults.entrypoint());
        if config.command.as_ref().is_none_or(Vec::is_empty) {
            config.command.clone_from(defaults.cmd());
        }
    }
    // `--entrypoint ""` arrives as one empty string: no entry point.
    if config
        .entrypoint
        .as_ref()
        .is_some_and(|parts| *parts == [""])
    {
        config.entrypoint = Some(Vec::new());
        if config.command.is_none() {
            config.command.clone_from(defaults.cmd());
        }
    }
    let image_env = defaults.env().clone().unwrap_or_default();
    config.env = merge_environment(&image_env, &config.env);
    for (key, value) in defaults.labels().iter().flatten() {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    if config.stop_signal.is_none() {
        config.stop_signal.clone_from(defaults.stop_signal());
    }
    for port in defaults.exposed_ports().iter().flatten() {
        let port = port.parse().map_err(CreateError::ImagePort)?;
        config.exposed_ports.insert(port);
    }
    if let Some(inherited) = health::of_image(&image.config_json) {
        config
            .healthcheck
            .get_or_insert_default()
            .inherit(&inherited);
    }
    let volumes = defaults.volumes().iter().flatten().cloned();
    config.volumes.extend(volumes);
    Ok(())
}

/// Docker's `-P`: every exposed port that is not published already.
fn publish_exposed(exposed: &BTreeSet<ContainerPort>, host_config: &mut HostConfig) {
    for port in exposed {
        host_config
            .port_bindings
            .entry(*port)
            .or_insert_with(|| vec![RequestedBinding::ephemeral()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(config: &str) -> Image {
        let config_json = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
        );
        Image {
            id: "sha256:1".to_owned(),
            config: serde_json::from_str(&config_json).unwrap(),
            config_json,
            layers: Vec::new(),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
        }
    }

    fn merged(mut config: ContainerConfig, defaults: &str) -> ContainerConfig {
        merge_image(&mut config, &image(defaults)).unwrap();
        config
    }

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    const IMAGE: &str = r#"{"Entrypoint":["/entry"],"Cmd":["serve"],"Env":["A=1","B=2"],
        "ExposedPorts":{"80/tcp":{}},"User":"web","Labels":{"tier":"front"}}"#;

    #[test]
    fn the_image_says_what_to_run() {
        let config = merged(ContainerConfig::default(), IMAGE);

        assert_eq!(arguments(&config).unwrap(), ["/entry", "serve"]);
        assert_eq!(config.user, "web");
        assert_eq!(config.exposed_ports.len(), 1);
    }

    #[test]
    fn a_command_goes_to_the_images_entry_point() {
        let config = ContainerConfig {
            command: words("check now"),
            ..ContainerConfig::default()
        };

        let config = merged(config, IMAGE);

        assert_eq!(arguments(&config).unwrap(), ["/entry", "check", "now"]);
    }

    #[test]
    fn an_entry_point_of_ones_own_drops_the_images_command() {
        let config = ContainerConfig {
            entrypoint: words("sh"),
            ..ContainerConfig::default()
        };

        let config = merged(config, IMAGE);

        assert_eq!(arguments(&config).unwrap(), ["sh"]);
    }

    #[test]
    fn an_empty_entry_point_is_none() {
        let config = ContainerConfig {
            entrypoint: Some(vec![String::new()]),
            command: words("ls"),
            ..ContainerConfig::default()
        };

        let config = merged(config, IMAGE);

        assert_eq!(arguments(&config).unwrap(), ["ls"]);
    }

    #[test]
    fn variables_add_up() {
        let config = ContainerConfig {
            env: vec!["A=3".to_owned(), "C=4".to_owned()],
            ..ContainerConfig::default()
        };

        let config = merged(config, IMAGE);

        assert_eq!(config.env, ["A=3", "B=2", "C=4"]);
    }

    #[test]
    fn nothing_to_run_is_refused() {
        let config = merged(ContainerConfig::default(), "{}");

        assert!(matches!(arguments(&config), Err(CreateError::NoCommand)));
    }

    #[test]
    fn all_exposed_ports_are_published_when_asked() {
        let config = merged(ContainerConfig::default(), IMAGE);
        let mut host_config = HostConfig::default();

        publish_exposed(&config.exposed_ports, &mut host_config);

        assert!(
            host_config
                .port_bindings
                .contains_key(&"80/tcp".parse().unwrap())
        );
    }
}
