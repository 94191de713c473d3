//! Hosts that act beside each other, and virtual clients beside them, do what they would have done one after the other, the
//! clients first.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::*;
use proptest::prelude::*;
use squall_network::*;

const HOSTS: usize = 4;
const TICKS: u64 = 120;

/// How clients and hosts of a tick act.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Clients, then hosts, one after the other, each call taking effect at once.
    AtOnce,
    /// In a turn, in an order that this number decides.
    InTurn(u64),
    /// In a turn, each host on a thread of its own and the clients on another.
    OnThreads,
}

/// A number that depends on all of these and on nothing else.
fn draw(seed: u64, parts: [u64; 3]) -> u64 {
    parts.iter().fold(seed, |mixed, part| {
        let z = (mixed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 3
    })
}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<Stream>> + Send>>;

/// A program that talks to every other host, at random and by its own numbers.
struct Program {
    index: usize,
    listener: Option<Listener>,
    streams: Vec<Stream>,
    connecting: Vec<Connecting>,
    /// Rings when something that it waits for has come.
    bell: Arc<Bell>,
    /// What came of every call.
    saw: Vec<String>,
}

impl Program {
    fn act(&mut self, net: &Network, hosts: &[HostId], profile: ProfileId, seed: u64, tick: u64) {
        let waker = Waker::from(Arc::clone(&self.bell));
        let cx = &mut Context::from_waker(&waker);
        self.saw.push(format!("{tick} rang {}", self.bell.rings()));
        // Now and then it lets connections wait, so that some are still there when it stops listening.
        if let Some(listener) =
            self.listener.as_ref().filter(|_| !draw(seed, [tick, self.index as u64, 98]).is_multiple_of(3))
        {
            while let Poll::Ready(Ok((stream, peer))) = listener.poll_accept(cx) {
                self.saw.push(format!("{tick} accepted {:?}", peer.host));
                self.streams.push(stream);
            }
        }
        let mut connecting = std::mem::take(&mut self.connecting);
        connecting.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(stream)) => {
                self.saw.push(format!("{tick} connected as {:?}", stream.conn()));
                self.streams.push(stream);
                false
            }
            Poll::Ready(Err(error)) => {
                self.saw.push(format!("{tick} not connected: {:?}", error.kind()));
                false
            }
        });
        self.connecting = connecting;
        for step in 0..1 + draw(seed, [tick, self.index as u64, 99]) % 12 {
            let number = draw(seed, [tick, self.index as u64, step]);
            let (what, size) = (number % 100, 1 + (number >> 32) as usize % 3_000);
            let count = self.streams.len();
            if what < 6 || count == 0 {
                let to = hosts[(number >> 8) as usize % HOSTS];
                let (net, from) = (net.clone(), hosts[self.index]);
                let mut attempt: Connecting = Box::pin(async move { net.connect(from, to, PORT, profile).await });
                assert!(attempt.as_mut().poll(cx).is_pending());
                if what != 0 {
                    self.connecting.push(attempt);
                }
                continue;
            }
            let place = (number >> 16) as usize % count;
            let stream = &mut self.streams[place];
            let seen = match what {
                6..50 => {
                    let written = write_with(stream, &waker, &vec![step as u8; size]);
                    format!("wrote {:?}", written.map_err(|e| e.kind()))
                }
                50..90 => {
                    let read = read_with(stream, &waker, size).map_err(|e| e.kind());
                    format!("read {:?}", read.map_ok(|bytes| (bytes.len(), bytes.first().copied())))
                }
                90..94 => {
                    shutdown(stream);
                    "shut down".into()
                }
                94..97 => {
                    self.streams.swap_remove(place);
                    "let go".into()
                }
                97 => {
                    let dropped = self.connecting.pop();
                    format!("hung up {}", dropped.is_some())
                }
                98 if tick > TICKS / 2 && self.listener.is_some() => {
                    self.listener = None;
                    "listens no more".into()
                }
                _ => continue,
            };
            self.saw.push(format!("{tick} {seen}"));
        }
    }
}

/// Virtual clients that come, talk to any host, and go.
struct Clients {
    site: HostId,
    conns: Vec<ConnId>,
    events: Vec<FleetEvent>,
    saw: Vec<String>,
}

