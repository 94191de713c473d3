//! Blocks at rest: as they were put as long as they are written again and again; without the zeros at their end and compressed when
//! they have not been for a while, for the pages of a database are seldom full, and most of a log's are never written again.
//!
//! Those that have cooled lie in slabs of pieces of one size, a size for every 128 bytes. An allocator has four sizes between 2 and
//! 4 KiB, and would round a block up by three times as much.
//!
//! **Invariant:** a block is read back as it was put. Guarded by the tests below.

use super::platter::BLOCK_BYTES;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use std::num::NonZeroU32;

/// Sizes of pieces are multiples of this.
const STEP: usize = 128;
const SIZES: usize = BLOCK_BYTES / STEP;
/// Slabs lose what is left of them behind the last whole piece: less than a piece of sixteen.
const SLAB_BYTES: usize = 16 * BLOCK_BYTES;

/// A block as it is written.
pub(super) type Block = Box<[u8; BLOCK_BYTES]>;

/// Where a block lies, in eight bytes; as much for a disk's slot that has none.
#[derive(Debug)]
pub(super) struct Resting {
    /// Its piece among those of its size, or its place among the whole ones, from 1.
    piece: NonZeroU32,
    /// How many bytes of the piece are its own, and the marks below.
    len: u16,
}

impl Resting {
    /// Where the length stands; all of it for a whole block, which lies as it was put.
    const LEN: u16 = (1 << 13) - 1;
    /// It has been put since somebody last looked whether it is cold.
    const WARM: u16 = 1 << 13;
    /// It is read as it lies.
    const PLAIN: u16 = 0;
    const COMPRESSED: u16 = 1 << 15;

    fn whole(place: NonZeroU32) -> Self {
        Resting { piece: place, len: Self::LEN | Self::WARM }
    }

    fn is_whole(&self) -> bool {
        self.len & Self::LEN == Self::LEN
    }

    fn len(&self) -> usize {
        usize::from(self.len & Self::LEN)
    }

    /// Which size of piece it has.
    fn size(&self) -> usize {
        size_of_len(self.len())
    }

    fn is(&self, mark: u16) -> bool {
        self.len & mark != 0
    }
}

/// The pieces of one size.
#[derive(Debug, Default)]
struct Pieces {
    slabs: Vec<Vec<u8>>,
    /// How many there are, free ones included.
    count: u32,
    free: Vec<NonZeroU32>,
}

/// All blocks at rest of one disk.
#[derive(Debug, Default)]
pub(super) struct Rest {
    sizes: [Pieces; SIZES],
    whole: Vec<Option<Block>>,
    /// Places among the whole ones where none lies.
    free: Vec<NonZeroU32>,
}

/// The place of a length's size among the sizes.
fn size_of_len(len: usize) -> usize {
    len.saturating_sub(1) / STEP
}

