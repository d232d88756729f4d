//! A frame, seen through bounded windows.

use core::hint;

use border_gw_common::verdict::DropReason;

use crate::mss::{self, Segment};
use crate::options;

/// Bytes of headers that the path looks at; what lies deeper is payload. The verifier needs the bound.
pub const MAX_OFFSET: usize = 1535;

/// A mask over offsets up to [`MAX_OFFSET`].
pub const IN_FRAME: usize = (MAX_OFFSET + 1).next_power_of_two() - 1;

/// An offset that has been put aside, for a window: what the verifier of kernels before 6.8 learns of a number by a comparison, it
/// does not learn of the number's copy on the stack, with which the compiler may go on.
#[inline(always)]
pub fn in_sight(at: usize) -> Option<usize> {
    if at > MAX_OFFSET { None } else { Some(hint::black_box(at) & IN_FRAME) }
}

/// Most bytes that are summed at once: the largest `ICMPv6` error.
pub const MAX_SUMMED: usize = 1280;

/// A frame that can be read, written, moved at its front and cut at its end.
pub trait Packet {
    /// Bytes of the frame.
    fn len(&self) -> usize;

    /// True for a frame of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` bytes that start at `at`; none when the frame is shorter or `at` is over [`MAX_OFFSET`]. Of a frame in several
    /// buffers it shows the first alone, which holds all headers.
    ///
    /// `N` is at least 2: the verifier learns nothing from a comparison that one byte makes.
    fn window<const N: usize>(&mut self, at: usize) -> Option<&mut [u8; N]>;

    /// Sum of the `len` bytes at `at` as of 16-bit words in network order, folded to 16 bits; a last byte alone is the upper half
    /// of a word (RFC 1071). None when the frame is shorter, or `len` is 0 or over [`MAX_SUMMED`].
    fn sum(&mut self, at: usize, len: usize) -> Option<u32>;

    /// Adds `by` bytes of unknown content in front, or takes `-by` away. False: nothing was changed.
    fn move_front(&mut self, by: i32) -> bool;

    /// Makes the frame `len` bytes long, at its end. False: nothing was changed.
    fn resize(&mut self, len: usize) -> bool;

    /// Does what [`options::check`] does. In the kernel a function of its own, as [`Packet::clamp`] is.
    ///
    /// # Errors
    ///
    /// [`DropReason::SourceRoute`], [`DropReason::IpOptions`].
    fn check_options(&mut self, at: usize, header_len: usize) -> Result<(), DropReason>
    where
        Self: Sized,
    {
        options::check(self, at, header_len)
    }

    /// Does what [`mss::clamp`] does. In the kernel a function of its own, which the verifier follows once.
    fn clamp(&mut self, segment: Segment)
    where
        Self: Sized,
    {
        mss::clamp(self, segment);
    }
}
