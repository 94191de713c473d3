//! Answers `getrandom`, `clock_gettime` and a scheduler's wait for the code that runs inside the simulation, dependencies
//! included.
//!
//! Dependencies read the kernel's clock and randomness behind our back: h2 ages its resets by `std::time::Instant`,
//! tungstenite draws frame masks, std seeds its hash maps. This module defines those libc symbols in the harness
//! binary, where they take precedence over libc's. What they answer depends on the thread's scope: the real system call
//! by default; the run's seed in the world's scope, where the clock stays real; the host's own seed and clock in a
//! host's scope.
//!
//! **Invariants:** a thread that entered no scope gets the real system calls; in a host's scope neither answer depends on
//! the machine or on the moment; leaving a scope restores the one before. Guarded by the tests below and by
//! `tests/interpose.rs`. Not covered: code that makes raw system calls or reads the time stamp counter (rustix).

mod futex;

pub use futex::syscall;
pub(crate) use futex::{begin_park, end_park};

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering::Relaxed};

/// What monotonic clocks read at simulated time 0: a day, so that `Instant::now() - timeout` does not underflow.
pub const MONOTONIC_OFFSET_US: u64 = 24 * 3600 * 1_000_000;

/// The simulated time in µs since the run began, shared by all hosts. The world sets it before each tick.
#[derive(Clone, Debug, Default)]
pub struct SimulatedClock(Arc<AtomicU64>);

impl SimulatedClock {
    pub fn set_us(&self, now_us: u64) {
        self.0.store(now_us, Relaxed);
    }

