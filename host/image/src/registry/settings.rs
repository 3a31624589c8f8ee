//! `daemon.json`: which registries have mirrors and which may go without encryption.
//!
//! The keys are Docker's. Certificates of private authorities are where Docker has them too, in a
//! folder beside the file: `certs.d/HOST[:PORT]/*.crt`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Folder of certificates beside the settings.
const CERTIFICATES: &str = "certs.d";

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is there but cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is invalid", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A mirror that is no address.
    #[error("the mirror {text:?} in {} is no http:// or https:// address", path.display())]
    Mirror {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// What a user says about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Addresses asked before the default registry.
    pub(crate) mirrors: Vec<String>,
    /// `host[:port]` or networks (`10.0.0.0/8`) that may be spoken to without trust.
    pub(crate) insecure: Vec<String>,
    /// Where certificates are, if there is such a folder.
    pub(crate) certificates: Option<PathBuf>,
}

/// The keys of the file that are about registries; others are not ours to judge.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Stored {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

impl RegistrySettings {
    /// Reads the file; one that is not there says nothing.
    ///
    /// # Errors
    /// [`SettingsError`] where it cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let stored: Stored = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| SettingsError::Json {
                path: path.to_owned(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(source) => {
                return Err(SettingsError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let is_address = |text: &&String| {
            let host = text
                .strip_prefix("https://")
                .or(text.strip_prefix("http://"));
            host.is_none_or(|host| host.trim_end_matches('/').is_empty())
        };
        if let Some(text) = stored.registry_mirrors.iter().find(is_address) {
            return Err(SettingsError::Mirror {
                path: path.to_owned(),
                text: text.clone(),
            });
        }
        let mirrors = stored.registry_mirrors.iter();
        Ok(Self {
            mirrors: mirrors
                .map(|text| text.trim_end_matches('/').to_owned())
                .collect(),
            insecure: stored.insecure_registries,
            certificates: path.parent().map(|folder| folder.join(CERTIFICATES)),
        })
    }

    /// Whether `host[:port]` may be spoken to without encryption or trust: loopback always, as with
    /// Docker, and what the settings name.
    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        let name = without_port(host);
        if is_loopback(name) {
            return true;
        }
        let address = name.parse::<IpAddr>().ok();
        self.insecure
            .iter()
            .any(|entry| match entry.split_once('/') {
                Some(_) => address.is_some_and(|address| network_contains(entry, address)),
                None => entry == host || entry == name,
            })
    }

    /// Files with certificates to trust for `host[:port]` besides the host's own.
    pub(crate) fn certificates_of(&self, host: &str) -> Vec<PathBuf> {
        let folder = self.certificates.as_ref().map(|folder| folder.join(host));
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        let paths = entries.into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = paths
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
            .collect();
        found.sort();
        found
    }
}

/// `host` of `host[:port]`, without the brackets of an IPv6 address.
pub(crate) fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

/// `localhost`, 127.0.0.0/8 and ::1.
pub(crate) fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether `address/bits` contains an address; no network contains anything if it is malformed.
pub(crate) fn network_contains(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (base.to_bits().into(), address.to_bits().into(), u32::BITS)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (base.to_bits(), address.to_bits(), Ipv6Addr::BITS)
        }
        _ => return false,
    };
    let differing: u128 = base ^ address;
    bits <= width && differing.checked_shr(width - bits).unwrap_or_default() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<RegistrySettings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        fs::write(&path, text).unwrap();
        RegistrySettings::read(&path)
    }

    #[test]
    fn reads_dockers_keys_and_leaves_others_alone() {
        let settings = written(
            r#"{"registry-mirrors": ["https://mirror.example/"], "debug": true,
                "insecure-registries": ["build.example:5000", "10.1.0.0/16"]}"#,
        )
        .unwrap();
        assert_eq!(settings.mirrors, ["https://mirror.example"]);
        assert!(settings.is_insecure("build.example:5000"));
        assert!(!settings.is_insecure("build.example:5001"));
        assert!(settings.is_insecure("10.1.2.3:80"));
        assert!(!settings.is_insecure("10.2.2.3:80"));
    }

    #[test]
    fn a_missing_file_says_nothing() {
        let settings = RegistrySettings::read(Path::new("/nowhere/daemon.json")).unwrap();
        assert!(settings.mirrors.is_empty() && settings.insecure.is_empty());
    }

    #[test]
    fn loopback_is_always_insecure() {
        let settings = RegistrySettings::default();
        for host in ["localhost", "localhost:5000", "127.0.0.9:1", "[::1]:5000"] {
            assert!(settings.is_insecure(host), "{host}");
        }
        assert!(!settings.is_insecure("localhost.example"));
    }

    #[test]
    fn rejects_a_mirror_that_is_no_address() {
        let refused = written(r#"{"registry-mirrors": ["mirror.example"]}"#).unwrap_err();
        assert!(refused.to_string().contains("mirror.example"), "{refused}");
        let refused = written(r#"{"registry-mirrors": 5}"#).unwrap_err();
        assert!(matches!(refused, SettingsError::Json { .. }));
    }
}
