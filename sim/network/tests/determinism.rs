//! One seed, one history: digests and traces.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use squall_network::*;

/// A busy minute; returns each second's digests and the number of segments seen.
fn minute(seed: u64) -> (Vec<Vec<(HostId, u64)>>, Vec<SegmentTrace>) {
    let mut world = world(seed, Profile { nat_idle_timeout: None, ..Profile::flaky() });
    let trace = Arc::new(Mutex::new(Vec::new()));
    let sink = trace.clone();
    world.net.set_trace(Some(Box::new(move |segment| sink.lock().unwrap().push(*segment))));
    let conns: Vec<_> = (0..20).map(|token| world.open(token)).collect();
    let mut streams = Vec::new();
    let mut digests = Vec::new();
    for second in 0..60 {
        let fault = (second == 20).then(|| {
            world.net.add_fault(Fault::between([world.site], [world.server], FaultKind::Loss { p: 0.2 }))
        });
        for _ in 0..10 {
            for conn in &conns {
                let _ = world.net.write(*conn, &[second; 50]);
            }
            world.pass(100 * MS);
            streams.extend(std::iter::from_fn(|| world.accept()).map(|(stream, _)| stream));
            for stream in &mut streams {
                let bytes = read_all(stream);
                let _ = write(stream, &bytes);
            }
            for conn in &conns {
                world.client_reads(*conn);
            }
        }
        digests.push(world.net.take_digests());
        fault.map(|fault| world.net.remove_fault(fault));
    }
    world.net.set_trace(None);
    let trace = std::mem::take(&mut *trace.lock().unwrap());
    (digests, trace)
}

#[test]
fn the_same_seed_gives_the_same_digests_and_another_seed_others() {
    let (first, first_trace) = minute(1);
    let (second, second_trace) = minute(1);
    let (other, _) = minute(2);
    assert_eq!(first, second);
    assert_eq!(first_trace, second_trace);
    assert!(first_trace.len() > 5_000, "{} segments", first_trace.len());
    assert_ne!(first, other);
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "each second has digests of its own");
}
