//! Writes an initramfs: the "newc" flavour of cpio, which is what Linux unpacks.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// File types in a mode.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// Names and contents are padded to this.
const ALIGNMENT: usize = 4;
/// The name that ends the archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive being written. Folders must come before what is in them.
#[derive(Debug)]
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl Archive<BufWriter<File>> {
    /// Creates the archive as a file.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufWriter::new(File::create(path)?)))
    }
}

impl<W: Write> Archive<W> {
    /// Starts an archive on `out`.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY | 0o755, &[], (0, 0))
    }

    /// Adds a file that anyone may run.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn file(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR | 0o755, contents, (0, 0))
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, SYMBOLIC_LINK | 0o777, target.as_bytes(), (0, 0))
    }

    /// Adds a character device: the kernel opens `dev/console` before anyone can make it.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, CHARACTER_DEVICE | 0o600, &[], (major, minor))
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// What the operating system answered.
    pub fn finish(mut self) -> io::Result<()> {
        self.entry(TRAILER, 0, &[], (0, 0))?;
        self.out.flush()
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.inode += 1;
        let too_large = |_error| io::Error::from(io::ErrorKind::FileTooLarge);
        let size = u32::try_from(data.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        // Inode, mode, owner, group, links, time, size, device of the file, device, name, checksum.
        let fields = [
            self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        let zeroes = [0; ALIGNMENT];
        self.out
            .write_all(&zeroes[..written.next_multiple_of(ALIGNMENT) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_linux_unpacks() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);

        archive.file("init", b"#!").unwrap();
        archive.finish().unwrap();

        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[110..120], b"init\0\0#!\0\0");
        assert_eq!(bytes.len() % ALIGNMENT, 0);
    }
}
