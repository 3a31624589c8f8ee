//! Speaks rtnetlink: several requests in one message, sent and confirmed with two system calls.
//!
//! A system call costs 10 µs under User Mode Linux and a container's network takes about eight
//! requests, so they go out together: the kernel handles each in turn and confirms the last, plus
//! whichever failed (netlink(7), `NLM_F_ACK`). The layout is that of `linux/netlink.h` and
//! `linux/rtnetlink.h`; numbers are in the byte order of the machine, addresses in the network's.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Length of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// Everything in a message is padded to a multiple of this (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// Length of the header of an attribute.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// Room for one answer: an error with the request that it quotes.
const ANSWER_BYTES: usize = 8192;

/// `NETLINK_ROUTE`: protocol 0.
const ROUTE: Option<rustix::net::Protocol> = None;

/// Offset of the error number in an answer.
const ERROR_OFFSET: usize = HEADER_BYTES;

/// Why a request did not work.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel cannot be asked.
    #[error("failed to speak to the kernel's network")]
    Socket(#[source] Errno),
    /// The kernel refused.
    #[error("failed to {what}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        errno: Errno,
    },
    /// The kernel gave no answer that can be read.
    #[error("the kernel's network gave an answer of {0} bytes that is none")]
    Malformed(usize),
}

/// A socket to the network of the namespace in which it was made.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket in the calling thread's network namespace.
    pub(crate) fn new() -> Result<Self, NetlinkError> {
        rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            ROUTE,
        )
        .map(Self)
        .map_err(NetlinkError::Socket)
    }

    /// Has the requests done, each of them even where one before it failed.
    ///
    /// # Errors
    /// The first that failed.
    pub(crate) fn perform(&self, batch: Batch) -> Result<(), NetlinkError> {
        let Batch { mut bytes, asked } = batch;
        let Some(last) = asked.len().checked_sub(1) else {
            return Ok(());
        };
        confirm_last(&mut bytes);
        rustix::net::send(&self.0, &bytes, SendFlags::empty()).map_err(NetlinkError::Socket)?;
        let mut outcome = Ok(());
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())
                .map_err(NetlinkError::Socket)?;
            let answer = &buffer[..length];
            let (sequence, code) = parse_answer(answer).ok_or(NetlinkError::Malformed(length))?;
            let index = usize::try_from(sequence).unwrap_or(usize::MAX);
            if code != 0 && outcome.is_ok() {
                let what = asked.get(index).copied().unwrap_or("set the network up");
                let errno = Errno::from_raw_os_error(-code);
                outcome = Err(NetlinkError::Refused { what, errno });
            }
            if index == last {
                return outcome;
            }
        }
    }
}

/// The sequence number and the error of an answer; the kernel answers nothing but errors, of which
/// 0 is a confirmation.
fn parse_answer(answer: &[u8]) -> Option<(u32, i32)> {
    let number =
        |offset: usize| -> Option<[u8; 4]> { answer.get(offset..offset + 4)?.try_into().ok() };
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    if i32::from(kind) != libc::NLMSG_ERROR {
        return None;
    }
    let sequence = u32::from_ne_bytes(number(8)?);
    Some((sequence, i32::from_ne_bytes(number(ERROR_OFFSET)?)))
}

/// Asks for a confirmation of the last message.
fn confirm_last(bytes: &mut [u8]) {
    let mut start = 0;
    while let Some(length) = message_length(&bytes[start..]) {
        let next = start + length;
        if next >= bytes.len() {
            break;
        }
        start = next;
    }
    let [low, high] = flag(libc::NLM_F_ACK).to_ne_bytes();
    bytes[start + FLAGS_OFFSET] |= low;
    bytes[start + FLAGS_OFFSET + 1] |= high;
}

/// Offset of the flags in a message's header.
const FLAGS_OFFSET: usize = 6;

fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    usize::try_from(length)
        .ok()
        .filter(|length| *length >= HEADER_BYTES)
}

/// A flag of a message, which `libc` has as a wider number.
fn flag(value: libc::c_int) -> u16 {
    u16::try_from(value).expect("netlink has 16 bits of flags")
}

/// Requests to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// What each request tries, to follow "failed to"; its index is the sequence number.
    asked: Vec<&'static str>,
}

/// Whether a request makes something that may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must not be there.
    Create,
    /// It is there.
    Change,
}

