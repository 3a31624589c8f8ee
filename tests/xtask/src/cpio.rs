//! A writer for the cpio format that the kernel unpacks as its initramfs ("newc": ASCII headers).
//!
//! Deterministic: owners are root, times are zero, inode numbers count up, and entries come out in
//! the order they went in, so equal contents are an equal file. See "initramfs buffer format" in the
//! kernel's documentation (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::{self, Write};

/// Marks a header.
const MAGIC: &str = "070701";

/// The length of a header: the magic and thirteen fields of eight hexadecimal digits.
const HEADER_BYTES: usize = 110;

/// Headers and contents start at multiples of this.
const ALIGNMENT: usize = 4;

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// File types, as in `st_mode`.
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written. Parents must be added before what is in them, without a leading `/`.
#[derive(Debug)]
pub struct Archive<W: Write> {
    output: W,
    next_inode: u32,
}

/// What differs from entry to entry.
#[derive(Default)]
struct Entry<'a> {
    name: &'a str,
    mode: u32,
    links: u32,
    device: (u32, u32),
    contents: &'a [u8],
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub fn new(output: W) -> Self {
        Self {
            output,
            next_inode: 1,
        }
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When writing fails.
    pub fn directory(&mut self, name: &str, permissions: u32) -> io::Result<()> {
        let mode = TYPE_DIRECTORY | permissions;
        self.entry(&Entry {
            name,
            mode,
            links: 2,
            ..Entry::default()
        })
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// When writing fails, or the contents exceed the format's 4 GiB.
    pub fn file(&mut self, name: &str, permissions: u32, contents: &[u8]) -> io::Result<()> {
        let mode = TYPE_REGULAR | permissions;
        self.entry(&Entry {
            name,
            mode,
            links: 1,
            contents,
            ..Entry::default()
        })
    }

    /// Adds a character device with its major and minor number.
    ///
    /// # Errors
    /// When writing fails.
    pub fn character_device(
        &mut self,
        name: &str,
        permissions: u32,
        device: (u32, u32),
    ) -> io::Result<()> {
        let mode = TYPE_CHARACTER_DEVICE | permissions;
        self.entry(&Entry {
            name,
            mode,
            links: 1,
            device,
            ..Entry::default()
        })
    }

    /// Ends the archive and gives the output back.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.next_inode = 0;
        self.entry(&Entry {
            name: TRAILER,
            links: 1,
            ..Entry::default()
        })?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let inode = self.next_inode;
        self.next_inode += 1;
        // The terminating NUL counts as part of the name.
        let name_bytes = entry.name.len() + 1;
        let fields = [
            inode,
            entry.mode,
            0, // user
            0, // group
            entry.links,
            0, // modification time
            field(entry.contents.len())?,
            0, // major and minor number of the disk the file came from
            0,
            entry.device.0,
            entry.device.1,
            field(name_bytes)?,
            0, // checksum, unused in this variant
        ];
        self.output.write_all(MAGIC.as_bytes())?;
        for field in fields {
            write!(self.output, "{field:08x}")?;
        }
        self.output.write_all(entry.name.as_bytes())?;
        self.output.write_all(&[0])?;
        self.pad(HEADER_BYTES + name_bytes)?;
        self.output.write_all(entry.contents)?;
        self.pad(entry.contents.len())
    }

    /// Fills up what `length` leaves of an aligned block.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        let zeros = [0; ALIGNMENT];
        self.output
            .write_all(&zeros[..length.next_multiple_of(ALIGNMENT) - length])
    }
}

/// A length as a header's 32-bit field.
fn field(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev", 0o755).expect("a directory");
        archive
            .character_device("dev/console", 0o600, (5, 1))
            .expect("a device");
        archive.file("init", 0o755, b"hello").expect("a file");
        archive.finish().expect("an archive")
    }

    #[test]
    fn equal_contents_are_an_equal_file() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn every_header_is_aligned_and_starts_with_the_magic() {
        let archive = sample();

        let second = HEADER_BYTES + "dev\0".len() + 2;

        assert!(archive.starts_with(MAGIC.as_bytes()));
        assert_eq!(second % ALIGNMENT, 0);
        assert!(archive[second..].starts_with(MAGIC.as_bytes()));
        assert_eq!(archive.len() % ALIGNMENT, 0);
    }

    #[test]
    fn the_cpio_program_reads_what_was_written() {
        let mut cpio = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio is installed by `cargo xtask setup`");

        let mut stdin = cpio.stdin.take().expect("standard input");
        stdin.write_all(&sample()).expect("cpio reads");
        drop(stdin);
        let listing = cpio.wait_with_output().expect("cpio ends");
        let listing = String::from_utf8(listing.stdout).expect("text");
        let lines: Vec<&str> = listing.lines().collect();

        assert_eq!(lines.len(), 3, "{listing}");
        assert!(
            lines[0].starts_with("drwxr-xr-x   2 0        0"),
            "{listing}"
        );
        assert!(
            lines[1].starts_with("crw-------   1 0        0          5,   1"),
            "{listing}"
        );
        assert!(
            lines[2].starts_with("-rwxr-xr-x   1 0        0               5"),
            "{listing}"
        );
    }
}
