//! dm-linear devices over ranges of the layer disk, through the ioctls of `/dev/mapper/control`.
//!
//! A device is created, given a table of one line, and resumed (`linux/dm-ioctl.h`). Nothing
//! removes it: a layer stays mounted as long as the machine lives.

use std::ffi::c_char;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use dhow_protocol::LayerRange;
use nix::libc;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// The control node of the device mapper.
const CONTROL_PATH: &str = "/dev/mapper/control";

/// Major and minor number of the control node (`linux/miscdevice.h`: `MISC_MAJOR`,
/// `MAPPER_CTRL_MINOR`).
const CONTROL_DEVICE: (u32, u32) = (10, 236);

/// Bytes of a sector: the unit of a table.
const SECTOR_BYTES: u64 = 512;

/// The interface version that we speak; the kernel checks the first number only.
const INTERFACE_VERSION: [u32; 3] = [4, 0, 0];

/// `DM_READONLY_FLAG`.
const READ_ONLY_FLAG: u32 = 1;

/// `DM_DEV_CREATE`, `DM_TABLE_LOAD`, `DM_DEV_SUSPEND`, `DM_DEV_REMOVE`: `_IOWR(0xfd, n, struct
/// dm_ioctl)`.
const DEVICE_CREATE: libc::c_ulong = request_code(3);
const TABLE_LOAD: libc::c_ulong = request_code(9);
const DEVICE_SUSPEND: libc::c_ulong = request_code(6);
const DEVICE_REMOVE: libc::c_ulong = request_code(4);

/// `_IOWR(0xfd, number, struct dm_ioctl)` of `asm-generic/ioctl.h`.
const fn request_code(number: libc::c_ulong) -> libc::c_ulong {
    const READ_WRITE: libc::c_ulong = 3;
    const TYPE: libc::c_ulong = 0xfd;
    (READ_WRITE << 30) | ((size_of::<Header>() as libc::c_ulong) << 16) | (TYPE << 8) | number
}

/// Why a range has no device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceMapperError {
    /// The kernel has no device mapper, or it is not reachable.
    #[error("failed to open {CONTROL_PATH}: this kernel needs dm-linear (CONFIG_BLK_DEV_DM)")]
    Unavailable(#[source] Errno),
    /// A step failed.
    #[error("failed to {what} the device for the layer at {offset}")]
    Control {
        /// The step.
        what: &'static str,
        /// Where the layer lies.
        offset: u64,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// `struct dm_ioctl`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [c_char; 128],
    uuid: [c_char; 129],
    data: [c_char; 7],
}

/// `struct dm_target_spec`, and the target's parameters behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Target {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    kind: [c_char; 16],
    parameters: [c_char; 64],
}

/// A header with a table behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    header: Header,
    target: Target,
}

/// The device mapper's control descriptor.
#[derive(Debug)]
pub(super) struct DeviceMapper {
    control: OwnedFd,
}

impl DeviceMapper {
    /// Opens the control node, which is made where devtmpfs has not made it.
    pub(super) fn open() -> Result<Self, DeviceMapperError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let open = || rustix::fs::open(CONTROL_PATH, flags, Mode::empty());
        let control = match open() {
            Err(Errno::NOENT) => make_control_node().and_then(|()| open()),
            result => result,
        };
        control
            .map(|control| Self { control })
            .map_err(DeviceMapperError::Unavailable)
    }

    /// Maps a range of a disk to a read-only device, and returns the device's number.
    pub(super) fn map(&self, disk: u64, range: LayerRange) -> Result<u64, DeviceMapperError> {
        let name = device_name(range);
        let mut message = Message::new(&name);
        self.control(DEVICE_CREATE, &mut message)
            .map_err(|errno| failed("create", range, errno))?;
        let device = message.header.device;
        self.load(&name, disk, range)
            .inspect_err(|_error| self.unmap(range))?;
        Ok(device)
    }

    /// Takes back a device that could not be used. One that is in use stays.
    pub(super) fn unmap(&self, range: LayerRange) {
        let name = device_name(range);
        let _in_use = self.control(DEVICE_REMOVE, &mut Message::new(&name));
    }

    /// Loads the table of a new device and lets it work.
    fn load(&self, name: &str, disk: u64, range: LayerRange) -> Result<(), DeviceMapperError> {
        let mut message = Message::new(name);
        message.set_table(disk, range);
        self.control(TABLE_LOAD, &mut message)
            .map_err(|errno| failed("load the table of", range, errno))?;
        let mut message = Message::new(name);
        // Suspend without the suspend flag is resume.
        self.control(DEVICE_SUSPEND, &mut message)
            .map_err(|errno| failed("resume", range, errno))
    }

    fn control(&self, code: libc::c_ulong, message: &mut Message) -> Result<(), Errno> {
        let pointer = std::ptr::from_mut(message);
        // SAFETY: the kernel reads and writes at most `data_size` bytes, the size of the message.
        let result = unsafe { libc::ioctl(self.control.as_raw_fd(), code, pointer) };
        if result == -1 {
            Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
        } else {
            Ok(())
        }
    }
}

