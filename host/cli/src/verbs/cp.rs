//! `dhow cp`: files into a container and out of one, by Docker's rules for what the copy is called.
//!
//! | source | destination | the copy |
//! | --- | --- | --- |
//! | file | nothing there, or a file | has the destination's name |
//! | file or folder | folder | goes into it under its own name |
//! | folder | nothing there | has the destination's name |
//! | `folder/.` | folder | is what is in the source |
//! | folder | file | is refused |

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use dhow_api::client::{Client, StreamedBody, Upload};
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::load;
use crate::args::Source;
use crate::args::files::CopyArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::terminal::window;

/// Pieces of an archive on their way.
const QUEUED_PIECES: usize = 8;

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'text> {
    /// A path here.
    Here(&'text str),
    /// A path in a container.
    Container(&'text str, &'text str),
}

/// Docker's rule: a colon parts a container from a path, unless the text is plainly a path.
fn end(text: &str) -> End<'_> {
    let is_path = text.starts_with('/') || text.starts_with('.');
    match text.split_once(':') {
        Some((container, path)) if !is_path && !container.is_empty() => {
            End::Container(container, path)
        }
        _ => End::Here(text),
    }
}

/// `dhow cp`.
pub(crate) async fn cp(context: &Context, args: CopyArgs) -> Outcome {
    match (end(&args.source), end(&args.destination)) {
        (End::Container(container, path), End::Here(to)) => {
            let client = context.client().await?;
            from_container(&client, container, path, to, &args).await?;
        }
        (End::Here(from), End::Container(container, path)) => {
            let client = context.client().await?;
            to_container(&client, from, container, path, &args).await?;
        }
        (End::Container(..), End::Container(..)) => {
            return Err(Failure::new("copying between containers is not supported"));
        }
        (End::Here(_), End::Here(_)) => {
            return Err(Failure::new("must specify at least one container source")
                .hint("one of the two must be CONTAINER:PATH"));
        }
    }
    Ok(0)
}

async fn from_container(
    client: &Client,
    container: &str,
    path: &str,
    to: &str,
    args: &CopyArgs,
) -> Result<(), Failure> {
    if args.follow_link {
        return Err(
            Failure::new("--follow-link out of a container is not supported")
                .hint("name what the link leads to"),
        );
    }
    let path = absolute(path);
    if to == "-" {
        if window::stdout_is_terminal() {
            return Err(Failure::new("refusing to write an archive to a terminal"));
        }
        let mut archive = client.read_archive(container, &path).await?;
        while let Some(piece) = archive.next_chunk().await? {
            io::stdout().write_all(&piece)?;
        }
        return Ok(io::stdout().flush()?);
    }
    let destination = PathBuf::from(to);
    let parent = destination
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if !destination.is_dir() && !parent.unwrap_or(Path::new(".")).is_dir() {
        return Err(Failure::new(format!(
            "invalid output path: directory \"{}\" does not exist",
            parent.unwrap_or(Path::new(".")).display()
        )));
    }
    let archive = client.read_archive(container, &path).await?;
    let (reader, feeding) = pipe(archive);
    let whole = path.ends_with("/.");
    let must_be_folder = to.ends_with('/');
    let unpacked =
        spawn_blocking(move || unpack(reader, &destination, whole, must_be_folder)).await?;
    feeding.await??;
    unpacked?;
    tell(args, &args.source, to);
    Ok(())
}

fn tell(args: &CopyArgs, from: &str, to: &str) {
    if !args.quiet && window::stdout_is_terminal() {
        output::note(&format!("copied {from} to {to}"));
    }
}

