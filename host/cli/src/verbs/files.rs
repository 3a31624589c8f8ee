//! `dhow diff`, `dhow export` and `dhow commit`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use dhow_api::client::CommitOptions;

use crate::args::files::{CommitArgs, DiffArgs, ExportArgs};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::terminal::window;

/// `dhow diff`.
pub(crate) async fn diff(context: &Context, args: DiffArgs) -> Outcome {
    let client = context.client().await?;
    for change in client.container_changes(&args.container).await? {
        let letter = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        output::line(&format!("{letter} {}", change.path))?;
    }
    Ok(0)
}

/// `dhow export`.
pub(crate) async fn export(context: &Context, args: ExportArgs) -> Outcome {
    if args.output.is_none() && window::stdout_is_terminal() {
        return Err(Failure::new("refusing to write an archive to a terminal")
            .hint("give a file with `-o FILE`, or send it on with `> FILE`"));
    }
    let client = context.client().await?;
    let mut archive = client.export_container(&args.container).await?;
    let mut file = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::Output(io::stdout()),
    };
    while let Some(piece) = archive.next_chunk().await? {
        file.write(&piece)?;
    }
    file.finish()?;
    Ok(0)
}

/// `dhow commit`.
pub(crate) async fn commit(context: &Context, args: CommitArgs) -> Outcome {
    let client = context.client().await?;
    let options = CommitOptions {
        reference: args.reference.unwrap_or_default(),
        author: args.author.unwrap_or_default(),
        message: args.message.unwrap_or_default(),
        changes: args.change,
        pause: args.pause,
    };
    let id = client.commit_container(&args.container, &options).await?;
    output::line(&id)?;
    Ok(0)
}

/// Where an archive goes.
enum Destination {
    /// Standard output.
    Output(io::Stdout),
    /// A file, which gets its name once it is whole.
    File(tempfile::NamedTempFile, std::path::PathBuf),
}

impl Destination {
    fn file(path: &Path) -> Result<Self, Failure> {
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let file = file.with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self::File(file, path.to_owned()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Output(output) => output.write_all(bytes),
            Self::File(file, _) => file.write_all(bytes),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Output(mut output) => Ok(output.flush()?),
            Self::File(file, path) => {
                let named: Result<File, _> = file.persist(&path);
                named.with_context(|| format!("failed to write {}", path.display()))?;
                Ok(())
            }
        }
    }
}