fn device_name(range: LayerRange) -> String {
    format!("layer-{}", range.offset)
}

fn failed(what: &'static str, range: LayerRange, errno: Errno) -> DeviceMapperError {
    DeviceMapperError::Control {
        what,
        offset: range.offset,
        errno,
    }
}

fn make_control_node() -> Result<(), Errno> {
    let folder = Path::new(CONTROL_PATH)
        .parent()
        .unwrap_or(Path::new("/dev"));
    match rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let (major, minor) = CONTROL_DEVICE;
    let device = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, CONTROL_PATH, FileType::CharacterDevice, mode, device)
}

impl Message {
    /// A message about the device of this name, without a table.
    fn new(name: &str) -> Self {
        let mut message = Self {
            header: Header {
                version: INTERFACE_VERSION,
                data_size: size_as_u32::<Self>(),
                data_start: size_as_u32::<Header>(),
                target_count: 0,
                open_count: 0,
                flags: 0,
                event_number: 0,
                padding: 0,
                device: 0,
                name: [0; 128],
                uuid: [0; 129],
                data: [0; 7],
            },
            target: Target {
                sector_start: 0,
                length: 0,
                status: 0,
                next: 0,
                kind: [0; 16],
                parameters: [0; 64],
            },
        };
        fill(&mut message.header.name, name);
        message
    }

    /// Adds the table: the whole device is one stretch of the disk.
    fn set_table(&mut self, disk: u64, range: LayerRange) {
        let (major, minor) = (rustix::fs::major(disk), rustix::fs::minor(disk));
        let first_sector = range.offset / SECTOR_BYTES;
        self.header.target_count = 1;
        self.header.flags = READ_ONLY_FLAG;
        self.target.length = range.length / SECTOR_BYTES;
        self.target.next = size_as_u32::<Target>();
        fill(&mut self.target.kind, "linear");
        fill(
            &mut self.target.parameters,
            &format!("{major}:{minor} {first_sector}"),
        );
    }
}

fn size_as_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("these structures have a few hundred bytes")
}

/// Copies a string into a field, leaving the terminating zero.
fn fill(field: &mut [c_char], text: &str) {
    for (target, source) in field.iter_mut().zip(text.bytes()) {
        *target = source.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Header>(), 312);
        assert_eq!(std::mem::offset_of!(Target, parameters), 40);
        assert_eq!(DEVICE_CREATE, 0xc138_fd03);
    }

    #[test]
    fn a_table_counts_in_sectors() {
        let mut message = Message::new("layer-8192");

        let range = LayerRange {
            offset: 8192,
            length: 4096,
        };
        message.set_table(rustix::fs::makedev(254, 0), range);

        assert_eq!(message.target.length, 8);
        let text: Vec<u8> = message
            .target
            .parameters
            .iter()
            .take_while(|byte| **byte != 0)
            .map(|byte| byte.cast_unsigned())
            .collect();
        assert_eq!(text, b"254:0 16");
    }
}
