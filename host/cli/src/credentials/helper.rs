//! Credential helpers: programs `docker-credential-NAME` that keep passwords elsewhere.
//!
//! Their protocol (docker/docker-credential-helpers): a word as argument, the registry or a JSON object
//! on standard input, JSON on standard output.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use dhow_api::client::RegistryAuth;
use serde::Deserialize;
use serde_json::json;

use super::TOKEN_USER;

/// What helpers say of a registry they do not know.
const NOT_FOUND: &str = "credentials not found";

/// A helper by name.
#[derive(Debug)]
pub(super) struct Helper {
    program: String,
}

/// What a helper tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Kept {
    username: String,
    secret: String,
}

impl Helper {
    pub(super) fn new(name: &str) -> Self {
        Self {
            program: format!("docker-credential-{name}"),
        }
    }

    /// The program.
    pub(super) fn name(&self) -> &str {
        &self.program
    }

    /// What it keeps for a registry, empty if that is nothing.
    pub(super) fn get(&self, key: &str) -> Result<RegistryAuth> {
        let (success, printed) = self.run("get", key)?;
        if !success && printed.contains(NOT_FOUND) {
            return Ok(RegistryAuth::default());
        }
        if !success {
            bail!("{} failed: {}", self.program, printed.trim());
        }
        let kept: Kept = serde_json::from_str(&printed)
            .with_context(|| format!("failed to understand {}", self.program))?;
        let is_token = kept.username == TOKEN_USER;
        let (password, identity_token) = match is_token {
            true => (String::new(), kept.secret),
            false => (kept.secret, String::new()),
        };
        Ok(RegistryAuth {
            username: if is_token {
                String::new()
            } else {
                kept.username
            },
            password,
            identity_token,
            server_address: key.to_owned(),
        })
    }

    /// Has it keep credentials.
    pub(super) fn store(&self, key: &str, auth: &RegistryAuth) -> Result<()> {
        let (user, secret) = match auth.identity_token.as_str() {
            "" => (auth.username.as_str(), auth.password.as_str()),
            token => (TOKEN_USER, token),
        };
        let input = json!({"ServerURL": key, "Username": user, "Secret": secret});
        self.must("store", &input.to_string())
    }

    /// Has it forget them; that it never knew them is fine.
    pub(super) fn erase(&self, key: &str) -> Result<()> {
        let (success, printed) = self.run("erase", key)?;
        if success || printed.contains(NOT_FOUND) {
            return Ok(());
        }
        bail!("{} failed: {}", self.program, printed.trim())
    }

    fn must(&self, word: &str, input: &str) -> Result<()> {
        match self.run(word, input)? {
            (true, _) => Ok(()),
            (false, printed) => bail!("{} failed: {}", self.program, printed.trim()),
        }
    }

    /// Whether it succeeded, and what it printed.
    fn run(&self, word: &str, input: &str) -> Result<(bool, String)> {
        let failed = || format!("failed to run the credential helper {}", self.program);
        let mut child = Command::new(&self.program)
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read says why on its output.
            let _unread = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().with_context(failed)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.success(), printed))
    }
}