/// A block without the zeros at its end.
fn trimmed(block: &[u8; BLOCK_BYTES]) -> &[u8] {
    let (words, _) = block.as_chunks::<8>();
    let words = words.iter().rposition(|word| u64::from_ne_bytes(*word) != 0).map_or(0, |last| last + 1);
    &block[..block[..words * 8].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

/// Fills `out` with what follows `start`, and with zeros beyond the end.
fn copy(held: &[u8], start: usize, out: &mut [u8]) {
    let held = held.get(start..).unwrap_or_default();
    let held = &held[..held.len().min(out.len())];
    let (bytes, zeros) = out.split_at_mut(held.len());
    bytes.copy_from_slice(held);
    zeros.fill(0);
}

impl Pieces {
    fn place(size: usize, piece: NonZeroU32) -> (usize, usize) {
        let in_slab = SLAB_BYTES / size;
        let piece = piece.get() as usize - 1;
        (piece / in_slab, piece % in_slab * size)
    }

    /// A free piece, the bytes of which are not defined.
    fn take(&mut self, size: usize) -> NonZeroU32 {
        if let Some(piece) = self.free.pop() {
            return piece;
        }
        self.count += 1;
        let piece = NonZeroU32::new(self.count).expect("a disk has fewer than 2^32 blocks");
        let (slab, start) = Self::place(size, piece);
        if slab == self.slabs.len() {
            // The first one grows as it fills, so that small disks stay small.
            self.slabs.push(Vec::with_capacity(if slab == 0 { 0 } else { SLAB_BYTES }));
        }
        self.slabs[slab].resize(start + size, 0);
        piece
    }
}

impl Rest {
    pub fn put(&mut self, block: Block) -> Resting {
        let place = self.free.pop().unwrap_or_else(|| {
            self.whole.push(None);
            let count = u32::try_from(self.whole.len()).ok().and_then(NonZeroU32::new);
            count.expect("a disk has fewer than 2^32 blocks")
        });
        *self.at(place) = Some(block);
        Resting::whole(place)
    }

    /// Puts a block in the place of another, whose memory comes back if it lay as it was put.
    pub fn replace(&mut self, resting: &mut Resting, block: Block) -> Option<Block> {
        if resting.is_whole() {
            resting.len |= Resting::WARM;
            return self.at(resting.piece).replace(block);
        }
        let new = self.put(block);
        self.forget(std::mem::replace(resting, new))
    }

    /// Somebody looks at a block, as often as at each other one: what has not been put since they last did is cold, and gives up its
    /// memory for a piece that is smaller.
    pub fn look_at(&mut self, resting: &mut Resting) -> Option<Block> {
        if resting.is(Resting::WARM) {
            resting.len &= !Resting::WARM;
            return None;
        }
        if !resting.is_whole() {
            return None;
        }
        let block = self.take(resting.piece)?;
        let bytes = trimmed(&block);
        let mut room = [0; get_maximum_output_size(BLOCK_BYTES)];
        // What fails to be compressed stays as it is.
        let len = compress_into(bytes, &mut room).unwrap_or(BLOCK_BYTES);
        // It has to be worth the time that each reading takes from then on.
        *resting = match len * 4 > bytes.len() * 3 {
            true => self.keep(bytes, Resting::PLAIN),
            false => self.keep(&room[..len], Resting::COMPRESSED),
        };
        Some(block)
    }

    fn at(&mut self, place: NonZeroU32) -> &mut Option<Block> {
        &mut self.whole[place.get() as usize - 1]
    }

    fn take(&mut self, place: NonZeroU32) -> Option<Block> {
        self.free.push(place);
        self.at(place).take()
    }

    /// A block is gone; its memory comes back if it lay as it was put. When the last piece of its size is gone, so is their memory.
    pub fn forget(&mut self, resting: Resting) -> Option<Block> {
        if resting.is_whole() {
            return self.take(resting.piece);
        }
        let pieces = &mut self.sizes[resting.size()];
        pieces.free.push(resting.piece);
        if pieces.free.len() == pieces.count as usize {
            *pieces = Pieces::default();
        }
        None
    }

    /// Fills `out` with what stands in the block from `start` on.
    pub fn read(&self, resting: &Resting, start: usize, out: &mut [u8]) {
        if resting.is_whole() {
            let block = self.whole[resting.piece.get() as usize - 1].as_ref().expect("it lies where it was put");
            return out.copy_from_slice(&block[start..start + out.len()]);
        }
        let piece = self.piece(resting);
        if resting.is(Resting::COMPRESSED) {
            let mut room = [0; BLOCK_BYTES];
            let len = decompress_into(piece, &mut room).expect("it is as it was compressed");
            copy(&room[..len], start, out);
        } else {
            copy(piece, start, out);
        }
    }

    /// How many blocks lie as they were put.
    pub fn whole(&self) -> usize {
        self.whole.len() - self.free.len()
    }

    pub fn memory_bytes(&self) -> usize {
        let of = |pieces: &Pieces| {
            pieces.slabs.iter().map(Vec::capacity).sum::<usize>()
                + pieces.free.capacity() * size_of::<NonZeroU32>()
        };
        let tables = self.whole.capacity() * size_of::<Option<Block>>() + self.free.capacity() * size_of::<u32>();
        self.sizes.iter().map(of).sum::<usize>() + self.whole() * BLOCK_BYTES + tables
    }

    /// Bytes of a piece of the n-th size.
    fn bytes(size: usize) -> usize {
        (size + 1) * STEP
    }

    fn keep(&mut self, bytes: &[u8], mark: u16) -> Resting {
        let size = size_of_len(bytes.len());
        let piece = self.sizes[size].take(Self::bytes(size));
        let resting = Resting { piece, len: bytes.len() as u16 | mark };
        self.write(&resting, bytes);
        resting
    }

    fn piece(&self, resting: &Resting) -> &[u8] {
        let size = resting.size();
        let (slab, start) = Pieces::place(Self::bytes(size), resting.piece);
        &self.sizes[size].slabs[slab][start..start + resting.len()]
    }

    fn write(&mut self, resting: &Resting, bytes: &[u8]) {
        let size = resting.size();
        let (slab, start) = Pieces::place(Self::bytes(size), resting.piece);
        self.sizes[size].slabs[slab][start..start + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of one byte, or, with the highest `fill`, of bytes that nothing compresses.
    fn block(len: usize, fill: u8) -> Block {
        let mut block = Box::new([0; BLOCK_BYTES]);
        match fill {
            4 => (0..len).for_each(|n| block[n] = squall_protocol::ids::mix(n as u64) as u8),
            _ => block[..len].fill(fill),
        }
        block
    }

    fn whole(rest: &Rest, resting: &Resting) -> Block {
        let mut read = Box::new([9; BLOCK_BYTES]);
        rest.read(resting, 0, &mut read[..]);
        read
    }

    /// A block that has cooled.
    fn cold(rest: &mut Rest, block: Block) -> Resting {
        let mut resting = rest.put(block);
        assert!(rest.look_at(&mut resting).is_none(), "it was put only now");
        assert!(rest.look_at(&mut resting).is_some());
        resting
    }

    proptest! {
        #[test]
        fn blocks_are_read_back_as_they_were_put(
            steps in proptest::collection::vec((0usize..12, 0usize..=BLOCK_BYTES, 0u8..6), 1..200),
        ) {
            let mut rest = Rest::default();
            let mut slots: [Option<(Resting, Block)>; 12] = [const { None }; 12];
            for (slot, len, fill) in steps {
                // Whole blocks and short ones are as likely as all others.
                let len = if len % 3 == 0 { BLOCK_BYTES - len % 7 } else { len };
                match (&mut slots[slot], fill) {
                    (Some(_), 0) => drop(rest.forget(slots[slot].take().unwrap().0)),
                    (Some((resting, _)), 5) => drop(rest.look_at(resting)),
                    (Some((resting, held)), _) => {
                        *held = block(len, fill);
                        rest.replace(resting, held.clone());
                    }
                    (None, _) => slots[slot] = Some((rest.put(block(len, fill)), block(len, fill))),
                }
                for (resting, held) in slots.iter().flatten() {
                    prop_assert_eq!(&whole(&rest, resting), held);
                    let mut part = [9; 300];
                    rest.read(resting, len.min(BLOCK_BYTES - 300), &mut part);
                    prop_assert_eq!(&part[..], &held[len.min(BLOCK_BYTES - 300)..][..300]);
                }
            }
        }
    }

    #[test]
    fn a_cold_block_takes_its_bytes_rounded_up_to_a_step() {
        let mut rest = Rest::default();
        for n in 0..1_000 {
            cold(&mut rest, block(2_000 + n % 50, 4));
        }
        assert!(rest.memory_bytes() < 1_000 * 2_048 * 21 / 20, "{} bytes", rest.memory_bytes());
    }

    #[test]
    fn what_is_cold_is_compressed_unless_that_gains_nothing() {
        let taken = |fill| {
            let mut rest = Rest::default();
            let resting = cold(&mut rest, block(4_000, fill));
            assert_eq!(whole(&rest, &resting), block(4_000, fill));
            resting.len()
        };
        assert_eq!(taken(4), 4_000);
        assert!(taken(1) < 128);
    }

    #[test]
    fn pieces_that_are_free_are_used_again() {
        let mut rest = Rest::default();
        let resting: Vec<Resting> = (0..100).map(|_| cold(&mut rest, block(3_000, 4))).collect();
        let before = rest.memory_bytes();
        let mut resting = resting.into_iter();
        resting.by_ref().take(99).for_each(|resting| drop(rest.forget(resting)));
        let again: Vec<Resting> = (0..99).map(|_| cold(&mut rest, block(3_000, 4))).collect();
        assert!(rest.memory_bytes() <= before + 100 * 8, "{} bytes, and {before} before", rest.memory_bytes());
        again.into_iter().chain(resting).for_each(|resting| drop(rest.forget(resting)));
        assert!(rest.memory_bytes() < 2_048, "{} bytes", rest.memory_bytes());
    }

    #[test]
    fn a_block_that_is_put_again_and_again_is_never_copied() {
        let mut rest = Rest::default();
        let first = block(3_000, 1);
        let place = first.as_ptr();
        let mut resting = rest.put(first);
        let back = rest.replace(&mut resting, block(3_000, 2)).expect("it lay as it was put");
        assert_eq!(back.as_ptr(), place);
        assert!(rest.look_at(&mut resting).is_none());
        rest.replace(&mut resting, block(3_000, 3));
        assert!(rest.look_at(&mut resting).is_none(), "it has been put since somebody last looked");
    }
}