    pub fn now_us(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The randomness of the simulation thread between host steps; its clock is the real one.
#[derive(Clone, Debug)]
pub struct WorldContext(Arc<Scope>);

impl WorldContext {
    pub fn new(seed: u64) -> Self {
        Self(Scope::new(seed, None))
    }

    /// Answers from the run's seed on this thread until the guard is dropped.
    pub fn enter(&self) -> Guard {
        Guard::enter(&self.0)
    }

    /// A digest of the stream's state: it differs once two runs have drawn differently.
    pub fn entropy_digest(&self) -> u64 {
        self.0.entropy.digest()
    }
}

/// The randomness and the clocks of one simulated host.
#[derive(Clone, Debug)]
pub struct HostContext(Arc<Scope>);

impl HostContext {
    /// `epoch_us` is the wall clock at simulated time 0, in µs since 1970.
    pub fn new(seed: u64, clock: SimulatedClock, epoch_us: u64) -> Self {
        let clock = HostClock { now: clock, lag_us: AtomicU64::new(0), epoch_us, skew_us: AtomicI64::new(0) };
        Self(Scope::new(seed, Some(Arc::new(clock))))
    }

    /// The same host's clocks beside a stream of their own, for a thread that works for the host.
    pub(crate) fn beside(&self, seed: u64) -> Self {
        Self(Scope::new(seed, self.0.clock.clone()))
    }

    /// Answers as this host on this thread until the guard is dropped.
    pub fn enter(&self) -> Guard {
        Guard::enter(&self.0)
    }

    /// Sets how far the host's wall clock is ahead of the simulated one, in µs. For a clock that drifts, the world sets
    /// it each tick. Monotonic clocks are not affected.
    pub fn set_skew_us(&self, skew_us: i64) {
        self.clock().skew_us.store(skew_us, Relaxed);
    }

    pub fn skew_us(&self) -> i64 {
        self.clock().skew_us.load(Relaxed)
    }

    /// The simulated time that the world has reached, in µs.
    pub fn now_us(&self) -> u64 {
        self.clock().now.now_us()
    }

    /// Sets how far all of the host's clocks are behind the world's, in µs: a host that makes up for time that it has missed
    /// lives through it in order.
    pub(crate) fn set_lag_us(&self, lag_us: u64) {
        self.clock().lag_us.store(lag_us, Relaxed);
    }

    /// The host's wall clock now, skew included, in µs since 1970.
    pub fn wall_us(&self) -> u64 {
        self.clock().wall_us()
    }

    /// A digest of the stream's state: it differs once two runs have drawn differently.
    pub fn entropy_digest(&self) -> u64 {
        self.0.entropy.digest()
    }

    fn clock(&self) -> &HostClock {
        self.0.clock.as_ref().expect("a host's scope has a clock")
    }
}

/// Enters a host's scope on this thread: [`HostContext::enter`].
pub fn enter_host(host: &HostContext) -> Guard {
    host.enter()
}

/// Enters the world's scope on this thread: [`WorldContext::enter`].
pub fn enter_world(world: &WorldContext) -> Guard {
    world.enter()
}

/// Has std draw the keys that it keeps for a thread now, in the scope that has been entered. Otherwise the first host that runs on
/// the thread would draw them from its own stream, and which that is depends on the number of threads.
pub fn prime_thread() {
    std::hint::black_box(std::hash::RandomState::new());
}

/// Keeps a scope entered; scopes nest, and dropping the guard returns to the scope before.
#[must_use = "the scope is left when the guard is dropped"]
pub struct Guard {
    /// The scope before, with its reference count; null for the real one. The thread's cell owns the current scope's
    /// count, so that a guard that is forgotten or dropped out of order leaks a scope and leaves none dangling.
    previous: *const Scope,
    /// The scope belongs to this thread.
    _not_send: PhantomData<*const ()>,
}

impl Guard {
    fn enter(scope: &Arc<Scope>) -> Self {
        let previous = SCOPE.with(|current| current.replace(Arc::into_raw(Arc::clone(scope))));
        Self { previous, _not_send: PhantomData }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let left = SCOPE.with(|current| current.replace(self.previous));
        if !left.is_null() {
            // SAFETY: a pointer in the cell comes from `Arc::into_raw` and owns one count, which has just been taken
            // out of the cell and is given up here once.
            drop(unsafe { Arc::from_raw(left) });
        }
    }
}

thread_local! {
    /// The scope of this thread, with one reference count; null means the real system calls. Constant and without a
    /// destructor, so that it can be read at any time of a thread's life, in an allocator too.
    static SCOPE: Cell<*const Scope> = const { Cell::new(ptr::null()) };
}

#[derive(Debug)]
struct Scope {
    entropy: Entropy,
    clock: Option<Arc<HostClock>>,
}

impl Scope {
    fn new(seed: u64, clock: Option<Arc<HostClock>>) -> Arc<Self> {
        keep_symbols_linked();
        Arc::new(Self { entropy: Entropy::new(seed), clock })
    }
}

/// Calls `answer` with this thread's scope, or returns `None` where it is the real one.
fn in_scope<T>(answer: impl FnOnce(&Scope) -> T) -> Option<T> {
    let scope = SCOPE.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: a pointer in the cell is null or owns a reference count. Only `Guard` changes the cell, on this thread, and
    // no `answer` in this file runs foreign code, so the count outlives the borrow.
    unsafe { scope.as_ref() }.map(answer)
}

#[derive(Debug)]
struct HostClock {
    now: SimulatedClock,
    lag_us: AtomicU64,
    epoch_us: u64,
    skew_us: AtomicI64,
}

impl HostClock {
    fn now_us(&self) -> u64 {
        self.now.now_us().saturating_sub(self.lag_us.load(Relaxed))
    }

    fn wall_us(&self) -> u64 {
        (self.epoch_us + self.now_us()).saturating_add_signed(self.skew_us.load(Relaxed))
    }

    /// The reading of a clock of time; `None` for those that count processor time, or that do not exist.
    fn read_us(&self, id: libc::clockid_t) -> Option<u64> {
        match id {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_REALTIME_ALARM | libc::CLOCK_TAI => {
                Some(self.wall_us())
            }
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME
            | libc::CLOCK_BOOTTIME_ALARM => Some(MONOTONIC_OFFSET_US + self.now_us()),
            _ => None,
        }
    }
}

/// xoshiro256++ (Blackman and Vigna), seeded by splitmix64. A stream is drawn by one thread; the atomics only make the
/// type safe to share, and cost what plain memory costs.
#[derive(Debug)]
struct Entropy([AtomicU64; 4]);

impl Entropy {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            AtomicU64::new(z ^ (z >> 31))
        }))
    }

    fn next(&self) -> u64 {
        let [a, b, c, d] = self.0.each_ref().map(|word| word.load(Relaxed));
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        let next = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        for (word, next) in self.0.iter().zip(next) {
            word.store(next, Relaxed);
        }
        result
    }

    /// Fills memory that may be uninitialised; each call begins a new word.
    fn fill(&self, buf: &mut [std::mem::MaybeUninit<u8>]) {
        for chunk in buf.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                to.write(from);
            }
        }
    }

    fn digest(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |hash, word| (hash.rotate_left(29) ^ word.load(Relaxed)).wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }
}

/// Fills `buf` from this thread's scope; false where the real system call must answer.
///
/// # Safety
/// `buf` is null or valid for writes of `len` bytes, as `getrandom` demands.
unsafe fn fill_from_scope(buf: *mut c_void, len: usize) -> bool {
    if buf.is_null() || isize::try_from(len).is_err() {
        return false;
    }
    in_scope(|scope| {
        // SAFETY: the caller vouches for `len` bytes behind `buf`, which is not null, and `MaybeUninit` asks no more.
        scope.entropy.fill(unsafe { std::slice::from_raw_parts_mut(buf.cast(), len) });
    })
    .is_some()
}

/// The real `getrandom`.
///
/// # Safety
/// As for `getrandom`: the kernel checks the pointer.
unsafe fn real_getrandom(buf: *mut c_void, len: usize, flags: c_uint) -> libc::ssize_t {
    // SAFETY: the arguments are those that the system call takes; it answers EFAULT to a bad pointer.
    unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) as libc::ssize_t }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// `clock_gettime` without libc's fast path: for the moment before that is found, and where it cannot be.
unsafe extern "C" fn kernel_clock_gettime(id: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // SAFETY: the arguments are those that the system call takes; it answers EFAULT to a bad pointer.
    unsafe { libc::syscall(libc::SYS_clock_gettime, id, time) as c_int }
}

