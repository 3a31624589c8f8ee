//! `dhow create`, and the part of `dhow run` that is the same.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use dhow_api::client::{Client, CreatedContainer, request::ContainerCreateBody};

use super::attached::tell_warnings;
use crate::args::container::{ContainerArgs, PullPolicy};
use crate::args::run::CreateArgs;
use crate::context::Context;
use crate::failure::{Failure, OUR_FAULT, Outcome};
use crate::output;
use crate::resolve::container::{Streams, resolve, streams};
use crate::resolve::reference;
use crate::terminal::window;

/// HTTP's "there is no such thing".
const NOT_FOUND_STATUS: u16 = 404;

/// A container that is to be created.
#[derive(Debug)]
pub(super) struct Plan {
    name: Option<String>,
    image: String,
    body: ContainerCreateBody,
    cid_file: Option<CidFile>,
}

/// A file that waits for the container's id; gone again unless it got it.
#[derive(Debug)]
struct CidFile {
    file: File,
    path: std::path::PathBuf,
    written: bool,
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            let _already_gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Checks everything that can be checked without a daemon.
pub(super) fn plan(args: &ContainerArgs, streams: Streams) -> Result<Plan, Failure> {
    if args.pull == PullPolicy::Always {
        return Err(Failure::new("images cannot be pulled in this version")
            .hint("leave --pull away, and add images with `dhow load -i FILE`"));
    }
    let mut body = resolve(args, streams)?;
    if args.tty
        && let (Some(size), Some(config)) = (window::size(), &mut body.host_config)
    {
        config.console_size = Some(vec![usize::from(size.rows), usize::from(size.columns)]);
    }
    let cid_file = args.cidfile.as_deref().map(open_cid_file).transpose()?;
    Ok(Plan {
        name: args.name.clone(),
        image: args.image.clone(),
        body,
        cid_file,
    })
}

fn open_cid_file(path: &Path) -> Result<CidFile, Failure> {
    let file = File::create_new(path)
        .with_context(|| format!("failed to create the id file {}", path.display()))?;
    Ok(CidFile {
        file,
        path: path.to_owned(),
        written: false,
    })
}

impl Plan {
    /// Asks the daemon for the container.
    pub(super) async fn create(&mut self, client: &Client) -> Result<CreatedContainer, Failure> {
        let created = client
            .create_container(self.name.as_deref(), &self.body)
            .await;
        let created = created.map_err(|error| {
            let missing = error.status() == Some(NOT_FOUND_STATUS)
                && error.to_string().to_ascii_lowercase().contains("image");
            if missing {
                image_missing(&self.image)
            } else {
                Failure::from(error)
            }
        })?;
        tell_warnings(&created.warnings);
        if let Some(cid) = &mut self.cid_file {
            cid.file
                .write_all(created.id.as_bytes())
                .with_context(|| format!("failed to write {}", cid.path.display()))?;
            cid.written = true;
        }
        Ok(created)
    }
}

fn image_missing(image: &str) -> Failure {
    Failure::new(format!(
        "Unable to find image '{}' locally",
        reference::with_tag(image)
    ))
    .hint("add it with `dhow load -i FILE`; this version cannot pull from a registry")
}

/// `dhow create`. As with Docker, a mistake on the command line is 125, and what the daemon refuses
/// is 1, not 125 as for `run`, whose other codes are the container's.
pub(crate) async fn create(context: &Context, args: CreateArgs) -> Outcome {
    let planned = streams(&args.container, false)
        .map_err(Failure::from)
        .and_then(|streams| plan(&args.container, streams));
    let mut plan = planned.map_err(|failure| failure.code(OUR_FAULT))?;
    let client = context.client().await?;
    let created = plan.create(&client).await?;
    output::line(&created.id)?;
    Ok(0)
}
