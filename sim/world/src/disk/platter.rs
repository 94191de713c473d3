//! The bytes of one disk: a durable image and, over it, the blocks that were written and not yet synced.
//!
//! Both are sparse: a block that was never written, or that is all zeros once durable, takes no memory. What is durable is kept
//! without the zeros at its end, and compressed when it is cold (`rest`).
//!
//! **Invariants:** a reader sees the overlay over the image, as through a page cache; only `commit_*` changes the image,
//! and every change of the image enters the digest. A change of length is unsynced like any write, and blocks beyond
//! the durable length cannot become durable before that length does. Guarded by this folder's tests.

use super::faults::Draws;
use super::rest::{Block, Rest, Resting};
use std::collections::BTreeSet;

pub(super) const BLOCK_BYTES: usize = 4096;
const BLOCK: u64 = BLOCK_BYTES as u64;
/// Blocks of the overlay that are kept for the next writes, so that a steady stream of commits does not allocate.
const POOL_BLOCKS: usize = 256;

/// One block is looked at, whether it is cold, for so many that are written.
const WRITES_A_LOOK: usize = 2;
/// As long as a disk has no more blocks than this that lie as they were put, nobody looks: a small disk is not worth the time.
const FEW_BLOCKS: usize = 2_048;

#[derive(Debug, Default)]
struct Slot {
    durable: Option<Resting>,
    dirty: Option<Block>,
}

/// There is one for each block of a disk.
const _: () = assert!(size_of::<Slot>() == 16);

/// What a power loss did to the unsynced blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub lost: u64,
    pub survived: u64,
    pub torn: bool,
}

#[derive(Debug)]
pub(super) struct Platter {
    /// Indexed by block number, as long as the highest block that was ever written.
    slots: Vec<Slot>,
    /// The blocks with an unsynced content, in the order of their first write.
    dirty: Vec<usize>,
    /// Blocks that a failed sync has left clean: they are read as they were written, and no later sync writes them.
    stale: BTreeSet<usize>,
    durable_len: u64,
    visible_len: u64,
    /// Durable blocks from here on are hidden by a truncation that is not yet synced.
    hidden_from: usize,
    allocated_blocks: u64,
    /// What is durable, and the block that is to be looked at next.
    rest: Rest,
    hand: usize,
    pool: Vec<Block>,
    digest: u64,
}