/// From the container's root, whatever was typed.
fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// An answer's body as something that blocking code reads, and the task that feeds it.
fn pipe(mut body: StreamedBody) -> (Pieces, tokio::task::JoinHandle<Result<(), Failure>>) {
    let (sender, receiver) = mpsc::channel(QUEUED_PIECES);
    let feeding = tokio::spawn(async move {
        while let Some(piece) = body.next_chunk().await? {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    let pieces = Pieces {
        receiver,
        current: Bytes::new(),
    };
    (pieces, feeding)
}

/// Reads what arrives.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// Unpacks an archive that has everything under one name. `contents`: what is in it goes into the
/// destination.
fn unpack(
    input: impl Read,
    destination: &Path,
    contents: bool,
    must_be_folder: bool,
) -> anyhow::Result<()> {
    let mut archive = Archive::new(input);
    archive.set_preserve_permissions(true);
    let mut base: Option<PathBuf> = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let (first, rest) = parts(&path)?;
        let is_folder = entry.header().entry_type().is_dir();
        let base = match &base {
            Some(base) => base,
            None => base.insert(base_of(
                destination,
                &first,
                is_folder,
                contents,
                must_be_folder,
            )?),
        };
        // Joined with nothing, a path would get a slash behind it.
        let target = if rest.as_os_str().is_empty() {
            base.clone()
        } else {
            base.join(&rest)
        };
        check_parents(base, &rest)?;
        if entry.header().entry_type() == EntryType::Link {
            let (_, linked) = parts(&entry.link_name()?.context("a link without a target")?)?;
            check_parents(base, &linked)?;
            make_way(&target)?;
            std::fs::hard_link(base.join(linked), &target)?;
            continue;
        }
        match entry.header().entry_type() {
            EntryType::Block | EntryType::Char | EntryType::Fifo => {
                output::note(&format!("left out {}: it is no plain file", path.display()));
                continue;
            }
            EntryType::Directory => {}
            _ => make_way(&target)?,
        }
        entry
            .unpack(&target)
            .with_context(|| format!("failed to write {}", target.display()))?;
    }
    Ok(())
}

/// Where the archive's one name goes.
fn base_of(
    destination: &Path,
    name: &Path,
    is_folder: bool,
    contents: bool,
    must_be_folder: bool,
) -> anyhow::Result<PathBuf> {
    let facts = std::fs::metadata(destination);
    match facts {
        Ok(facts) if facts.is_dir() && contents => Ok(destination.to_owned()),
        Ok(facts) if facts.is_dir() => Ok(destination.join(name)),
        Ok(_) if is_folder => bail!(
            "cannot copy a directory to the file {}",
            destination.display()
        ),
        Ok(_) => Ok(destination.to_owned()),
        Err(_) if must_be_folder && !is_folder => {
            bail!(
                "the destination directory {} does not exist",
                destination.display()
            )
        }
        Err(_) => Ok(destination.to_owned()),
    }
}

/// The first name of a path and the rest of it; nothing may climb.
fn parts(path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir | Component::RootDir if names.is_empty() => {}
            _ => bail!("the archive has the path {}", path.display()),
        }
    }
    // The contents of a folder come under a dot, which the path has lost.
    let dotted = path.starts_with(".") || path.has_root();
    let (first, rest) = match names.split_first() {
        Some((first, rest)) if !dotted => (PathBuf::from(first), rest),
        _ => (PathBuf::from("."), names.as_slice()),
    };
    Ok((first, rest.iter().collect()))
}

/// No folder on the way may be a link that the archive has brought: it could lead anywhere.
fn check_parents(base: &Path, rest: &Path) -> anyhow::Result<()> {
    let mut way = base.to_owned();
    for part in rest.parent().unwrap_or(Path::new("")) {
        way.push(part);
        if std::fs::symlink_metadata(&way).is_ok_and(|facts| facts.is_symlink()) {
            bail!("the archive writes through the link {}", way.display());
        }
    }
    Ok(())
}

/// Takes away what is in a file's place, unless that is a folder.
fn make_way(target: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(target) {
        Ok(facts) if facts.is_dir() => {
            bail!(
                "cannot overwrite the directory {} with a file",
                target.display()
            )
        }
        Ok(_) => Ok(std::fs::remove_file(target)?),
        Err(_) => Ok(()),
    }
}

