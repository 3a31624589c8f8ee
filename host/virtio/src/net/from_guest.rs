//! Frames from the guest: taken off the transmit queue, checked for length, handed to the link.

use std::io;

use super::header::{Headers, MAX_HEADER_BYTES};
use super::{MIN_FRAME_BYTES, Net, NetFault, TRANSMIT_QUEUE};
use crate::device::{DeviceError, Progress, Queues};
use crate::ring::drain;
use crate::span::GuestSpan;

/// Frames taken in one call: at 64 KiB each, some milliseconds of copying.
const MAX_FRAMES_PER_CALL: usize = 64;

impl Net {
    /// Takes frames until the queue is empty or the call has done its share.
    pub(super) fn drain_transmit_queue(
        &mut self,
        queues: &mut Queues<'_>,
    ) -> Result<Progress, DeviceError> {
        let Self {
            chain,
            faults,
            headers,
            outgoing,
            link,
            ..
        } = self;
        drain(
            queues,
            TRANSMIT_QUEUE,
            MAX_FRAMES_PER_CALL,
            |memory, descriptors| {
                if let Err(malformed) = chain.load(descriptors) {
                    faults.note(&malformed);
                    return 0;
                }
                let (mut source, _) = chain.spans(memory);
                match assemble(&mut source, *headers, outgoing) {
                    Ok(frame) => link.receive(frame),
                    Err(fault) => faults.note(&fault),
                }
                0
            },
        )
    }
}

/// Puts the frame behind a header together in `buffer`.
fn assemble<'b>(
    source: &mut GuestSpan<'_>,
    headers: Headers,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    source.read_bytes(&mut [0; MAX_HEADER_BYTES][..headers.length()])?;
    let length = source.length();
    let frame = match buffer.get_mut(..length) {
        Some(frame) if length >= MIN_FRAME_BYTES => frame,
        _ => {
            let fault = NetFault::FrameLength(length);
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
    };
    source.read_bytes(frame)?;
    Ok(frame)
}
