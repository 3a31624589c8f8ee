//! The I/O ports: a serial port for kernel messages, and two ways to end the machine.
//!
//! Everything else reads as absent hardware does, but for two registers that Linux polls: the
//! keyboard controller's status, never busy, and the clock chip's, never in the middle of an
//! update. Both would cost the boot a second otherwise.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use crate::exit::Exit;

/// A write to this port powers the machine off. Without ACPI Linux itself knows no way to say so;
/// a guest whose kernel gives root the ports (`CONFIG_DEVPORT`) writes one byte to `/dev/port`
/// here. One without them resets, and tells the host by other means what it meant.
pub const POWER_OFF_PORT: u16 = 0x604;

/// COM1.
const SERIAL: RangeInclusive<u16> = 0x3f8..=0x3ff;
/// Data of the keyboard controller.
const KEYBOARD_DATA: u16 = 0x60;
/// Commands to and status of the keyboard controller.
const KEYBOARD: u16 = 0x64;
/// Command that pulses the processor's reset line.
const KEYBOARD_RESET: u8 = 0xfe;
/// Data of the clock chip.
const CLOCK_DATA: u16 = 0x71;
/// What reads where nothing answers.
const NOTHING: u8 = 0xff;

/// Most that a guest may write to the console: a hostile one would fill the host's disk.
const MAX_CONSOLE_BYTES: u64 = 64 << 20;
/// What is kept back until a line is whole.
const CONSOLE_LINE_BYTES: usize = 512;

/// What ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Request {
    /// Nothing: go on.
    None,
    /// Reset.
    Reset,
    /// Power off.
    End(Exit),
}

/// Raises the serial port's interrupt.
#[derive(Debug)]
struct SerialLine(EventFd);

impl Trigger for SerialLine {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Writes whole lines to a file: one write a byte would cost more than the guest's exit.
struct Console {
    file: Option<File>,
    line: Vec<u8>,
    left: u64,
}

impl Console {
    fn new(file: Option<File>) -> Self {
        Self {
            file,
            line: Vec::with_capacity(CONSOLE_LINE_BYTES),
            left: MAX_CONSOLE_BYTES,
        }
    }

    /// Writes what was kept back. A console that cannot be written is given up, not the machine.
    fn finish_line(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.line)
        {
            tracing::warn!(%error, "failed to write the guest's console: no more of it");
            self.file = None;
        }
        self.line.clear();
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if self.file.is_none() || self.left == 0 {
                break;
            }
            self.line.push(*byte);
            self.left -= 1;
            if *byte == b'\n' || self.line.len() >= CONSOLE_LINE_BYTES || self.left == 0 {
                self.finish_line();
            }
        }
        Ok(bytes.len())
    }

    /// Does nothing: the serial port flushes after every byte.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The I/O ports of one machine, for all of its vCPUs.
pub(crate) struct Ports {
    serial: Mutex<Serial<SerialLine, NoEvents, Console>>,
}

impl Ports {
    /// Ports whose serial output goes to `console`, and whose interrupt is raised by `line`.
    pub(crate) fn new(console: Option<File>, line: EventFd) -> Self {
        Self {
            serial: Mutex::new(Serial::new(SerialLine(line), Console::new(console))),
        }
    }

    /// Serves `in`; `data` holds one value, or several of a string instruction.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(NOTHING);
        match port {
            KEYBOARD | KEYBOARD_DATA | CLOCK_DATA => data.fill(0),
            _ if SERIAL.contains(&port) => {
                let offset = serial_offset(port);
                let mut serial = self.serial();
                for byte in data {
                    *byte = serial.read(offset);
                }
            }
            _ => {}
        }
    }

    /// Serves `out`; `data` holds one value, or several of a string instruction.
    pub(crate) fn write(&self, port: u16, data: &[u8]) -> Request {
        match port {
            POWER_OFF_PORT => return Request::End(Exit::PowerOff),
            KEYBOARD if data.contains(&KEYBOARD_RESET) => return Request::Reset,
            _ if SERIAL.contains(&port) => {
                let offset = serial_offset(port);
                let mut serial = self.serial();
                for byte in data {
                    // A full interrupt counter: the interrupt is pending already.
                    let _pending = serial.write(offset, *byte);
                }
            }
            _ => {}
        }
        Request::None
    }

    /// Writes out a last line without an end.
    pub(crate) fn finish(&self) {
        self.serial().writer_mut().finish_line();
    }

    fn serial(&self) -> MutexGuard<'_, Serial<SerialLine, NoEvents, Console>> {
        self.serial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ports").finish_non_exhaustive()
    }
}

fn serial_offset(port: u16) -> u8 {
    u8::try_from(port - SERIAL.start()).expect("COM1 has eight ports")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;

    fn ports() -> (Ports, File) {
        let file = tempfile::tempfile().unwrap();
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        (Ports::new(Some(file.try_clone().unwrap()), line), file)
    }

    fn written(mut file: File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn writes_what_the_guest_prints() {
        let (ports, file) = ports();

        let request = ports.write(0x3f8, b"Linux\nver");
        ports.finish();

        assert_eq!(request, Request::None);
        assert_eq!(written(file), "Linux\nver");
    }

    #[test]
    fn resets_through_the_keyboard_controller() {
        assert_eq!(ports().0.write(0x64, &[0xfe]), Request::Reset);
    }

    #[test]
    fn powers_off_through_its_own_port() {
        assert_eq!(
            ports().0.write(POWER_OFF_PORT, &[0]),
            Request::End(Exit::PowerOff)
        );
    }

    #[test]
    fn never_says_that_the_keyboard_controller_is_busy() {
        let mut status = [NOTHING];

        ports().0.read(0x64, &mut status);

        assert_eq!(status, [0]);
    }

    #[test]
    fn reads_absent_hardware_as_all_ones() {
        let mut data = [0; 4];

        ports().0.read(0xcf8, &mut data);

        assert_eq!(data, [0xff; 4]);
    }

    #[test]
    fn stops_writing_when_the_guest_has_printed_its_fill() {
        let (_, file) = ports();
        let mut console = Console::new(Some(file.try_clone().unwrap()));
        console.left = 3;

        console.write_all(b"abcdef\n").unwrap();

        assert_eq!(written(file), "abc");
    }
}
