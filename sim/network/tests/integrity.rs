//! Whatever happens, each end has received a prefix of what the other wrote, and after the storm nothing leaks.

mod common;

use common::*;
use proptest::prelude::*;
use squall_network::*;

const CLIENTS: usize = 4;
/// A patience that no run exhausts.
const LONG: Micros = 100_000 * S;

#[derive(Clone, Debug)]
enum Step {
    ClientWrites(usize, usize),
    ServerWrites(usize, usize),
    ClientReads(usize),
    ServerReads(usize),
    Pass(Micros),
    Fault(u8, u8),
    EndFault(usize),
    Cut(usize),
    CutLater(usize),
    Freeze(usize),
    CloseBoth(usize),
    ClientCloses(usize),
    ClientResets(usize),
    ServerCloses(usize),
    Crash(bool),
    PowerCycle(Micros),
    PauseResume(Micros),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    prop_oneof![
        8 => (who.clone(), 1..3_000usize).prop_map(|(i, n)| Step::ClientWrites(i, n)),
        8 => (who.clone(), 1..3_000usize).prop_map(|(i, n)| Step::ServerWrites(i, n)),
        4 => who.clone().prop_map(Step::ClientReads),
        4 => who.clone().prop_map(Step::ServerReads),
        12 => (1..3_000_000u64).prop_map(Step::Pass),
        6 => (0..7u8, 0..4u8).prop_map(|(kind, scope)| Step::Fault(kind, scope)),
        6 => (0..6usize).prop_map(Step::EndFault),
        1 => who.clone().prop_map(Step::Cut),
        1 => who.clone().prop_map(Step::CutLater),
        1 => who.clone().prop_map(Step::Freeze),
        1 => who.clone().prop_map(Step::CloseBoth),
        1 => who.clone().prop_map(Step::ClientCloses),
        1 => who.clone().prop_map(Step::ClientResets),
        1 => who.prop_map(Step::ServerCloses),
        1 => any::<bool>().prop_map(Step::Crash),
        1 => (0..30_000_000u64).prop_map(Step::PowerCycle),
        2 => (0..30_000_000u64).prop_map(Step::PauseResume),
    ]
}

fn fault(world: &World, kind: u8, scope: u8) -> Fault {
    let kind = match kind {
        0 => FaultKind::Block,
        1 => FaultKind::Hold,
        2 => FaultKind::Latency { add: 300 * MS, jitter: 100 * MS },
        3 => FaultKind::Slow { bytes_per_s: 2_000 },
        4 => FaultKind::Loss { p: 0.5 },
        5 => FaultKind::Refuse,
        _ => FaultKind::Block,
    };
    match scope {
        0 => Fault::between([world.site], [world.server], kind),
        1 => Fault::one_way([world.site], [world.server], kind),
        2 => Fault::one_way([world.server], [world.site], kind),
        _ => Fault::connections(|_, token| token % 2 == 0, kind),
    }
}

/// One client's connection and what was written and read on it, by side.
struct Pair {
    conn: ConnId,
    stream: Option<Stream>,
    written: [Vec<u8>; 2],
    got: [Vec<u8>; 2],
}

fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|i| (i * 31 % 251) as u8).collect()
}

impl Pair {
    fn client_reads(&mut self, world: &World) {
        self.got[0].extend(world.client_reads(self.conn));
    }

    fn server_reads(&mut self) {
        if let Some(stream) = &mut self.stream {
            self.got[1].extend(read_all(stream));
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.written[0].starts_with(&self.got[1]), "the server has a prefix");
        prop_assert!(self.written[1].starts_with(&self.got[0]), "the client has a prefix");
        Ok(())
    }
}

