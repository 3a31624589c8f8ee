//! Where a process reads and writes: three pipes, or a terminal of the container's devpts.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dhow_protocol::ConsoleSize;
use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::spawn::Step;

/// The agent's ends of a process's input and output.
#[derive(Debug)]
pub enum ProcessIo {
    /// Three pipes.
    Pipes {
        /// The writing end of standard input, where that is kept open.
        stdin: Option<OwnedFd>,
        /// The reading end of standard output.
        stdout: OwnedFd,
        /// The reading end of standard error.
        stderr: OwnedFd,
    },
    /// A terminal: reading ends with EIO when the last process has closed it.
    Terminal {
        /// The controlling side.
        master: OwnedFd,
    },
}

/// Why a process has no input and output.
#[derive(Debug, thiserror::Error)]
pub enum IoError {
    /// A terminal was asked for in a container without devpts.
    #[error("the container has no devpts for a terminal")]
    NoTerminals,
    /// A pipe or terminal cannot be made.
    #[error("failed to create {what}")]
    Create {
        /// What.
        what: &'static str,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// Both ends.
#[derive(Debug)]
pub(crate) struct Streams {
    /// The agent's.
    pub(crate) io: ProcessIo,
    /// The child's.
    pub(crate) step: Step,
    /// Another descriptor for the terminal, to change its size later.
    pub(crate) terminal: Option<OwnedFd>,
    /// The terminal's number, from its own directory.
    pub(crate) terminal_number: Option<u32>,
}

/// What a process's input and output are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamRequest<'a> {
    /// Who is to own them: a process may open `/dev/stdout` again.
    pub(crate) owner: u32,
    /// Whether standard input stays open.
    pub(crate) open_stdin: bool,
    /// The terminal's size.
    pub(crate) size: Option<ConsoleSize>,
    /// The machine's `/dev/null`.
    pub(crate) null: BorrowedFd<'a>,
}

impl Streams {
    /// Makes pipes.
    pub(crate) fn pipes(request: StreamRequest<'_>) -> Result<Self, IoError> {
        let pipe = |what| {
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
                .map_err(|errno| IoError::Create { what, errno })
        };
        let (stdin, stdin_writer) = if request.open_stdin {
            let (reader, writer) = pipe("a pipe for standard input")?;
            (reader, Some(writer))
        } else {
            let null = request.null.try_clone_to_owned().map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                IoError::Create {
                    what: "standard input",
                    errno,
                }
            })?;
            (null, None)
        };
        let (stdout, child_stdout) = pipe("a pipe for standard output")?;
        let (stderr, child_stderr) = pipe("a pipe for standard error")?;
        if request.owner != 0 {
            let owner = Some(Uid::from_raw(request.owner));
            let ours = stdin_writer.is_some().then_some(&stdin);
            for end in ours.into_iter().chain([&child_stdout, &child_stderr]) {
                rustix::fs::fchown(end, owner, None).map_err(|errno| IoError::Create {
                    what: "pipes that the process owns",
                    errno,
                })?;
            }
        }
        Ok(Self {
            io: ProcessIo::Pipes {
                stdin: stdin_writer,
                stdout,
                stderr,
            },
            step: Step::Stdio([above(stdin)?, above(child_stdout)?, above(child_stderr)?]),
            terminal: None,
            terminal_number: None,
        })
    }

    /// Opens a terminal of a devpts.
    pub(crate) fn terminal(
        devpts: Option<BorrowedFd<'_>>,
        request: StreamRequest<'_>,
    ) -> Result<Self, IoError> {
        let devpts = devpts.ok_or(IoError::NoTerminals)?;
        let error = |errno| IoError::Create {
            what: "a terminal",
            errno,
        };
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty()).map_err(error)?;
        rustix::pty::unlockpt(&master).map_err(error)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(error)?;
        rustix::fs::fchown(&slave, Some(Uid::from_raw(request.owner)), None).map_err(error)?;
        if let Some(size) = request.size {
            set_size(master.as_fd(), size).map_err(error)?;
        }
        let clone = |descriptor: &OwnedFd| {
            rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_FREE).map_err(error)
        };
        let terminal_number = terminal_number(master.as_fd()).map_err(error)?;
        Ok(Self {
            step: Step::Stdio([clone(&slave)?, clone(&slave)?, clone(&slave)?]),
            terminal: Some(clone(&master)?),
            io: ProcessIo::Terminal { master },
            terminal_number: Some(terminal_number),
        })
    }
}

/// Sets a terminal's size.
pub(crate) fn set_size(master: BorrowedFd<'_>, size: ConsoleSize) -> Result<(), Errno> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(master, size)
}

nix::ioctl_read_bad!(
    /// `TIOCGPTN`: a terminal's number.
    get_terminal_number,
    nix::libc::TIOCGPTN,
    nix::libc::c_uint
);

fn terminal_number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number = 0;
    // SAFETY: the call writes one unsigned int, which lives here.
    unsafe { get_terminal_number(master.as_raw_fd(), &raw mut number) }
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    Ok(number)
}

/// The first descriptor that the child's own three leave free.
const FIRST_FREE: i32 = 3;

/// The same descriptor, out of the way of 0, 1 and 2, which the child overwrites one by one.
fn above(descriptor: OwnedFd) -> Result<OwnedFd, IoError> {
    if descriptor.as_raw_fd() >= FIRST_FREE {
        return Ok(descriptor);
    }
    rustix::io::fcntl_dupfd_cloexec(&descriptor, FIRST_FREE).map_err(|errno| IoError::Create {
        what: "a descriptor above 2",
        errno,
    })
}
