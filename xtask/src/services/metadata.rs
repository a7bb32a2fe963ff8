//! One question in Kafka's own protocol: which nodes are living. A port that is open says little, and
//! a client of Kafka is no dependency of this crate.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A node that takes longer is asked again by whoever waits for it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Asks the node on this port which nodes it knows as living.
pub(super) fn living(port: u16) -> io::Result<Vec<u32>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.write_all(METADATA)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream
        .take(u32::from_be_bytes(length).into())
        .read_to_end(&mut answer)?;
    nodes_of(&answer).ok_or_else(|| io::Error::other("this is not Kafka's answer"))
}

/// The request `Metadata`, version 1, without a client's name, about no topic.
const METADATA: &[u8] = &[
    0, 0, 0, 14, // bytes that follow
    0, 3, 0, 1, // request and version
    0, 0, 0, 0, // number of the request
    0xff, 0xff, // no name
    0, 0, 0, 0, // no topics
];

/// The ids in its answer, which holds the number of the request, the count of nodes, and for each
/// its id, host, port and rack.
fn nodes_of(answer: &[u8]) -> Option<Vec<u32>> {
    let mut rest = answer.get(4..)?;
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(u32::from_be_bytes(take(&mut rest)?));
        skip_text(&mut rest)?;
        take::<4>(&mut rest)?;
        skip_text(&mut rest)?;
    }
    Some(ids)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// A text has its length before it, -1 where it is null.
fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = i16::from_be_bytes(take(rest)?);
    *rest = rest.get(usize::try_from(length.max(0)).ok()?..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_nodes_are_read_from_the_answer() {
        let node = |id: u8| {
            [
                [0, 0, 0, id, 0, 1, b'h'].as_slice(),
                &[0, 0, 9, 9, 0xff, 0xff],
            ]
            .concat()
        };
        let answer = [
            [0, 0, 0, 0, 0, 0, 0, 2].as_slice(),
            &node(1),
            &node(3),
            &[0; 8],
        ]
        .concat();
        assert_eq!(nodes_of(&answer), Some(vec![1, 3]));
        assert_eq!(nodes_of(&answer[..20]), None);
    }
}