fn run(seed: u64, profile: Profile, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = world(seed, profile);
    let mut faults = Vec::new();
    let mut pairs = Vec::new();
    let mut broken = false;
    let opened: Vec<ConnId> = (0..CLIENTS as u64).map(|token| world.open(token)).collect();
    for _ in 0..CLIENTS {
        for _ in 0..20 {
            world.pass(S);
            // Of those whose SYN is lost again and again, some come too late to take part.
            if let Some((stream, peer)) = world.accept() {
                pairs.push(Pair {
                    conn: peer.conn,
                    stream: Some(stream),
                    written: Default::default(),
                    got: Default::default(),
                });
                break;
            }
        }
    }
    let steps_taken = steps.len();
    for step in steps {
        let picked = |i: usize| i % pairs.len().max(1);
        match step {
            Step::ClientWrites(i, n) => {
                if let Some(pair) = pairs.get_mut(i) {
                    let bytes = pattern(pair.written[0].len(), n);
                    let taken = world.net.write(pair.conn, &bytes).unwrap_or(0);
                    pair.written[0].extend(&bytes[..taken]);
                }
            }
            Step::ServerWrites(i, n) => {
                if let Some(Pair { stream: Some(stream), written, .. }) = pairs.get_mut(i) {
                    let bytes = pattern(written[1].len(), n);
                    if let std::task::Poll::Ready(Ok(taken)) = write(stream, &bytes) {
                        written[1].extend(&bytes[..taken]);
                    }
                }
            }
            Step::ClientReads(i) => pairs.get_mut(i).into_iter().for_each(|pair| pair.client_reads(&world)),
            Step::ServerReads(i) => pairs.get_mut(i).into_iter().for_each(Pair::server_reads),
            Step::Pass(span) => world.pass(span),
            Step::Fault(kind, scope) => faults.push(world.net.add_fault(fault(&world, kind, scope))),
            Step::EndFault(i) if i < faults.len() => {
                world.net.remove_fault(faults.swap_remove(i));
            }
            Step::EndFault(_) => {}
            other => {
                broken = true;
                let conn = |i| pairs.get(picked(i)).map(|pair: &Pair| pair.conn);
                match other {
                    Step::Cut(i) => drop(conn(i).map(|conn| world.net.cut(conn))),
                    Step::CutLater(i) => drop(conn(i).map(|conn| world.net.cut_with_delay(conn, S))),
                    Step::Freeze(i) => drop(conn(i).map(|conn| world.net.freeze(conn))),
                    Step::CloseBoth(i) => drop(conn(i).map(|conn| world.net.close_both(conn))),
                    Step::ClientCloses(i) => drop(conn(i).map(|conn| world.net.close(conn))),
                    Step::ClientResets(i) => drop(conn(i).map(|conn| world.net.reset(conn))),
                    Step::ServerCloses(i) => {
                        if let Some(pair) = pairs.get_mut(i) {
                            pair.server_reads();
                            pair.stream = None;
                        }
                    }
                    Step::Crash(fin) => {
                        world.net.crash(world.server, if fin { CloseStyle::Fin } else { CloseStyle::Rst });
                        world.net.start(world.server);
                    }
                    Step::PowerCycle(span) => {
                        world.net.power_off(world.server);
                        world.pass(span);
                        world.net.power_on(world.server);
                    }
                    Step::PauseResume(span) => {
                        world.net.pause(world.server);
                        world.pass(span);
                        world.net.resume(world.server);
                    }
                    _ => {}
                }
            }
        }
        pairs.iter().try_for_each(Pair::check)?;
    }
    for fault in faults {
        world.net.remove_fault(fault);
    }
    for _ in 0..400 {
        world.pass(S);
        for pair in &mut pairs {
            pair.client_reads(&world);
            pair.server_reads();
        }
    }
    let timeouts = world.net.stats().timeouts;
    for pair in &pairs {
        pair.check()?;
        if !broken && timeouts == 0 {
            prop_assert_eq!(&pair.written[0], &pair.got[1], "after the heal everything arrives");
            prop_assert_eq!(&pair.written[1], &pair.got[0], "after the heal everything arrives");
        }
    }
    drop(pairs);
    for conn in opened {
        let _ = world.net.close(conn);
    }
    world.listener = None;
    world.pass(2 * LONG);
    prop_assert_eq!(world.net.stats().open, 0, "every slot is released, {} steps", steps_taken);
    prop_assert_eq!(world.net.next_due(), None, "and nothing is due");
    Ok(())
}

/// The steps after which a connection is expected to go on.
fn survivable(step: &Step) -> bool {
    use Step::*;
    matches!(
        step,
        ClientWrites(..) | ServerWrites(..) | ClientReads(_) | ServerReads(_) | Pass(_) | Fault(..) | EndFault(_)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_end_has_a_prefix_of_what_the_other_wrote(seed: u64, steps in prop::collection::vec(step(), 1..80)) {
        run(seed, Profile { recv_window: 4_000, send_buffer: 6_000, tear: 0.3, ..plain() }, steps)?;
    }

    #[test]
    fn the_same_holds_on_a_path_that_loses_and_drops(seed: u64, steps in prop::collection::vec(step(), 1..60)) {
        run(seed, Profile { drop_duration: Some(5 * S), ..Profile::flaky() }, steps)?;
    }

    #[test]
    fn with_patience_everything_arrives_after_the_last_fault(
        seed: u64,
        steps in prop::collection::vec(step().prop_filter("survivable", survivable), 1..80),
    ) {
        let small = Profile { recv_window: 4_000, send_buffer: 6_000, tear: 0.3, ..plain() };
        run(seed, Profile { patience: LONG, ..small }, steps)?;
    }
}
