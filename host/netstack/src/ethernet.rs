//! Ethernet with an 802.1Q tag: taken off what comes, put on what goes.

/// Two addresses, the 802.1Q tag and the type.
pub(crate) const HEADER_BYTES: usize = 18;

/// The tag protocol identifier of 802.1Q.
const TAG_PROTOCOL: u16 = 0x8100;

/// The bits of the tag that are the VLAN id; priority and drop eligibility are ignored.
const VLAN_MASK: u16 = 0x0fff;

/// What a frame carries.
pub(crate) mod ether_type {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const IPV6: u16 = 0x86dd;
}

/// The group bit of the first byte of an address.
const GROUP_BIT: u8 = 1;

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// The gateway's on one VLAN: locally administered, and different on each so that a bridge
    /// that sees two of them is not confused.
    pub(crate) fn of_gateway(vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        Self([0x02, 0xd4, 0x0e, 0x00, high, low])
    }

    pub(crate) fn is_group(self) -> bool {
        self.0[0] & GROUP_BIT != 0
    }
}

/// Where a packet's frame comes from or goes to: a guest's port on one VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Station {
    pub(crate) vlan: u16,
    pub(crate) mac: Mac,
}

/// A frame of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sender: Station,
    pub(crate) ether_type: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a tagged frame that is meant for the gateway or for everyone.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (destination, rest) = header.split_first_chunk::<6>()?;
        let (source, rest) = rest.split_first_chunk::<6>()?;
        let (destination, source) = (Mac(*destination), Mac(*source));
        let &[
            tag_high,
            tag_low,
            control_high,
            control_low,
            type_high,
            type_low,
        ] = rest
        else {
            return None;
        };
        let vlan = u16::from_be_bytes([control_high, control_low]) & VLAN_MASK;
        let for_us = destination.is_group() || destination == Mac::of_gateway(vlan);
        let tagged = u16::from_be_bytes([tag_high, tag_low]) == TAG_PROTOCOL;
        (tagged && for_us && !source.is_group()).then_some(Self {
            sender: Station { vlan, mac: source },
            ether_type: u16::from_be_bytes([type_high, type_low]),
            payload,
        })
    }
}

/// Writes the header of a frame from the gateway to `receiver`.
pub(crate) fn write_header(receiver: Station, ether_type: u16, header: &mut [u8; HEADER_BYTES]) {
    header[..6].copy_from_slice(&receiver.mac.0);
    header[6..12].copy_from_slice(&Mac::of_gateway(receiver.vlan).0);
    header[12..14].copy_from_slice(&TAG_PROTOCOL.to_be_bytes());
    header[14..16].copy_from_slice(&receiver.vlan.to_be_bytes());
    header[16..].copy_from_slice(&ether_type.to_be_bytes());
}

/// A whole frame from the gateway to `receiver`.
pub(crate) fn frame(receiver: Station, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_BYTES];
    write_header(receiver, ether_type, &mut header);
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(payload);
    frame
}

/// The type of the frame that carries this IP packet, as its first nibble says.
pub(crate) fn type_of_packet(packet: &[u8]) -> u16 {
    match packet.first().map(|byte| byte >> 4) {
        Some(6) => ether_type::IPV6,
        _ => ether_type::IPV4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Station = Station {
        vlan: 7,
        mac: Mac([2, 0x42, 0xac, 17, 0, 2]),
    };

    #[test]
    fn an_untagged_frame_is_no_frame_of_ours() {
        let mut bytes = frame(GUEST, ether_type::IPV4, b"payload");
        bytes[..6].copy_from_slice(&[0xff; 6]);
        bytes[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());

        assert_eq!(Frame::parse(&bytes), None);
    }

    #[test]
    fn a_frame_for_another_station_is_not_taken() {
        let bytes = frame(GUEST, ether_type::IPV4, b"payload");

        assert_eq!(Frame::parse(&bytes), None);
    }

    #[test]
    fn the_tag_is_taken_off_and_put_on() {
        let mut bytes = frame(GUEST, ether_type::ARP, b"payload");
        bytes.copy_within(6..12, 0);
        bytes[6..12].copy_from_slice(&GUEST.mac.0);

        let parsed = Frame::parse(&bytes).unwrap();

        assert_eq!(parsed.sender, GUEST);
        assert_eq!(parsed.ether_type, ether_type::ARP);
        assert_eq!(parsed.payload, b"payload");
    }
}