async fn to_container(
    client: &Client,
    from: &str,
    container: &str,
    path: &str,
    args: &CopyArgs,
) -> Result<(), Failure> {
    let path = absolute(path);
    if from == "-" {
        let (upload, errors) = load::open(&Source::Stdin)?;
        let sent = client
            .write_archive(container, &path, args.archive, upload)
            .await;
        return load::prefer_our_reason(sent, errors);
    }
    let source = PathBuf::from(from);
    let facts = if args.follow_link || from.ends_with('/') || from.ends_with("/.") {
        std::fs::metadata(&source)
    } else {
        std::fs::symlink_metadata(&source)
    };
    let facts = facts.with_context(|| format!("failed to look at {from}"))?;
    let there = client.is_folder(container, &path).await?;
    let (folder, name) = place(&source, from, facts.is_dir(), &path, there)?;
    let follow = args.follow_link;
    let (sender, upload) = Upload::channel();
    let packing = spawn_blocking(move || {
        let output = PieceWriter(sender.clone());
        let packed = pack(&source, &name, follow, output);
        if let Err(error) = &packed {
            // Breaks the request off: half an archive must not be taken for a whole one.
            let _nobody_listens = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        packed
    });
    let sent = client
        .write_archive(container, &folder, args.archive, upload)
        .await;
    let packed = packing.await?;
    match (sent, packed) {
        // The daemon's word says why nobody reads the archive any more.
        (Err(error), _) if error.status().is_some() => return Err(error.into()),
        (_, Err(error)) => return Err(error.into()),
        (Err(error), Ok(())) => return Err(error.into()),
        (Ok(()), Ok(())) => {}
    }
    tell(args, from, &args.destination);
    Ok(())
}

/// The folder to unpack in, and the name that the copy has in it.
fn place(
    source: &Path,
    typed: &str,
    is_folder: bool,
    path: &str,
    there: Option<bool>,
) -> Result<(String, PathBuf), Failure> {
    let contents = is_folder && (typed.ends_with("/.") || typed == ".");
    let (parent, last) = path
        .trim_end_matches('/')
        .rsplit_once('/')
        .unwrap_or(("", ""));
    let parent = format!("{parent}/");
    match there {
        Some(true) if contents => Ok((path.to_owned(), PathBuf::from("."))),
        Some(true) => {
            let whole = source.canonicalize();
            let own = source.file_name().map(PathBuf::from);
            let own = own.or_else(|| whole.ok()?.file_name().map(PathBuf::from));
            let own = own.context("the source has no name to copy it under")?;
            Ok((path.to_owned(), own))
        }
        Some(false) if is_folder => Err(Failure::new(format!(
            "cannot copy a directory to the file {path}"
        ))),
        None if path.ends_with('/') && !is_folder => Err(Failure::new(format!(
            "the destination directory {path} does not exist in the container"
        ))),
        Some(false) | None => Ok((parent, PathBuf::from(last))),
    }
}

/// Packs a file or a folder under a name.
fn pack(source: &Path, name: &Path, follow: bool, output: impl Write) -> anyhow::Result<()> {
    let mut builder = Builder::new(io::BufWriter::with_capacity(PIECE_BYTES, output));
    builder.follow_symlinks(follow);
    let facts = if follow {
        std::fs::metadata(source)
    } else {
        std::fs::symlink_metadata(source)
    };
    let facts = facts.with_context(|| format!("failed to look at {}", source.display()))?;
    let failed = || format!("failed to read {}", source.display());
    if facts.is_dir() {
        // Links inside stay links, as with Docker.
        builder.follow_symlinks(false);
        builder.append_dir_all(name, source).with_context(failed)?;
    } else if facts.is_symlink() {
        let target = std::fs::read_link(source).with_context(failed)?;
        let mut header = Header::new_gnu();
        header.set_metadata(&facts);
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target)?;
    } else {
        let mut file = File::open(source).with_context(failed)?;
        builder.append_file(name, &mut file).with_context(failed)?;
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

/// Sends what is written.
struct PieceWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.0.blocking_send(Ok(piece));
        sent.map_err(|_closed| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_parts_a_container_from_a_path() {
        assert_eq!(end("web:/etc"), End::Container("web", "/etc"));
        assert_eq!(end("./a:b"), End::Here("./a:b"));
        assert_eq!(end("/a:b"), End::Here("/a:b"));
        assert_eq!(end("-"), End::Here("-"));
    }

    #[test]
    fn the_first_name_is_taken_off() {
        let parts = |path: &str| parts(Path::new(path)).expect("a sound path");

        assert_eq!(parts("etc/nginx/x"), ("etc".into(), "nginx/x".into()));
        assert_eq!(parts("./nginx/x"), (".".into(), "nginx/x".into()));
        assert_eq!(parts("/bin"), (".".into(), "bin".into()));
    }

    #[test]
    fn nothing_climbs() {
        let _refused = parts(Path::new("etc/../../x")).expect_err("a refusal");
    }

    fn archive(add: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder);
        builder.into_inner().expect("in memory")
    }

    #[test]
    fn nothing_is_written_through_a_link_of_the_archive() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outside = tempfile::tempdir().expect("a temporary folder");
        let bytes = archive(|builder| {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            builder
                .append_link(&mut header, "a/link", outside.path())
                .expect("in memory");
            let mut header = Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, "a/link/file", &b"x"[..])
                .expect("in memory");
        });
        std::fs::create_dir(folder.path().join("a")).expect("ours");

        let refused = unpack(&bytes[..], folder.path(), false, false).expect_err("a refusal");

        assert!(
            refused.to_string().contains("through the link"),
            "{refused:#}"
        );
        assert!(!outside.path().join("file").exists());
    }

    #[test]
    fn a_file_gets_the_destinations_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes = archive(|builder| {
            let mut header = Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o640);
            builder
                .append_data(&mut header, "motd", &b"x"[..])
                .expect("in memory");
        });
        let destination = folder.path().join("copy");

        unpack(&bytes[..], &destination, false, false).expect("a copy");

        assert_eq!(std::fs::read(destination).expect("it is there"), b"x");
    }
}
