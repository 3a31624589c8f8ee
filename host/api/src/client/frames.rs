//! Takes apart the stream in which stdout and stderr travel together.
//!
//! Without a terminal the daemon puts eight bytes before each piece of output: the channel, three
//! zeros and the length, big-endian. The decoder never collects a whole frame: whatever has arrived
//! of it is handed on, so a length of four gigabytes costs no memory.

use thiserror::Error;

/// Bytes in front of each piece of output.
const HEADER_BYTES: usize = 8;

/// Where a piece of output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output. Channel 0, "stdin", is written by some daemons for it.
    Output,
    /// Standard error.
    Error,
    /// A message of the daemon about the stream itself.
    System,
}

/// The stream is not made of frames.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte of a header names no channel.
    #[error("channel {0} does not exist")]
    UnknownChannel(u8),
}

/// Splits a byte stream into pieces of output.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    payload_left: u32,
}

impl FrameDecoder {
    /// Takes from the front of `input`; `None` when all of it is used up and more is needed.
    ///
    /// # Errors
    /// When a header names a channel that does not exist; the stream is useless from there on.
    pub fn next<'input>(
        &mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<(Channel, &'input [u8])>, FrameError> {
        loop {
            if self.header_filled < HEADER_BYTES {
                let wanted = HEADER_BYTES - self.header_filled;
                let (taken, rest) = input.split_at(wanted.min(input.len()));
                let end = self.header_filled + taken.len();
                self.header[self.header_filled..end].copy_from_slice(taken);
                self.header_filled = end;
                *input = rest;
                if end < HEADER_BYTES {
                    return Ok(None);
                }
                let [_, _, _, _, length @ ..] = self.header;
                self.payload_left = u32::from_be_bytes(length);
            }
            let channel = channel(self.header[0])?;
            if self.payload_left == 0 {
                self.header_filled = 0;
                continue;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let available = u32::try_from(input.len())
                .unwrap_or(u32::MAX)
                .min(self.payload_left);
            let (piece, rest) = input.split_at(available as usize);
            *input = rest;
            self.payload_left -= available;
            if self.payload_left == 0 {
                self.header_filled = 0;
            }
            return Ok(Some((channel, piece)));
        }
    }
}

fn channel(byte: u8) -> Result<Channel, FrameError> {
    match byte {
        0 | 1 => Ok(Channel::Output),
        2 => Ok(Channel::Error),
        3 => Ok(Channel::System),
        other => Err(FrameError::UnknownChannel(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, FrameDecoder, FrameError};

    #[test]
    fn tells_output_from_error() {
        let mut input: &[u8] = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!";
        let mut decoder = FrameDecoder::default();
        assert_eq!(
            decoder.next(&mut input),
            Ok(Some((Channel::Output, &b"hi"[..])))
        );
        assert_eq!(
            decoder.next(&mut input),
            Ok(Some((Channel::Error, &b"!"[..])))
        );
        assert_eq!(decoder.next(&mut input), Ok(None));
    }

    #[test]
    fn a_frame_may_arrive_byte_by_byte() {
        let mut decoder = FrameDecoder::default();
        let mut output = Vec::new();
        for byte in b"\x01\0\0\0\0\0\0\x03abc" {
            let mut input = std::slice::from_ref(byte);
            output.extend(
                decoder
                    .next(&mut input)
                    .expect("a valid stream")
                    .map(|(_, piece)| piece[0]),
            );
        }
        assert_eq!(output, b"abc");
    }

    #[test]
    fn an_empty_frame_is_skipped() {
        let mut input: &[u8] = b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01x";
        let mut decoder = FrameDecoder::default();
        assert_eq!(
            decoder.next(&mut input),
            Ok(Some((Channel::Output, &b"x"[..])))
        );
    }

    #[test]
    fn refuses_a_channel_that_does_not_exist() {
        let mut input: &[u8] = b"Hello, world";
        let mut decoder = FrameDecoder::default();
        assert_eq!(
            decoder.next(&mut input),
            Err(FrameError::UnknownChannel(b'H'))
        );
    }
}
