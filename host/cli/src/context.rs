//! Which daemon a command talks to.

use std::path::PathBuf;

use anyhow::Context as _;
use dhow_api::client::Client;

use crate::daemon_start;
use crate::failure::{Failure, OUR_FAULT};
use crate::output;
use crate::paths::Paths;

/// Scheme of the only address we can connect to.
const UNIX_SCHEME: &str = "unix://";

/// Our own daemon, or another one that the user named.
#[derive(Debug)]
pub(crate) struct Context {
    foreign: Option<PathBuf>,
}

impl Context {
    /// Reads `--host`.
    pub(crate) fn new(host: Option<&str>) -> Result<Self, Failure> {
        let foreign = match host {
            None | Some("") => None,
            Some(address) => Some(socket_path(address)?),
        };
        Ok(Self { foreign })
    }

    /// A client that is connected; starts our daemon when it does not run.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        if let Some(socket) = &self.foreign {
            return Ok(Client::new(socket));
        }
        let reached = Paths::prepare().map_err(Failure::from).and_then(|paths| {
            let reached = daemon_start::connect(&paths)?;
            Ok((paths, reached))
        });
        let (paths, reached) = reached.map_err(|failure| failure.code(OUR_FAULT))?;
        let client = Client::new(paths.socket());
        client.adopt(reached.stream).await?;
        if reached.has_news {
            for notice in client.notices().await? {
                output::note(&format!("note: {notice}"));
            }
        }
        Ok(client)
    }

    /// Address for Docker's own tools; makes the folders, starts nothing.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        let socket = match &self.foreign {
            Some(socket) => socket.clone(),
            None => Paths::prepare()?.socket(),
        };
        let socket = socket.to_str().context("the socket's path is not UTF-8")?;
        Ok(format!("{UNIX_SCHEME}{socket}"))
    }
}

fn socket_path(address: &str) -> Result<PathBuf, Failure> {
    match address.strip_prefix(UNIX_SCHEME) {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(Failure::new(format!("cannot connect to \"{address}\""))
            .hint("an address looks like unix:///run/user/1000/dhow/docker.sock")
            .code(OUR_FAULT)),
    }
}
