//! An owned frame under the rules of an XDP buffer: bounded windows, headroom, tailroom.

use border_gw_ebpf::packet::{MAX_OFFSET, MAX_SUMMED, Packet};

use super::wire::checksum;

/// Bytes in front of a frame (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;
/// Bytes behind it; drivers leave at least those of `skb_shared_info`.
const TAILROOM: usize = 128;
/// The kernel leaves at least an Ethernet header (`ETH_HLEN`, `bpf_xdp_adjust_head`).
const SHORTEST: usize = 14;
/// What stands in bytes that nobody wrote.
const GARBAGE: u8 = 0xa5;

/// A frame in a buffer.
#[derive(Clone)]
pub(crate) struct Frame {
    buffer: Vec<u8>,
    front: usize,
    limit: usize,
}

impl Frame {
    /// A frame with the room that the kernel gives.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::with_room(bytes, HEADROOM, TAILROOM)
    }

    /// A frame with so much room in front and behind.
    pub(crate) fn with_room(bytes: &[u8], headroom: usize, tailroom: usize) -> Self {
        let limit = headroom + bytes.len() + tailroom;
        let mut buffer = Vec::with_capacity(limit);
        buffer.resize(headroom, GARBAGE);
        buffer.extend_from_slice(bytes);
        Self { buffer, front: headroom, limit }
    }

    /// The room in front and behind.
    pub(crate) fn room(&self) -> (usize, usize) {
        (self.front, self.limit - self.buffer.len())
    }

    /// The frame as it stands.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.front..]
    }
}

impl Packet for Frame {
    fn len(&self) -> usize {
        self.buffer.len() - self.front
    }

    fn window<const N: usize>(&mut self, at: usize) -> Option<&mut [u8; N]> {
        assert!(N >= 2, "the verifier learns nothing from a window of one byte");
        if at > MAX_OFFSET {
            return None;
        }
        self.buffer[self.front..].get_mut(at..at + N)?.first_chunk_mut()
    }

    fn sum(&mut self, at: usize, len: usize) -> Option<u32> {
        let bytes =
            self.buffer[self.front..].get(at..at + len).filter(|_| (1..=MAX_SUMMED).contains(&len))?;
        Some(u32::from(!checksum(bytes)))
    }

    fn move_front(&mut self, by: i32) -> bool {
        let front = self.front as i32 - by;
        if front < 0 || self.buffer.len() as i32 - front < SHORTEST as i32 {
            return false;
        }
        let front = front as usize;
        if front < self.front {
            self.buffer[front..self.front].fill(GARBAGE);
        }
        self.front = front;
        true
    }

    fn resize(&mut self, len: usize) -> bool {
        if len < SHORTEST || self.front + len > self.limit {
            return false;
        }
        self.buffer.resize(self.front + len, GARBAGE);
        true
    }
}

#[test]
fn a_window_lies_within_the_frame_and_the_bound() {
    let mut frame = Frame::new(&[0; 2000]);
    assert!(frame.window::<2>(MAX_OFFSET).is_some());
    assert!(frame.window::<2>(MAX_OFFSET + 1).is_none());
    let mut frame = Frame::new(&[0; 20]);
    assert!(frame.window::<6>(14).is_some());
    assert!(frame.window::<6>(15).is_none());
}

#[test]
fn a_frame_moves_within_its_room_and_changes_nothing_beyond() {
    let mut frame = Frame::with_room(&[1; 60], 10, 4);
    assert!(!frame.move_front(11) && !frame.move_front(-47) && !frame.resize(65) && !frame.resize(13));
    assert_eq!((frame.bytes(), frame.room()), (&[1; 60][..], (10, 4)));
    assert!(frame.move_front(10) && frame.move_front(-56) && frame.resize(18));
    assert_eq!(frame.bytes()[..14], [1; 14]);
}
