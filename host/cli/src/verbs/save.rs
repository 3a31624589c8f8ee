//! `dhow save`.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::Context as _;
use dhow_api::client::StreamedBody;

use crate::args::image::SaveArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// `dhow save`.
pub(crate) async fn save(context: &Context, args: SaveArgs) -> Outcome {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new("an archive is not for a terminal")
            .hint("give a file with `-o FILE`, or send it on with `| …`"));
    }
    let client = context.client().await?;
    let answer = client.save_images(&args.images).await?;
    match &args.output {
        None => copy(answer, &mut io::stdout().lock()).await?,
        Some(path) => to_file(answer, path).await?,
    }
    Ok(0)
}

async fn copy(mut answer: StreamedBody, output: &mut impl Write) -> Result<(), Failure> {
    while let Some(piece) = answer.next_chunk().await? {
        output.write_all(&piece)?;
    }
    output.flush()?;
    Ok(())
}

/// A file of that name is replaced only by a whole archive.
async fn to_file(answer: StreamedBody, path: &Path) -> Result<(), Failure> {
    let failed = || format!("failed to write {}", path.display());
    let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_special {
        let mut file = File::options()
            .write(true)
            .open(path)
            .with_context(failed)?;
        return copy(answer, &mut file).await;
    }
    let mut name = path
        .file_name()
        .context("the output has no name")?
        .to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let mut file = File::create(&part).with_context(failed)?;
    let copied = copy(answer, &mut file).await;
    let placed = copied.and_then(|()| Ok(fs::rename(&part, path).with_context(failed)?));
    if placed.is_err() {
        let _never_made = fs::remove_file(&part);
    }
    placed
}
