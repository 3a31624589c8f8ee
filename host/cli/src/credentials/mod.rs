//! Who we are to registries: Docker's `config.json` and its credential helpers, so that a login made by
//! either program counts for both.
//!
//! The file is read by us, the client; the daemon sees only what a request brings.

mod file;
mod helper;

use anyhow::Result;
use dhow_api::client::RegistryAuth;

use file::ConfigFile;
use helper::Helper;

/// Under which name Docker Hub's credentials are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Domain of images that name none.
const HUB_DOMAIN: &str = "docker.io";

/// What names Docker Hub.
const HUB_HOSTS: [&str; 2] = [HUB_DOMAIN, "index.docker.io"];

/// User name that helpers give with an identity token instead of a password.
const TOKEN_USER: &str = "<token>";

/// The credentials for an image's registry, empty where there are none.
pub(crate) fn for_image(image: &str) -> Result<RegistryAuth> {
    for_registry(registry_of(image))
}

/// The credentials for a registry, empty where there are none.
pub(crate) fn for_registry(registry: &str) -> Result<RegistryAuth> {
    let config = ConfigFile::read()?;
    let key = key_of(registry);
    match helper_for(&config, &key) {
        Some(helper) => helper.get(&key),
        None => Ok(config.auth(&key)),
    }
}

/// Keeps credentials; says where.
pub(crate) fn keep(auth: &RegistryAuth) -> Result<String> {
    let mut config = ConfigFile::read()?;
    let key = key_of(&auth.server_address);
    if let Some(helper) = helper_for(&config, &key) {
        helper.store(&key, auth)?;
        // Other programs look here which registries there are logins for.
        config.note(&key);
        config.write()?;
        return Ok(format!("the credential helper {}", helper.name()));
    }
    config.set(&key, auth);
    config.write()?;
    Ok(config.path().display().to_string())
}

/// Forgets credentials; whether there were any.
pub(crate) fn forget(registry: &str) -> Result<bool> {
    let mut config = ConfigFile::read()?;
    let key = key_of(registry);
    let had = config.remove(&key);
    if let Some(helper) = helper_for(&config, &key) {
        helper.erase(&key)?;
    }
    if had {
        config.write()?;
    }
    Ok(had)
}

/// The registry's name in messages.
pub(crate) fn shown(registry: &str) -> String {
    key_of(registry)
}

fn helper_for(config: &ConfigFile, key: &str) -> Option<Helper> {
    config.helper(key).map(Helper::new)
}

/// The registry of an image: what is before the first slash, if it looks like a host.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => HUB_DOMAIN,
    }
}

/// The name that Docker keeps a registry's credentials under.
fn key_of(registry: &str) -> String {
    let rest = registry
        .trim()
        .split_once("://")
        .map_or(registry.trim(), |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || HUB_HOSTS.contains(&host) {
        HUB_KEY.to_owned()
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{key_of, registry_of};

    #[test]
    fn an_image_names_its_registry_or_means_the_hub() {
        assert_eq!(registry_of("busybox"), "docker.io");
        assert_eq!(registry_of("team/app:1"), "docker.io");
        assert_eq!(registry_of("localhost/app"), "localhost");
        assert_eq!(registry_of("host:5000/app:1"), "host:5000");
    }

    #[test]
    fn keys_are_dockers() {
        assert_eq!(key_of(""), "https://index.docker.io/v1/");
        assert_eq!(key_of("docker.io"), "https://index.docker.io/v1/");
        assert_eq!(key_of("https://host.example:5000/v2/"), "host.example:5000");
    }
}
