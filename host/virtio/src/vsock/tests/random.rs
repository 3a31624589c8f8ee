//! Random packets in random states: the device stays whole, bounded and answers the next client.

use std::io::Write;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::super::packet::Header;
use super::super::table::MAX_CONNECTIONS;
use super::guest::{CID, Guest};
use super::machine::{Machine, SERVED_PORT, read_some, write_some};

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Step {
    /// The guest sends a packet on one of a few port pairs.
    Packet {
        ports: (u8, u8),
        operation: u16,
        flags: u32,
        credit: (u32, u32),
        length: (u16, u16),
    },
    /// A client dials.
    Dial { port: u8 },
    /// A client writes.
    Write { client: u8, length: u16 },
    /// A client reads.
    Read { client: u8 },
    /// A client closes.
    Close { client: u8 },
    /// The guest handles its interrupt.
    Interrupt,
}

fn step() -> impl Strategy<Value = Step> {
    let packet = (
        (0..4_u8, 0..4_u8),
        0..9_u16,
        0..5_u32,
        (any::<u32>(), any::<u32>()),
        (0..6000_u16, 0..6000_u16),
    );
    prop_oneof![
        6 => packet.prop_map(|(ports, operation, flags, credit, length)| Step::Packet {
            ports, operation, flags, credit, length
        }),
        2 => (0..4_u8).prop_map(|port| Step::Dial { port }),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(client, length)| Step::Write { client, length }),
        1 => any::<u8>().prop_map(|client| Step::Read { client }),
        1 => any::<u8>().prop_map(|client| Step::Close { client }),
        2 => Just(Step::Interrupt),
    ]
}

/// Ports that mean something now and then: a served one, and those of clients that dialled.
fn host_port(index: u8) -> u32 {
    match index {
        0 => SERVED_PORT,
        1 => 701,
        more => 0x4000_0000 + u32::from(more) - 2,
    }
}

fn send(guest: &mut Guest, step: &Step) {
    let Step::Packet {
        ports,
        operation,
        flags,
        credit,
        length,
    } = step
    else {
        return;
    };
    let header = Header {
        source_cid: CID,
        destination_cid: 2,
        source_port: u32::from(ports.0),
        destination_port: host_port(ports.1),
        length: u32::from(length.0),
        socket_type: 1,
        operation: *operation,
        flags: *flags,
        buffer_bytes: credit.0,
        forwarded: credit.1,
    };
    // Every other packet is as long as it says.
    let payload = length.0.max(length.1 % 2 * length.1);
    guest.raw(header, &vec![3; usize::from(payload)]);
}

fn act(machine: &mut Machine, clients: &mut Vec<UnixStream>, step: &Step) {
    let pick = |client: u8, count: usize| usize::from(client).checked_rem(count);
    match step {
        Step::Packet { .. } => send(&mut machine.guest, step),
        Step::Dial { port } => clients.push(machine.dial(u32::from(*port))),
        Step::Write { client, length } => {
            if let Some(index) = pick(*client, clients.len()) {
                let _ = clients[index].write(&vec![5; usize::from(*length)]);
            }
        }
        Step::Read { client } => {
            if let Some(index) = pick(*client, clients.len()) {
                let _ = std::io::Read::read(&mut clients[index], &mut [0; 4096]);
            }
        }
        Step::Close { client } => {
            if let Some(index) = pick(*client, clients.len()) {
                drop(clients.swap_remove(index));
            }
        }
        Step::Interrupt => machine.guest.interrupt(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_packets_and_clients_breaks_the_device(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut machine = Machine::new();
        machine.guest.lenient = true;
        let mut clients = Vec::new();

        for step in &steps {
            act(&mut machine, &mut clients, step);
            for _ in 0..3 {
                machine.turn();
            }
        }
        machine.run();

        prop_assert!(machine.device.connections() <= MAX_CONNECTIONS);
        machine.reboot();
        let (mut client, id) = machine.dialled(4242);
        write_some(&mut client, b"alive");
        machine.run();
        prop_assert_eq!(machine.guest.receive(id, 10), b"alive");
        machine.guest.send(id, b"well");
        machine.run();
        prop_assert_eq!(read_some(&mut client, 10).unwrap(), b"well");
    }
}