impl Clients {
    fn act(&mut self, net: &Network, hosts: &[HostId], profile: ProfileId, seed: u64, tick: u64) {
        net.drain_events(&mut self.events);
        self.saw.extend(self.events.drain(..).map(|event| format!("{tick} {} {:?}", event.token, event.kind)));
        for step in 0..1 + draw(seed, [tick, 77, 99]) % 20 {
            let number = draw(seed, [tick, 77, step]);
            let (what, size) = (number % 100, 1 + (number >> 32) as usize % 2_000);
            let count = self.conns.len();
            if what < 10 || count == 0 {
                let to = hosts[(number >> 8) as usize % HOSTS];
                self.conns.push(net.open(self.site, to, PORT, profile, tick << 8 | step));
                continue;
            }
            let place = (number >> 16) as usize % count;
            let conn = self.conns[place];
            let seen = match what {
                10..55 => format!("wrote {:?}", net.write(conn, &vec![step as u8; size]).map_err(|e| e.kind())),
                55..92 => {
                    let mut bytes = Vec::new();
                    let read = net.read(conn, &mut bytes).map_err(|e| e.kind());
                    format!("read {read:?} {:?}", bytes.first())
                }
                _ => {
                    self.conns.swap_remove(place);
                    let left = if what < 97 { net.close(conn) } else { net.reset(conn) };
                    format!("left {:?}", left.map_err(|e| e.kind()))
                }
            };
            self.saw.push(format!("{tick} {conn:?} {seen}"));
        }
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    digests: Vec<Vec<(HostId, u64)>>,
    trace: Vec<SegmentTrace>,
    stats: Stats,
    saw: Vec<Vec<String>>,
}

fn play(seed: u64, order: Order) -> Outcome {
    let net = Network::new(seed);
    let hosts: Vec<HostId> = (0..HOSTS).map(|n| net.add_host(format!("host-{n}"))).collect();
    // Windows so small that writers wait, and bytes so slow that they wait for long.
    let profile = net.add_profile(Profile {
        recv_window: 2_000,
        send_buffer: 3_000,
        bandwidth_bytes_per_s: Some(400_000),
        nat_idle_timeout: None,
        ..Profile::flaky()
    });
    let trace = Arc::new(Mutex::new(Vec::new()));
    let sink = trace.clone();
    net.set_trace(Some(Box::new(move |segment| sink.lock().unwrap().push(*segment))));
    let mut programs: Vec<Program> = (0..HOSTS)
        .map(|index| Program {
            index,
            listener: Some(net.listen(hosts[index], PORT, 64).unwrap()),
            streams: Vec::new(),
            connecting: Vec::new(),
            bell: Arc::default(),
            saw: Vec::new(),
        })
        .collect();
    let site = net.add_host("clients");
    let mut clients = Clients { site, conns: Vec::new(), events: Vec::new(), saw: Vec::new() };
    let mut digests = Vec::new();
    for tick in 0..TICKS {
        net.advance((tick + 1) * 20 * MS);
        match order {
            Order::AtOnce => {
                clients.act(&net, &hosts, profile, seed, tick);
                programs.iter_mut().for_each(|p| p.act(&net, &hosts, profile, seed, tick));
            }
            Order::InTurn(key) => {
                net.begin_turn();
                let mut any: Vec<_> = programs.iter_mut().collect();
                any.sort_by_key(|p| draw(key, [tick, p.index as u64, 0]));
                let clients_at = draw(key, [tick, 77, 0]) as usize % (HOSTS + 1);
                for (place, program) in any.into_iter().enumerate() {
                    if place == clients_at {
                        clients.act(&net, &hosts, profile, seed, tick);
                    }
                    program.act(&net, &hosts, profile, seed, tick);
                }
                if clients_at == HOSTS {
                    clients.act(&net, &hosts, profile, seed, tick);
                }
                net.end_turn();
            }
            Order::OnThreads => {
                net.begin_turn();
                std::thread::scope(|scope| {
                    for program in &mut programs {
                        let (net, hosts) = (&net, &hosts);
                        scope.spawn(move || program.act(net, hosts, profile, seed, tick));
                    }
                    clients.act(&net, &hosts, profile, seed, tick);
                });
                net.end_turn();
            }
        }
        digests.push(net.take_digests());
    }
    net.set_trace(None);
    let trace = std::mem::take(&mut *trace.lock().unwrap());
    let mut saw: Vec<_> = programs.iter_mut().map(|p| std::mem::take(&mut p.saw)).collect();
    saw.push(clients.saw);
    Outcome { digests, trace, stats: net.stats(), saw }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hosts_in_any_order_do_what_they_do_one_after_the_other(seed: u64, key: u64) {
        let alone = play(seed, Order::AtOnce);
        prop_assert_eq!(&play(seed, Order::InTurn(key)), &alone);
        prop_assert_eq!(&play(seed, Order::OnThreads), &alone);
    }
}

#[test]
fn what_the_comparison_sees_is_worth_seeing() {
    let outcomes = [1, 2, 3, 4].map(|seed| play(seed, Order::AtOnce));
    let lines: Vec<&String> = outcomes.iter().flat_map(|outcome| outcome.saw.iter().flatten()).collect();
    let saw = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert!(outcomes.iter().all(|outcome| outcome.trace.len() > 500));
    for (what, least) in [
        ("wrote Ready(Ok(", 100),
        ("wrote Pending", 10),
        ("wrote Ok(", 100),
        ("wrote Err(WouldBlock)", 10),
        ("read Ok(Data(", 100),
        ("left Ok", 20),
        ("read Ready(Ok((", 100),
        ("accepted", 20),
        ("connected as", 20),
        ("let go", 5),
        ("hung up true", 1),
        ("listens no more", 1),
        ("shut down", 5),
    ] {
        assert!(saw(what) >= least, "{what}: {}", saw(what));
    }
}

#[test]
fn who_begins_to_connect_in_a_turn_is_woken_when_connected() {
    let world = world(1, plain());
    let from = world.net.add_host("host");
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    world.net.begin_turn();
    let (net, server, profile) = (world.net.clone(), world.server, world.profile);
    let mut connecting: Connecting = Box::pin(async move { net.connect(from, server, PORT, profile).await });
    assert!(connecting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    world.net.end_turn();
    assert_eq!(bell.rings(), 0);
    world.net.advance(S);
    assert_eq!(bell.rings(), 1);
    assert!(matches!(connecting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(_))));
}
