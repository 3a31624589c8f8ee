//! `dhow load`, and how every archive is sent.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use dhow_api::client::{ClientError, Progress, StreamedBody, Upload};
use tokio::sync::mpsc;

use crate::args::Source;
use crate::args::image::LoadArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::terminal::{input, window};

/// `dhow load`.
pub(crate) async fn load(context: &Context, args: LoadArgs) -> Outcome {
    let (upload, sent) = open(&Source::from(args.input.clone()))?;
    let client = context.client().await?;
    let answer = client.load_images(upload, args.quiet).await;
    let mut progress = explain(answer, sent)?;
    while let Some(step) = next_step(&mut progress).await? {
        if let Some(text) = step.stream.filter(|text| !text.trim().is_empty()) {
            // Not every daemon ends its lines.
            output::line(text.trim_end())?;
        }
    }
    Ok(0)
}

/// Starts reading an archive; what goes wrong with it arrives on the second channel as well, for
/// the daemon only sees that the upload broke off.
pub(super) fn open(source: &Source) -> Result<(Upload, mpsc::Receiver<io::Error>), Failure> {
    let (sender, upload) = Upload::channel();
    match source {
        Source::Stdin => {
            if window::stdin_is_terminal() {
                return Err(
                    Failure::new("there is no archive: standard input is a terminal")
                        .hint("give a file with `-i FILE`, or send one with `< FILE`"),
                );
            }
            let errors = watched(sender, |pieces| {
                input::standard_input_into(pieces);
                Ok(())
            });
            Ok((upload, errors.context("failed to read standard input")?))
        }
        Source::File(path) => {
            let errors = watched(sender, |pieces| input::file_into(path, pieces));
            Ok((
                upload,
                errors.with_context(|| format!("failed to read {}", shown(path)))?,
            ))
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Puts a task between reader and upload that keeps a copy of the error.
fn watched(
    upload: mpsc::Sender<io::Result<Bytes>>,
    start: impl FnOnce(mpsc::Sender<io::Result<Bytes>>) -> io::Result<()>,
) -> io::Result<mpsc::Receiver<io::Error>> {
    let (pieces_in, mut pieces_out) = mpsc::channel(1);
    let (errors_in, errors_out) = mpsc::channel(1);
    start(pieces_in)?;
    tokio::spawn(async move {
        while let Some(piece) = pieces_out.recv().await {
            let piece = match piece {
                Ok(piece) => Ok(piece),
                Err(error) => {
                    let copy = io::Error::from(error.kind());
                    let _nobody_asks = errors_in.send(error).await;
                    Err(copy)
                }
            };
            if upload.send(piece).await.is_err() {
                return;
            }
        }
    });
    Ok(errors_out)
}

/// Prefers the reason on our side over "the daemon hung up".
pub(super) fn explain(
    answer: Result<StreamedBody, ClientError>,
    mut sent: mpsc::Receiver<io::Error>,
) -> Result<StreamedBody, Failure> {
    match answer {
        Ok(body) => Ok(body),
        Err(error) => match sent.try_recv() {
            Ok(reading) => Err(anyhow::Error::from(reading)
                .context("failed to read the archive")
                .into()),
            Err(_) => Err(error.into()),
        },
    }
}

/// The same for an answer without a body.
pub(super) fn prefer_our_reason(
    answer: Result<(), ClientError>,
    mut sent: mpsc::Receiver<io::Error>,
) -> Result<(), Failure> {
    match (answer, sent.try_recv()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Ok(reading)) => Err(anyhow::Error::from(reading)
            .context("failed to read the archive")
            .into()),
        (Err(error), Err(_)) => Err(error.into()),
    }
}

/// The next step the daemon tells of; a failure it tells of is one.
pub(super) async fn next_step(body: &mut StreamedBody) -> Result<Option<Progress>, Failure> {
    let Some(step) = body.next_json::<Progress>().await? else {
        return Ok(None);
    };
    let failed = step
        .error_detail
        .as_ref()
        .map(|detail| detail.message.clone());
    match failed
        .filter(|message| !message.is_empty())
        .or_else(|| step.error.clone())
    {
        Some(message) => Err(Failure::new(message)),
        None => Ok(Some(step)),
    }
}
