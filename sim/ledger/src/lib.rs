//! An allocator that knows for whom it allocates: mimalloc with one heap for each account.
//!
//! Code that works for a component enters its account; what it allocates until the guard is dropped lies in that account's
//! heap, wherever it is freed later. Nothing is counted on the way: the balance is read from mimalloc's pages when asked
//! for, so that an allocation costs what it costs without accounts, and no object carries a header.
//!
//! **Invariants:** a thread that entered no account allocates from mimalloc's main heap; leaving an account restores the one
//! before. Nothing here enters a simulated run: whoever is charged, an allocation gives the same to its caller.
//!
//! This crate is one of the places in the project with `unsafe`: it implements [`GlobalAlloc`] on mimalloc's C interface. Each
//! block says why it is sound.

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// How many accounts there can be.
pub const ACCOUNTS: usize = 16;

unsafe extern "C" {
    /// The calling thread's part of a heap, made when there is none.
    fn mi_heap_theap(heap: *mut mi::mi_heap_t) -> *mut mi::mi_theap_t;
    fn mi_theap_malloc(theap: *mut mi::mi_theap_t, size: usize) -> *mut c_void;
    fn mi_theap_zalloc(theap: *mut mi::mi_theap_t, size: usize) -> *mut c_void;
    fn mi_theap_malloc_aligned(theap: *mut mi::mi_theap_t, size: usize, align: usize) -> *mut c_void;
    fn mi_theap_realloc(theap: *mut mi::mi_theap_t, block: *mut c_void, size: usize) -> *mut c_void;
}

/// The accounts' heaps, made on first use and kept for the life of the process.
static HEAPS: [AtomicPtr<mi::mi_heap_t>; ACCOUNTS] = [const { AtomicPtr::new(ptr::null_mut()) }; ACCOUNTS];

thread_local! {
    /// What this thread allocates from; null is the main heap. Constant and without a destructor, so that the allocator
    /// can read it at any time of a thread's life.
    static CURRENT: Cell<*mut mi::mi_theap_t> = const { Cell::new(ptr::null_mut()) };
    /// This thread's part of each account's heap, once it has entered it.
    static PARTS: [Cell<*mut mi::mi_theap_t>; ACCOUNTS] = const { [const { Cell::new(ptr::null_mut()) }; ACCOUNTS] };
}

/// The allocator: `#[global_allocator] static ALLOCATOR: Ledger = Ledger;`. Without it entering an account has no effect
/// and every balance is empty.
pub struct Ledger;

/// Whether mimalloc's blocks of this size are aligned enough by themselves: to 16 bytes from 16 bytes up, to 8 below.
fn is_aligned_anyway(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= 16 && layout.size() >= 16)
}