static REAL_CLOCK_GETTIME: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// libc's own `clock_gettime`, which reads the vDSO.
fn real_clock_gettime() -> ClockGettime {
    let mut found = REAL_CLOCK_GETTIME.load(Relaxed);
    if found.is_null() {
        // `dlsym` may itself ask for the time, through an allocator: then the kernel answers and nothing recurses.
        REAL_CLOCK_GETTIME.store(kernel_clock_gettime as *mut c_void, Relaxed);
        // SAFETY: the name is a C string, and RTLD_NEXT only looks behind this object.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        if found.is_null() {
            found = kernel_clock_gettime as *mut c_void;
        }
        REAL_CLOCK_GETTIME.store(found, Relaxed);
    }
    // SAFETY: the pointer is never null here, and is this file's function or libc's of the same name and signature.
    unsafe { std::mem::transmute::<*mut c_void, ClockGettime>(found) }
}

/// libc's `getrandom`, as this thread's scope answers it.
///
/// # Safety
/// `buf` is valid for writes of `len` bytes.
// SAFETY: the name and the signature are libc's, and so is the behaviour outside of a scope.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buf: *mut c_void, len: usize, flags: c_uint) -> libc::ssize_t {
    // SAFETY: the caller keeps the contract of `getrandom`, which both take over.
    unsafe { if fill_from_scope(buf, len) { len as libc::ssize_t } else { real_getrandom(buf, len, flags) } }
}

/// libc's `getentropy`, as this thread's scope answers it.
///
/// # Safety
/// `buf` is valid for writes of `len` bytes.
// SAFETY: the name and the signature are libc's, and so is the behaviour outside of a scope, the limit of 256 included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buf: *mut c_void, len: usize) -> c_int {
    if len > 256 {
        // SAFETY: `__errno_location` is always valid for this thread.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    // SAFETY: the caller keeps the contract of `getentropy`, which is that of `getrandom`. Reads of at most 256 bytes
    // are never short.
    if unsafe { getrandom(buf, len, 0) } == len as libc::ssize_t { 0 } else { -1 }
}

/// libc's `clock_gettime`, as this thread's scope answers it.
///
/// # Safety
/// `time` is valid for a write.
// SAFETY: the name and the signature are libc's, and so is the behaviour outside of a scope.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(id: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let simulated_us = in_scope(|scope| scope.clock.as_ref().and_then(|clock| clock.read_us(id))).flatten();
    match simulated_us {
        Some(us) if !time.is_null() => {
            let tv_sec = (us / 1_000_000) as libc::time_t;
            let tv_nsec = ((us % 1_000_000) * 1_000) as libc::c_long;
            // SAFETY: the caller vouches for the pointer, which is not null.
            unsafe { time.write(libc::timespec { tv_sec, tv_nsec }) };
            0
        }
        // SAFETY: the caller keeps the contract of `clock_gettime`.
        _ => unsafe { real_clock_gettime()(id, time) },
    }
}

/// libc's `gettimeofday`, as this thread's scope answers it, without the obsolete time zone.
///
/// # Safety
/// `time` is null or valid for a write.
// SAFETY: the name and the signature are libc's, and so is the behaviour outside of a scope.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut libc::timeval, _zone: *mut c_void) -> c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a local.
    let result = unsafe { clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    if result == 0 && !time.is_null() {
        let tv_usec = now.tv_nsec / 1_000;
        // SAFETY: the caller vouches for the pointer, which is not null.
        unsafe { time.write(libc::timeval { tv_sec: now.tv_sec, tv_usec }) };
    }
    result
}

/// libc's `time`, as this thread's scope answers it.
///
/// # Safety
/// `time` is null or valid for a write.
// SAFETY: the name and the signature are libc's, and so is the behaviour outside of a scope.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut libc::time_t) -> libc::time_t {
    let mut now = libc::timespec { tv_sec: -1, tv_nsec: 0 };
    // SAFETY: `now` is a local.
    unsafe { clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    if !time.is_null() {
        // SAFETY: the caller vouches for the pointer, which is not null.
        unsafe { time.write(now.tv_sec) };
    }
    now.tv_sec
}

/// Makes the linker take these symbols along: a weak reference, as std's, does not pull an object out of an archive.
fn keep_symbols_linked() {
    std::hint::black_box([
        getrandom as *const () as usize,
        getentropy as *const () as usize,
        clock_gettime as *const () as usize,
        gettimeofday as *const () as usize,
        time as *const () as usize,
        syscall as *const () as usize,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_xoshiro256_plus_plus() {
        let entropy = Entropy([1, 2, 3, 4].map(AtomicU64::new));
        let drawn = [(); 4].map(|()| entropy.next());
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn a_scope_outlives_its_context_and_guards_out_of_order() {
        let (outer, inner) = (WorldContext::new(1), WorldContext::new(2));
        let (first, second) = (outer.enter(), inner.enter());
        drop((outer, inner));
        drop(first);
        assert_eq!(in_scope(|_| ()), None, "the first guard restores what was before it");
        drop(second);
        assert_eq!(in_scope(|_| ()), Some(()), "the second restores the first's scope, which is still alive");
        SCOPE.with(|current| current.set(ptr::null()));
    }
}
