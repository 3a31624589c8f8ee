//! `config.json` in `DOCKER_CONFIG` or `~/.docker`. What we do not know in it stays as it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_api::client::RegistryAuth;
use serde_json::{Map, Value, json};

/// The file's name.
const FILE_NAME: &str = "config.json";

/// The file, in memory.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl ConfigFile {
    /// Reads the user's file; one that is not there is empty.
    pub(super) fn read() -> Result<Self> {
        let folder = match std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => etcetera::home_dir()
                .context("failed to find your home folder; set DOCKER_CONFIG")?
                .join(".docker"),
        };
        Self::read_from(&folder)
    }

    fn read_from(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let content = match fs::read(&path) {
            Ok(bytes) if bytes.trim_ascii().is_empty() => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is invalid", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", path.display()));
            }
        };
        Ok(Self { path, content })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helper that keeps a registry's credentials, if one does.
    pub(super) fn helper(&self, key: &str) -> Option<&str> {
        let own = self
            .content
            .get("credHelpers")
            .and_then(|helpers| helpers.get(key))
            .and_then(Value::as_str);
        let general = self.content.get("credsStore").and_then(Value::as_str);
        own.or(general).filter(|name| !name.is_empty())
    }

    /// The credentials that are in the file itself.
    pub(super) fn auth(&self, key: &str) -> RegistryAuth {
        let auths = self.content.get("auths").and_then(Value::as_object);
        let Some(auths) = auths else {
            return RegistryAuth::default();
        };
        // Old files have whole addresses where new ones have hosts.
        let similar = |known: &&String| super::key_of(known) == key;
        let entry = auths.get(key).or_else(|| {
            auths
                .keys()
                .find(similar)
                .and_then(|known| auths.get(known))
        });
        let text = |field: &str| {
            let value = entry
                .and_then(|entry| entry.get(field))
                .and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let decoded = STANDARD.decode(text("auth")).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let (username, password) = match decoded.split_once(':') {
            Some((username, password)) => (username.to_owned(), password.to_owned()),
            None => (text("username"), text("password")),
        };
        RegistryAuth {
            username,
            password,
            identity_token: text("identitytoken"),
            server_address: if entry.is_some() {
                key.to_owned()
            } else {
                String::new()
            },
        }
    }

    /// Keeps credentials in the file.
    pub(super) fn set(&mut self, key: &str, auth: &RegistryAuth) {
        let mut entry = Map::new();
        // With a token the password is of no further use.
        let pair = match auth.identity_token.is_empty() {
            true => format!("{}:{}", auth.username, auth.password),
            false => format!("{}:", auth.username),
        };
        entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
        if !auth.identity_token.is_empty() {
            let token = auth.identity_token.as_str();
            entry.insert("identitytoken".to_owned(), token.into());
        }
        self.auths().insert(key.to_owned(), Value::Object(entry));
    }

    /// Notes that there is a login, without saying what it is.
    pub(super) fn note(&mut self, key: &str) {
        self.auths().insert(key.to_owned(), json!({}));
    }

    /// Forgets credentials; whether there were any.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let auths = self.auths();
        let before = auths.len();
        auths.retain(|known, _| super::key_of(known) != key);
        auths.len() != before
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths.as_object_mut().expect("made an object above")
    }

    /// Replaces the file as a whole; only its owner can read it.
    pub(super) fn write(&self) -> Result<()> {
        // A link to a file elsewhere stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let Some(folder) = path.parent() else {
            bail!("{} is in no folder", path.display());
        };
        let failed = || format!("failed to write {}", path.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(failed)?;
        let temporary = folder.join(format!("{FILE_NAME}.{}", std::process::id()));
        let mut bytes = Vec::new();
        let indented = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indented);
        serde::Serialize::serialize(&self.content, &mut serializer).with_context(failed)?;
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            let _never_made = fs::remove_file(&temporary);
        }
        written.with_context(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use dhow_api::client::RegistryAuth;

    use super::ConfigFile;

    fn me(server_address: &str) -> RegistryAuth {
        RegistryAuth {
            username: "me".to_owned(),
            password: "se:cret".to_owned(),
            server_address: server_address.to_owned(),
            ..RegistryAuth::default()
        }
    }

    #[test]
    fn what_is_kept_is_found_again_and_the_rest_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        fs::write(
            &path,
            r#"{"detachKeys":"ctrl-a","auths":{"other":{"auth":"eDp5"}}}"#,
        )
        .expect("a file");
        let mut config = ConfigFile::read_from(folder.path()).expect("a valid file");

        config.set("localhost:5000", &me("localhost:5000"));
        config.write().expect("written");

        let again = ConfigFile::read_from(folder.path()).expect("a valid file");
        assert_eq!(again.auth("localhost:5000"), me("localhost:5000"));
        assert_eq!(again.auth("other").username, "x");
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.contains("\"detachKeys\": \"ctrl-a\""), "{text}");
        assert!(!text.contains("se:cret"), "{text}");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn forgets_a_login_under_each_of_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = ConfigFile::read_from(folder.path()).expect("no file");
        config.set("https://host.example/v1/", &me("host.example"));
        assert_eq!(config.auth("host.example").username, "me");
        assert!(config.remove("host.example"));
        assert!(!config.remove("host.example"));
    }

    #[test]
    fn a_helper_of_a_registry_wins_over_the_general_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = r#"{"credsStore":"general","credHelpers":{"host.example":"own"}}"#;
        fs::write(folder.path().join("config.json"), text).expect("a file");
        let config = ConfigFile::read_from(folder.path()).expect("a valid file");
        assert_eq!(config.helper("host.example"), Some("own"));
        assert_eq!(config.helper("another.example"), Some("general"));
    }

    #[test]
    fn a_broken_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("config.json"), "{").expect("a file");
        let error = ConfigFile::read_from(folder.path()).expect_err("a refusal");
        assert!(
            error.to_string().contains("config.json is invalid"),
            "{error}"
        );
    }
}