impl Platter {
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            dirty: Vec::new(),
            stale: BTreeSet::new(),
            durable_len: 0,
            visible_len: 0,
            hidden_from: usize::MAX,
            allocated_blocks: 0,
            rest: Rest::default(),
            hand: 0,
            pool: Vec::new(),
            digest: 0,
        }
    }

    /// Takes out what a power loss with no survivors would leave; this platter is empty afterwards.
    pub fn take_durable(&mut self) -> Self {
        let mut taken = std::mem::replace(self, Self::new());
        for index in std::mem::take(&mut taken.dirty).into_iter().chain(std::mem::take(&mut taken.stale)) {
            taken.slots[index].dirty = None;
        }
        taken.pool = Vec::new();
        taken.allocated_blocks = taken.slots.iter().filter(|s| s.durable.is_some()).count() as u64;
        taken.visible_len = taken.durable_len;
        taken.hidden_from = usize::MAX;
        taken
    }

    pub fn len(&self) -> u64 {
        self.visible_len
    }

    pub fn unsynced_blocks(&self) -> u64 {
        (self.dirty.len() + self.stale.len()) as u64
    }

    pub fn has_unsynced(&self) -> bool {
        !self.dirty.is_empty() || self.length_pending()
    }

    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_blocks * BLOCK
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn memory_bytes(&self) -> u64 {
        let tables = self.slots.capacity() * size_of::<Slot>() + self.dirty.capacity() * size_of::<usize>();
        (self.unsynced_blocks() + self.pool.len() as u64) * BLOCK + (self.rest.memory_bytes() + tables) as u64
    }

    /// Fills `out` from `offset`, or answers false if that reaches beyond the end.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.visible_len) {
            return false;
        }
        let mut offset = offset;
        let mut out = out;
        while !out.is_empty() {
            let (index, start) = place(offset);
            let take = (BLOCK_BYTES - start).min(out.len());
            let (now, rest) = out.split_at_mut(take);
            self.read_visible(index, start, now);
            offset += take as u64;
            out = rest;
        }
        true
    }

    /// Whether a write to the block at `offset` would allocate it.
    pub fn is_unallocated(&self, offset: u64) -> bool {
        self.slots.get(place(offset).0).is_none_or(|slot| slot.durable.is_none() && slot.dirty.is_none())
    }

    /// Writes bytes that lie within one block, into the overlay.
    pub fn write_in_block(&mut self, offset: u64, data: &[u8]) {
        let (index, start) = place(offset);
        if data.len() == BLOCK_BYTES {
            self.put_dirty(index, data);
        } else {
            self.dirty_mut(index)[start..start + data.len()].copy_from_slice(data);
        }
        self.visible_len = self.visible_len.max(offset + data.len() as u64);
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.visible_len {
            let (index, start) = place(len);
            let kept = usize::try_from(len.div_ceil(BLOCK)).expect("a length that fits memory");
            if start > 0 && self.is_visible(index) {
                self.dirty_mut(index)[start..].fill(0);
            }
            let mut dirty = std::mem::take(&mut self.dirty);
            dirty.retain(|&index| index < kept || self.forget_dirty(index));
            self.dirty = dirty;
            for index in self.stale.split_off(&kept) {
                self.forget_dirty(index);
            }
            if len < self.durable_len {
                self.hidden_from = self.hidden_from.min(kept);
            }
        }
        self.visible_len = len;
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        self.commit_length();
        let mut dirty = std::mem::take(&mut self.dirty);
        let committed = dirty.len();
        for index in dirty.drain(..) {
            self.commit_block(index);
        }
        self.dirty = dirty;
        if self.rest.whole() > FEW_BLOCKS {
            self.look_for_cold(committed.div_ceil(WRITES_A_LOOK));
        }
    }

    /// Looks at the next blocks in turn. In what follows it changes nothing but the memory and the time that they take.
    fn look_for_cold(&mut self, blocks: usize) {
        for _ in 0..blocks.min(self.slots.len()) {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let cooled = self.slots[self.hand].durable.as_mut().and_then(|resting| self.rest.look_at(resting));
            cooled.into_iter().for_each(|block| self.recycle(block));
        }
    }

    /// A sync that fails: a drawn subset becomes durable, and all other blocks are clean from now on, as Linux has it. They are
    /// durable only once they are written again and synced.
    pub fn fail_sync(&mut self, share: f64, draws: &mut Draws) {
        self.sync_some(share, draws);
        self.stale.extend(self.dirty.drain(..));
    }

    /// Drops clean blocks from the page cache: what is read afterwards is what is durable.
    pub fn forget_clean(&mut self) {
        for index in std::mem::take(&mut self.stale) {
            self.forget_dirty(index);
        }
    }

    /// A block that a failed sync has left clean is written again.
    fn dirty_again(&mut self, index: usize) {
        if !self.stale.is_empty() && self.stale.remove(&index) {
            self.dirty.push(index);
        }
    }

    /// Makes a drawn subset durable, each block and the length with probability `share`; the rest stays unsynced.
    /// Returns the number of blocks that became durable.
    pub fn sync_some(&mut self, share: f64, draws: &mut Draws) -> u64 {
        if self.length_pending() && draws.chance(share) {
            self.commit_length();
        }
        let reachable = self.reachable();
        let before = self.dirty.len();
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&index| {
            let survives = draws.chance(share) && index < reachable;
            if survives {
                self.commit_block(index);
            }
            !survives
        });
        self.dirty = dirty;
        (before - self.dirty.len()) as u64
    }

    /// Power is gone: each unsynced block survives with probability `share`, one of the others is torn if `tear_sectors`
    /// names a sector size, and the rest never was.
    pub fn lose_power(&mut self, share: f64, tear_sectors: Option<usize>, draws: &mut Draws) -> Lost {
        let survived = if share > 0.0 { self.sync_some(share, draws) } else { 0 };
        let lost = self.unsynced_blocks();
        let torn = tear_sectors.is_some_and(|sector| self.tear_one(sector, draws));
        for index in std::mem::take(&mut self.dirty) {
            self.forget_dirty(index);
        }
        self.forget_clean();
        self.hidden_from = usize::MAX;
        self.visible_len = self.durable_len;
        let (index, start) = place(self.durable_len);
        if start > 0
            && let Some(resting) = self.slots.get_mut(index).and_then(|slot| slot.durable.as_mut())
        {
            let mut block = [0; BLOCK_BYTES];
            self.rest.read(resting, 0, &mut block[..start]);
            self.rest.replace(resting, Box::new(block));
        }
        Lost { lost, survived, torn }
    }

    fn tear_one(&mut self, sector: usize, draws: &mut Draws) -> bool {
        let sectors = (BLOCK_BYTES / sector) as u64;
        let reachable = self.reachable();
        let candidates: Vec<usize> = self.dirty.iter().copied().filter(|&index| index < reachable).collect();
        if sectors < 2 || candidates.is_empty() {
            return false;
        }
        let index = candidates[draws.below(candidates.len() as u64) as usize];
        let new_bytes = (1 + draws.below(sectors - 1)) as usize * sector;
        let slot = &mut self.slots[index];
        let torn = slot.dirty.as_mut().expect("a listed block is dirty");
        match &slot.durable {
            Some(old) => self.rest.read(old, new_bytes, &mut torn[new_bytes..]),
            None => torn[new_bytes..].fill(0),
        }
        self.dirty.retain(|&dirty| dirty != index);
        self.commit_block(index);
        true
    }

    /// Blocks from here on are not part of the durable file: they wait for the length.
    fn reachable(&self) -> usize {
        let end = usize::try_from(self.durable_len.div_ceil(BLOCK)).expect("a length that fits memory");
        self.hidden_from.min(end)
    }

    fn length_pending(&self) -> bool {
        self.durable_len != self.visible_len || self.hidden_from != usize::MAX
    }

    fn commit_length(&mut self) {
        if !self.length_pending() {
            return;
        }
        for slot in self.slots.iter_mut().skip(self.hidden_from) {
            if let Some(resting) = slot.durable.take() {
                self.rest.forget(resting);
                self.allocated_blocks -= u64::from(slot.dirty.is_none());
            }
        }
        self.hidden_from = usize::MAX;
        self.durable_len = self.visible_len;
        self.digest = mix(self.digest ^ 0x006C_656E, self.durable_len);
    }

    fn commit_block(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let block = slot.dirty.take().expect("a listed block is dirty");
        let (hash, zero) = fingerprint(&block);
        self.digest = mix(self.digest ^ index as u64, hash);
        let left = match (&mut slot.durable, zero) {
            (Some(resting), false) => self.rest.replace(resting, block),
            (None, false) => {
                slot.durable = Some(self.rest.put(block));
                None
            }
            (_, true) => {
                self.allocated_blocks -= 1;
                if let Some(resting) = slot.durable.take() {
                    self.rest.forget(resting);
                }
                Some(block)
            }
        };
        left.into_iter().for_each(|block| self.recycle(block));
    }

    /// Drops a block's unsynced content; answers false, for use in `retain`.
    fn forget_dirty(&mut self, index: usize) -> bool {
        let slot = &mut self.slots[index];
        if let Some(block) = slot.dirty.take() {
            self.allocated_blocks -= u64::from(slot.durable.is_none());
            self.recycle(block);
        }
        false
    }

    fn is_visible(&self, index: usize) -> bool {
        let is_visible = |slot: &Slot| slot.dirty.is_some() || slot.durable.is_some() && index < self.hidden_from;
        self.slots.get(index).is_some_and(is_visible)
    }

    /// Fills `out` with what a reader finds in a block from `start` on.
    fn read_visible(&self, index: usize, start: usize, out: &mut [u8]) {
        match self.slots.get(index) {
            Some(Slot { dirty: Some(block), .. }) => out.copy_from_slice(&block[start..start + out.len()]),
            Some(Slot { durable: Some(resting), .. }) if index < self.hidden_from => {
                self.rest.read(resting, start, out);
            }
            _ => out.fill(0),
        }
    }

    fn slot_for_write(&mut self, index: usize) -> &mut Slot {
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        &mut self.slots[index]
    }

    /// Replaces a whole block, without reading what it was.
    fn put_dirty(&mut self, index: usize, data: &[u8]) {
        self.dirty_again(index);
        if let Some(block) = &mut self.slot_for_write(index).dirty {
            block.copy_from_slice(data);
            return;
        }
        let block = self.pool.pop();
        let block = match block {
            Some(mut block) => {
                block.copy_from_slice(data);
                block
            }
            None => Box::<[u8]>::from(data).try_into().expect("a whole block"),
        };
        self.add_dirty(index, block);
    }

    fn dirty_mut(&mut self, index: usize) -> &mut [u8; BLOCK_BYTES] {
        self.dirty_again(index);
        if self.slot_for_write(index).dirty.is_none() {
            let mut block = Box::new([0; BLOCK_BYTES]);
            self.read_visible(index, 0, &mut block[..]);
            self.add_dirty(index, block);
        }
        self.slots[index].dirty.as_mut().expect("it was just put there")
    }

    fn add_dirty(&mut self, index: usize, block: Block) {
        let slot = &mut self.slots[index];
        self.allocated_blocks += u64::from(slot.durable.is_none());
        slot.dirty = Some(block);
        self.dirty.push(index);
    }

    fn recycle(&mut self, block: Block) {
        if self.pool.len() < POOL_BLOCKS {
            self.pool.push(block);
        }
    }
}

/// The block that holds a byte, and where in it.
fn place(offset: u64) -> (usize, usize) {
    (usize::try_from(offset / BLOCK).expect("an offset that fits memory"), (offset % BLOCK) as usize)
}

fn mix(digest: u64, value: u64) -> u64 {
    let product = u128::from(digest ^ 0x9E37_79B9_7F4A_7C15) * u128::from(value ^ 0xE703_7ED1_A0B4_28DB);
    (product as u64 ^ (product >> 64) as u64).rotate_left(23).wrapping_add(digest)
}

/// A hash of one block, eight bytes at a time in four lanes that do not wait for one another, and whether it is all zeros.
fn fingerprint(block: &[u8; BLOCK_BYTES]) -> (u64, bool) {
    const K: u64 = 0xD6E8_FEB8_6659_FD93;
    let mut lanes = [1u64, 2, 3, 4];
    let mut any = 0u64;
    for chunk in block.chunks_exact(32) {
        for (lane, bytes) in lanes.iter_mut().zip(chunk.chunks_exact(8)) {
            let word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            any |= word;
            *lane = (lane.rotate_left(29) ^ word).wrapping_mul(K);
        }
    }
    (lanes.iter().fold(0, |hash, lane| mix(hash, *lane)), any == 0)
}
