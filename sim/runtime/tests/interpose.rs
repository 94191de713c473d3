//! The interposed symbols as dependencies meet them: from another crate, linked into an executable.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests what answers these")]

use std::collections::HashSet;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use squall_runtime::interpose::{
    HostContext, MONOTONIC_OFFSET_US, SimulatedClock, WorldContext, enter_host, enter_world,
};

const EPOCH_US: u64 = 1_700_000_000_000_000;

fn host(seed: u64) -> (HostContext, SimulatedClock) {
    let clock = SimulatedClock::default();
    (HostContext::new(seed, clock.clone(), EPOCH_US), clock)
}

/// Everything that draws: both majors of the crate, std's hash seeds, and libc's own names.
fn draw_everything() -> (u64, u64, u64, [u8; 40], [u8; 13]) {
    let (mut raw, mut entropy) = ([0u8; 40], [0u8; 13]);
    // SAFETY: both buffers are locals of the lengths that are given.
    unsafe {
        assert_eq!(libc::getrandom(raw.as_mut_ptr().cast(), raw.len(), 0), 40);
        assert_eq!(libc::getentropy(entropy.as_mut_ptr().cast(), entropy.len()), 0);
    }
    let hashed = RandomState::new().hash_one(7u64);
    (getrandom03::u64().unwrap(), getrandom04::u64().unwrap(), hashed, raw, entropy)
}

/// std seeds its hash maps once a thread, so each draw is made on a fresh one.
fn on_fresh_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(work).join().unwrap()
}

fn drawn_by_host(seed: u64) -> (u64, u64, u64, [u8; 40], [u8; 13]) {
    on_fresh_thread(move || {
        let (host, _) = host(seed);
        let _in_host = enter_host(&host);
        draw_everything()
    })
}

#[test]
fn a_host_draws_by_its_seed() {
    let (first, again, other) = (drawn_by_host(1), drawn_by_host(1), drawn_by_host(2));
    assert_eq!(first, again);
    assert!(first.0 != other.0 && first.1 != other.1 && first.2 != other.2);
    assert!(first.3 != other.3 && first.4 != other.4);
}

#[test]
fn the_world_draws_by_its_seed_and_keeps_the_real_clock() {
    let draw = |seed| {
        on_fresh_thread(move || {
            let world = WorldContext::new(seed);
            let _in_world = enter_world(&world);
            let started = Instant::now();
            std::thread::sleep(Duration::from_millis(2));
            assert!(started.elapsed() >= Duration::from_millis(2));
            draw_everything()
        })
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn outside_of_a_scope_everything_is_real() {
    let draws: HashSet<_> = (0..8).map(|_| on_fresh_thread(draw_everything)).collect();
    assert_eq!(draws.len(), 8);
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    assert!(started.elapsed() >= Duration::from_millis(2));
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() > Duration::from_micros(EPOCH_US));

    let (host, _) = host(1);
    drop(enter_host(&host));
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() > Duration::from_micros(EPOCH_US + 60_000_000));
}

#[test]
fn std_clocks_follow_the_simulated_clock_and_the_skew() {
    let (host, clock) = host(1);
    let _in_host = enter_host(&host);
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(started.checked_sub(Duration::from_micros(MONOTONIC_OFFSET_US - 1)).is_some());

    clock.set_us(1_234_567);
    assert_eq!(started.elapsed(), Duration::from_micros(1_234_567));
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(wall(), Duration::from_micros(EPOCH_US + 1_234_567));
    host.set_skew_us(-1_000_000);
    assert_eq!(wall(), Duration::from_micros(EPOCH_US + 234_567));
    assert_eq!(host.wall_us(), EPOCH_US + 234_567);
    assert_eq!(started.elapsed(), Duration::from_micros(1_234_567), "skew is no matter of the monotonic clock");

    let mut day = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: `day` is a local, and both calls accept null for the rest.
    let seconds = unsafe {
        assert_eq!(libc::gettimeofday(&raw mut day, std::ptr::null_mut()), 0);
        libc::time(std::ptr::null_mut())
    };
    assert_eq!((day.tv_sec, day.tv_usec), (1_700_000_000, 234_567));
    assert_eq!(seconds, 1_700_000_000);
}

#[test]
fn scopes_nest_and_other_threads_stay_real() {
    let ((outer, _), (inner, clock)) = (host(1), host(2));
    clock.set_us(5_000_000);
    let _in_outer = enter_host(&outer);
    let started = Instant::now();
    {
        let _in_inner = enter_host(&inner);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        let real = on_fresh_thread(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        assert!(real > Duration::from_micros(EPOCH_US + 60_000_000));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[test]
fn processor_time_and_errors_are_real_in_a_host() {
    let (host, _) = host(1);
    let _in_host = enter_host(&host);
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a local; the null buffer is what the kernel is to refuse.
    unsafe {
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time), 0);
        assert!(time.tv_sec < 1_000 && (time.tv_sec, time.tv_nsec) != (0, 0));
        assert_eq!(libc::clock_gettime(9_999, &raw mut time), -1);
        assert_eq!(libc::getrandom(std::ptr::null_mut(), 8, 0), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
    }
}

#[test]
fn a_draw_in_one_scope_is_seen_in_its_digest_only() {
    let ((first, _), (second, _)) = (host(1), host(1));
    assert_eq!(first.entropy_digest(), second.entropy_digest());
    let _in_first = enter_host(&first);
    getrandom04::u64().unwrap();
    assert_ne!(first.entropy_digest(), second.entropy_digest());
}

#[test]
fn dlsym_finds_the_interposed_symbols() {
    let ours: [(_, *const c_void); 6] = [
        (c"getrandom", squall_runtime::interpose::getrandom as *const c_void),
        (c"getentropy", squall_runtime::interpose::getentropy as *const c_void),
        (c"clock_gettime", squall_runtime::interpose::clock_gettime as *const c_void),
        (c"gettimeofday", squall_runtime::interpose::gettimeofday as *const c_void),
        (c"time", squall_runtime::interpose::time as *const c_void),
        (c"syscall", squall_runtime::interpose::syscall as *const c_void),
    ];
    for (name, address) in ours {
        // SAFETY: the name is a C string.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        assert_eq!(found.cast_const(), address, "{name:?}");
    }
}

/// `cargo test --release -- --ignored --nocapture` prints what a call costs.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_call() {
    let (host, _) = host(1);
    let measure = |name: &str, call: &dyn Fn()| {
        let started = {
            let _real = WorldContext::new(0).enter();
            Instant::now()
        };
        let _in_host = enter_host(&host);
        for _ in 0..10_000_000 {
            call();
        }
        drop(_in_host);
        println!("{name}: {:.1} ns", started.elapsed().as_secs_f64() * 100.0);
    };
    measure("Instant::now in a host", &|| {
        std::hint::black_box(Instant::now());
    });
    measure("getrandom 0.4 u64 in a host", &|| {
        std::hint::black_box(getrandom04::u64().unwrap());
    });
    measure("enter_host and leave", &|| drop(enter_host(&host)));
    let started = Instant::now();
    for _ in 0..10_000_000 {
        std::hint::black_box(Instant::now());
    }
    println!("Instant::now outside: {:.1} ns", started.elapsed().as_secs_f64() * 100.0);
}
