//! Answers the wait of a host's scheduler that has nothing to do, instead of sleeping it.
//!
//! A tokio scheduler without work waits on a condition variable of std until its next timer is due. std makes that wait through
//! libc's `syscall` as `FUTEX_WAIT_BITSET` with an absolute monotonic time-out, which was computed from the host's simulated
//! clock. Between [`begin_park`] and [`end_park`] this module notes the time-out and answers at once that it has passed.
//!
//! **Invariants:** a wait is answered only on the thread that is between the two calls, and only if it has a time-out, so that
//! locks, other threads and other system calls are the kernel's as ever; the kernel's own check is kept, that the word still has
//! the value that was expected. Guarded by `tests/interpose.rs`.

use std::arch::naked_asm;
use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::MONOTONIC_OFFSET_US;

#[derive(Clone, Copy)]
enum Park {
    /// The thread runs, and what it waits for is real.
    Awake,
    /// A host's scheduler is about to wait.
    Parked,
    /// It has waited, and would have until then, in simulated µs.
    Slept(u64),
}

thread_local! {
    /// Constant and without a destructor, so that it can be read at any time of a thread's life.
    static PARK: Cell<Park> = const { Cell::new(Park::Awake) };
}

/// From here on this thread's waits with a time-out are answered.
pub(crate) fn begin_park() {
    PARK.set(Park::Parked);
}

/// Ends what [`begin_park`] began. Until when the last wait would have lasted, in simulated µs; `None` if there was none.
pub(crate) fn end_park() -> Option<u64> {
    match PARK.replace(Park::Awake) {
        Park::Slept(until_us) => Some(until_us),
        Park::Awake | Park::Parked => None,
    }
}

/// libc's `syscall`: waits of a parked scheduler are answered, everything else is the kernel's.
///
/// # Safety
/// As for the system call that is named.
// SAFETY: the name is libc's, and so are registers and stack of a call: libc's is variadic in C, which passes integers as any
// function does. Whatever is not a futex runs libc's own few instructions, with no frame of ours on the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a1: c_long,
    a2: c_long,
    a3: c_long,
    a4: c_long,
    a5: c_long,
    a6: c_long,
) -> c_long {
    naked_asm!(
        "cmp rdi, {futex}",
        "je {answer}",
        "jmp {kernel}",
        futex = const libc::SYS_futex,
        answer = sym answer_futex,
        kernel = sym kernel_syscall,
    )
}

/// The real `syscall`.
///
/// # Safety
/// As for the system call that is named.
// SAFETY: libc's own instructions: the arguments move to the registers that the kernel takes, and a result that is an error
// goes on to `fail`, in this function's place on the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn kernel_syscall(
    number: c_long,
    a1: c_long,
    a2: c_long,
    a3: c_long,
    a4: c_long,
    a5: c_long,
    a6: c_long,
) -> c_long {
    naked_asm!(
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "neg rdi",
        "jmp {fail}",
        fail = sym fail,
    )
}

/// libc's `syscall`: waits of a parked scheduler are answered, everything else is the kernel's.
///
/// # Safety
/// As for the system call that is named.
// SAFETY: the name is libc's, and so are the registers of a call: libc's is variadic in C, which on Linux passes integers as any
// function does. Whatever is not a futex runs libc's own few instructions, with no frame of ours on the stack.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a1: c_long,
    a2: c_long,
    a3: c_long,
    a4: c_long,
    a5: c_long,
    a6: c_long,
) -> c_long {
    naked_asm!(
        // A conditional branch does not reach every function.
        "cmp x0, #{futex}",
        "b.ne 2f",
        "b {answer}",
        "2:",
        "b {kernel}",
        futex = const libc::SYS_futex,
        answer = sym answer_futex,
        kernel = sym kernel_syscall,
    )
}

/// The real `syscall`.
///
/// # Safety
/// As for the system call that is named.
// SAFETY: libc's own instructions: the arguments move to the registers that the kernel takes, and a result that is an error
// goes on to `fail`, in this function's place on the stack.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn kernel_syscall(
    number: c_long,
    a1: c_long,
    a2: c_long,
    a3: c_long,
    a4: c_long,
    a5: c_long,
    a6: c_long,
) -> c_long {
    naked_asm!(
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc #0",
        "cmn x0, #4095",
        "b.cs 2f",
        "ret",
        "2:",
        "neg x0, x0",
        "b {fail}",
        fail = sym fail,
    )
}