// SAFETY: every block comes from mimalloc with at least the size and alignment of its layout, and goes back to it once.
// A block may be freed on any thread and under any account: mimalloc finds the page it lies in.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let theap = CURRENT.get();
        // SAFETY: a part that is not null is this thread's own, from `mi_heap_theap`, and its heap lives for ever.
        unsafe {
            match (theap.is_null(), is_aligned_anyway(layout)) {
                (false, true) => mi_theap_malloc(theap, layout.size()).cast(),
                (false, false) => mi_theap_malloc_aligned(theap, layout.size(), layout.align()).cast(),
                (true, true) => mi::mi_malloc(layout.size()).cast(),
                (true, false) => mi::mi_malloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let theap = CURRENT.get();
        if !theap.is_null() && is_aligned_anyway(layout) {
            // SAFETY: as in `alloc`.
            return unsafe { mi_theap_zalloc(theap, layout.size()).cast() };
        }
        if theap.is_null() {
            // SAFETY: plain calls of mimalloc.
            return unsafe { mi::mi_zalloc_aligned(layout.size(), layout.align()).cast() };
        }
        // SAFETY: `alloc` gives `layout.size()` writable bytes, or null, which is passed on.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                ptr::write_bytes(block, 0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller gives a block of this allocator back.
        unsafe { mi::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let theap = CURRENT.get();
        // SAFETY: the caller gives a block of this allocator, and a size that is not 0 and fits its alignment.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            match (theap.is_null(), is_aligned_anyway(new)) {
                (false, true) => mi_theap_realloc(theap, block.cast(), size).cast(),
                (true, _) => mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast(),
                (false, false) => {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

/// Keeps an account entered; accounts nest, and dropping the guard returns to the one before.
#[must_use = "the account is left when the guard is dropped"]
pub struct Guard {
    previous: *mut mi::mi_theap_t,
    /// The account is entered on this thread.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(self.previous);
    }
}

/// Charges what this thread allocates to `account` until the guard is dropped.
///
/// # Panics
/// When `account` is not below [`ACCOUNTS`].
#[inline]
pub fn enter(account: usize) -> Guard {
    let mut part = PARTS.with(|parts| parts[account].get());
    if part.is_null() {
        part = open(account);
    }
    Guard { previous: CURRENT.replace(part), _not_send: PhantomData }
}

/// This thread's part of an account's heap.
#[cold]
fn open(account: usize) -> *mut mi::mi_theap_t {
    let slot = &HEAPS[account];
    if slot.load(Ordering::Acquire).is_null() {
        // SAFETY: a plain constructor; a heap that loses the race is deleted, unused.
        unsafe {
            let fresh = mi::mi_heap_new();
            if slot.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
                mi::mi_heap_delete(fresh);
            }
        }
    }
    // SAFETY: a heap in the table lives for ever, and the part is this thread's.
    let part = unsafe { mi_heap_theap(slot.load(Ordering::Acquire)) };
    PARTS.with(|parts| parts[account].set(part));
    part
}

/// Tunes mimalloc for one thread that grows to gigabytes; call it once, at the start of the program.
///
/// By default each heap is searched for free pages every 10,000 slow allocations, which is a walk over all of its pages, and
/// freed memory goes back to the kernel after 10 ms, to be zeroed and faulted in again a moment later: together about a
/// seventh of the time of a run of 200,000 clients. And it goes back in pieces that split the huge page in which
/// they lie; in whole huge pages a run of 300,000 clients takes 2 % more memory and a tenth less time.
pub fn tune() {
    // SAFETY: plain setters of process-wide options.
    unsafe {
        mi::mi_option_set(MI_OPTION_GENERIC_COLLECT, 1_000_000);
        mi::mi_option_set(MI_OPTION_PURGE_DELAY, 1_000);
        mi::mi_option_set(MI_OPTION_ALLOW_THP, 2);
    }
}

/// Options by their place in the enumeration of `mimalloc.h`; the binding has no names for them, so its version is pinned.
const MI_OPTION_PURGE_DELAY: mi::mi_option_t = 15;
const MI_OPTION_GENERIC_COLLECT: mi::mi_option_t = 34;
/// 2: what is not used is given back in whole huge pages.
const MI_OPTION_ALLOW_THP: mi::mi_option_t = 43;

/// What an account holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balance {
    /// Bytes of blocks in use, in the sizes that mimalloc rounds to.
    pub used: u64,
    /// Bytes of the pages they lie in, free blocks included. With huge pages all of it is resident, touched or not.
    pub reserved: u64,
    /// Blocks in use by size.
    pub blocks: BTreeMap<usize, u64>,
}

/// What an account holds now. Looks at every page of its heap, 64 KiB or more each: about a millisecond a gigabyte.
///
/// # Safety
/// No other thread allocates or frees in the account meanwhile: mimalloc walks its pages without a lock.
pub unsafe fn balance(account: usize) -> Balance {
    let mut balance = Balance::default();
    let heap = HEAPS[account].load(Ordering::Acquire);
    if !heap.is_null() {
        // SAFETY: the heap lives for ever, and the caller sees to it that nobody else works in it; the visitor is given a valid
        // area and our own `balance`, which outlives the call.
        unsafe { mi::mi_heap_visit_blocks(heap, false, Some(add_area), (&raw mut balance).cast()) };
    }
    balance
}

unsafe extern "C" fn add_area(
    _: *const mi::mi_heap_t,
    area: *const mi::mi_heap_area_t,
    _: *mut c_void,
    _: usize,
    balance: *mut c_void,
) -> bool {
    // SAFETY: mimalloc passes a valid area and the pointer that `balance` gave it.
    let (area, balance) = unsafe { (&*area, &mut *balance.cast::<Balance>()) };
    balance.used += (area.used * area.full_block_size) as u64;
    balance.reserved += area.reserved as u64;
    *balance.blocks.entry(area.full_block_size).or_default() += area.used as u64;
    true
}
