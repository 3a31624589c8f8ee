//! Messages in pieces, with and without descriptors.

use super::*;
use std::io::Write;

use rustix::net::SendAncillaryMessage;

fn header(request: u32, flags: u32, size: u32) -> Vec<u8> {
    [request, flags, size].map(u32::to_ne_bytes).concat()
}

#[test]
fn a_message_may_arrive_byte_by_byte() {
    let (mut front_end, socket) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(socket).unwrap();
    let mut bytes = header(8, VERSION, 4);
    bytes.extend([1, 2, 3, 4]);
    let (last, first) = bytes.split_last().unwrap();

    for byte in first {
        front_end.write_all(&[*byte]).unwrap();
        assert!(channel.receive().unwrap().is_none());
    }
    front_end.write_all(&[*last]).unwrap();
    let message = channel.receive().unwrap().unwrap();

    assert_eq!((message.request, message.payload), (8, vec![1, 2, 3, 4]));
    assert!(channel.receive().unwrap().is_none());
}

#[test]
fn messages_sent_together_are_told_apart_with_their_descriptors() {
    let (front_end, socket) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(socket).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (request, files) in [(1, 0), (5, 2), (3, 0)] {
        let descriptors = vec![file.as_fd(); files];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if files > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let bytes = header(request, VERSION, 0);
        let flags = SendFlags::empty();
        sendmsg(&front_end, &[IoSlice::new(&bytes)], &mut control, flags).unwrap();
    }

    let received: Vec<_> = std::iter::from_fn(|| channel.receive().unwrap())
        .map(|message| (message.request, message.files.len()))
        .collect();

    assert_eq!(received, [(1, 0), (5, 2), (3, 0)]);
}

#[test]
fn a_header_no_front_end_sends_is_refused() {
    let refused = |bytes: &[u8]| {
        let (mut front_end, socket) = UnixStream::pair().unwrap();
        front_end.write_all(bytes).unwrap();
        Channel::new(socket).unwrap().receive().unwrap_err()
    };

    assert!(matches!(
        refused(&header(1, 2, 0)),
        WireError::Header { .. }
    ));
    assert!(matches!(
        refused(&header(1, VERSION | 4, 0)),
        WireError::Header { .. }
    ));
    assert!(matches!(
        refused(&header(1, VERSION, 4097)),
        WireError::Header { .. }
    ));
}

#[test]
fn a_hang_up_is_noticed_between_messages_and_within_one() {
    for sent in [0, 5] {
        let (mut front_end, socket) = UnixStream::pair().unwrap();
        front_end.write_all(&header(1, VERSION, 0)[..sent]).unwrap();
        drop(front_end);

        let error = Channel::new(socket).unwrap().receive().unwrap_err();

        assert!(matches!(error, WireError::HungUp));
    }
}