/// Fails a system call as libc does.
extern "C" fn fail(errno: c_int) -> c_long {
    // SAFETY: `__errno_location` is always valid for this thread.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The system call `futex`, of which only a parked scheduler's wait is answered here.
///
/// # Safety
/// As for the system call. Arguments that its operation does not take may have any value.
unsafe extern "C" fn answer_futex(
    number: c_long,
    word: *const AtomicU32,
    operation: c_long,
    expected: c_long,
    timeout: *const libc::timespec,
    other_word: c_long,
    mask: c_long,
) -> c_long {
    if matches!(PARK.get(), Park::Parked | Park::Slept(_)) && !word.is_null() {
        match operation as c_int & !libc::FUTEX_PRIVATE_FLAG {
            libc::FUTEX_WAIT_BITSET if !timeout.is_null() => {
                // SAFETY: whoever waits vouches for the word and for the time-out; neither is null.
                let (value, timeout) = unsafe { ((*word).load(SeqCst), timeout.read()) };
                return sleep(value == expected as u32, timeout);
            }
            // What waits for a duration is not std's, and would look at its clock, which stands still, and wait again for ever.
            libc::FUTEX_WAIT if !timeout.is_null() => {
                eprintln!(
                    "a host's scheduler waits on a lock that is not std's: build tokio without its feature `parking_lot`"
                );
                std::process::abort();
            }
            _ => {}
        }
    }
    // SAFETY: the caller keeps the contract of the system call.
    unsafe { kernel_syscall(number, word as c_long, operation, expected, timeout as c_long, other_word, mask) }
}

fn sleep(as_expected: bool, timeout: libc::timespec) -> c_long {
    if !as_expected {
        return fail(libc::EAGAIN);
    }
    let monotonic_us = timeout.tv_sec as u64 * 1_000_000 + timeout.tv_nsec as u64 / 1_000;
    PARK.set(Park::Slept(monotonic_us.saturating_sub(MONOTONIC_OFFSET_US)));
    fail(libc::ETIMEDOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpose::{HostContext, SimulatedClock};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    fn wait(duration: Duration) -> bool {
        let (lock, condition) = (Mutex::new(()), Condvar::new());
        let guard = lock.lock().unwrap();
        let (_guard, result) = condition.wait_timeout(guard, duration).unwrap();
        result.timed_out()
    }

    #[test]
    fn a_parked_thread_notes_its_wait_and_goes_on() {
        let clock = SimulatedClock::default();
        let context = HostContext::new(1, clock.clone(), 0);
        let _guard = context.enter();
        clock.set_us(5_000);
        begin_park();
        assert!(wait(Duration::from_secs(3_600)));
        assert_eq!(end_park(), Some(3_600_005_000));
        assert_eq!(end_park(), None, "it is told once");
        begin_park();
        assert_eq!(end_park(), None, "it has not waited");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the point is that real time passes")]
    fn a_wait_outside_of_a_park_and_on_other_threads_is_real() {
        let measure = || {
            let began = std::time::Instant::now();
            assert!(wait(Duration::from_millis(20)));
            assert!(began.elapsed() >= Duration::from_millis(20));
        };
        measure();
        begin_park();
        std::thread::spawn(measure).join().unwrap();
        end_park();
        measure();
    }

    #[test]
    fn a_word_that_has_changed_is_not_waited_for() {
        let word = AtomicU32::new(7);
        let time = libc::timespec { tv_sec: 1 << 20, tv_nsec: 0 };
        let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
        let wait_for = |value: u32| {
            // SAFETY: word and time are locals, and the arguments those of the operation.
            unsafe {
                libc::syscall(libc::SYS_futex, &raw const word, operation, value, &raw const time, 0usize, !0u32)
            }
        };
        begin_park();
        assert_eq!(wait_for(8), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(wait_for(7), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ETIMEDOUT));
        assert_eq!(end_park(), Some((1 << 20) * 1_000_000 - MONOTONIC_OFFSET_US));
    }

    #[test]
    fn other_system_calls_and_their_errors_are_the_kernels() {
        begin_park();
        // SAFETY: none of these calls takes a pointer that it follows: the last has six arguments, of which the third is refused.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_getpid), i64::from(libc::getpid()));
            assert_eq!(libc::syscall(libc::SYS_close, -1), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
            let page = libc::syscall(
                libc::SYS_mmap,
                0usize,
                4096usize,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0usize,
            );
            assert!(page > 0, "the sixth argument arrives");
            assert_eq!(libc::syscall(libc::SYS_munmap, page, 4096usize), 0);
        }
        end_park();
    }
}