/// What is put into a message: numbers, and attributes that may hold attributes.
#[derive(Debug)]
pub(crate) struct Body<'a>(&'a mut Vec<u8>);

impl Batch {
    /// Adds a request of a kind (`RTM_…`); `write` puts the fixed part and the attributes in.
    pub(crate) fn request(
        &mut self,
        what: &'static str,
        kind: u16,
        mode: Mode,
        write: impl FnOnce(&mut Body<'_>),
    ) {
        let sequence = u32::try_from(self.asked.len()).expect("a batch is a few requests");
        let flags = match mode {
            Mode::Create => libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            Mode::Change => libc::NLM_F_REQUEST,
        };
        let start = self.bytes.len();
        let kernel = 0_u32;
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flag(flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend(kernel.to_ne_bytes());
        write(&mut Body(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).expect("a request is a few bytes");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.asked.push(what);
    }
}

impl Body<'_> {
    /// `struct ifinfomsg`: an interface by its index (0: by its name, or a new one), brought up or
    /// left as it is.
    pub(crate) fn interface(&mut self, index: u32, up: bool) {
        let flags = if up { libc::IFF_UP.cast_unsigned() } else { 0 };
        let (unspecified, device_type) = ([0_u8; 2], 0_u16);
        self.0.extend(unspecified);
        self.0.extend(device_type.to_ne_bytes());
        self.0.extend(index.to_ne_bytes());
        self.0.extend(flags.to_ne_bytes());
        let changed = flags;
        self.0.extend(changed.to_ne_bytes());
    }

    /// Bytes as they are: other fixed parts.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// An attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |inside| inside.bytes(value));
    }

    /// An attribute that is a number.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// An attribute that is a name, which ends with a zero byte.
    pub(crate) fn name(&mut self, kind: u16, name: &str) {
        self.nested(kind, |inside| {
            inside.bytes(name.as_bytes());
            inside.bytes(&[0]);
        });
    }

    /// An attribute that is an address.
    pub(crate) fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// An attribute that is a descriptor.
    pub(crate) fn descriptor(&mut self, kind: u16, descriptor: BorrowedFd<'_>) {
        self.attribute(kind, &descriptor.as_raw_fd().to_ne_bytes());
    }

    /// An attribute that holds attributes.
    pub(crate) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Body<'_>)) {
        let start = self.0.len();
        self.0.extend([0; ATTRIBUTE_HEADER_BYTES]);
        write(&mut Body(self.0));
        let length = u16::try_from(self.0.len() - start).expect("an attribute is a few bytes");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        let padded = self.0.len().next_multiple_of(ALIGNMENT);
        self.0.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_requests() -> Batch {
        let mut batch = Batch::default();
        batch.request("make a bridge", libc::RTM_NEWLINK, Mode::Create, |body| {
            body.interface(7, true);
            body.name(libc::IFLA_IFNAME, "br2");
        });
        batch.request("set a size", libc::RTM_NEWLINK, Mode::Change, |body| {
            body.interface(7, false);
            body.number(libc::IFLA_MTU, 1400);
        });
        batch
    }

    #[test]
    fn a_request_says_its_length_and_pads_its_attributes() {
        let batch = two_requests();

        let length = message_length(&batch.bytes).unwrap();

        let (header, fixed, name) = (16, 16, 8);
        assert_eq!(length, header + fixed + name);
        assert_eq!(&batch.bytes[32..40], [8, 0, 3, 0, b'b', b'r', b'2', 0]);
    }

    #[test]
    fn only_the_last_request_is_confirmed() {
        let mut batch = two_requests();

        confirm_last(&mut batch.bytes);

        let flags =
            |start: usize| u16::from_ne_bytes([batch.bytes[start + 6], batch.bytes[start + 7]]);
        let asked = |flags: u16| i32::from(flags) & libc::NLM_F_ACK != 0;
        assert!(!asked(flags(0)));
        assert!(asked(flags(40)));
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        assert_eq!(parse_answer(&[0; 15]), None);
        assert_eq!(parse_answer(&[]), None);
    }

    #[test]
    fn an_answer_names_the_request_and_the_error() {
        let mut answer = vec![0; 36];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        answer[8..12].copy_from_slice(&5_u32.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());

        assert_eq!(parse_answer(&answer), Some((5, -17)));
    }
}
