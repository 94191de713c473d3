//! What faults do to single frames of a client, on a last mile that is two buffers: no simulation, no clock but the test's.

use squall_core::Time;
use squall_generators::Backend;
use squall_generators::{Fleet, FrameFault, FrameFaults, FrameKind, LastMile, Latency, Signal, Sink, Who};
use squall_history::{Event, Kind};
use squall_protocol::token::Issuer;
use squall_protocol::{ClientFrame, ClientMsgId, Codec, DeviceId, ServerFrame, UserId};
use squall_scenarios::Scenario;
use squall_scenarios::people::Mix;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

/// One connection at a time, by number.
#[derive(Default)]
struct Pipe {
    opened: u32,
    to_client: Vec<u8>,
    from_client: Vec<u8>,
    cut: Vec<u32>,
}

impl LastMile for Pipe {
    type Conn = u32;

    fn open(&mut self, _client: u32, _gateway: u32) -> u32 {
        self.opened += 1;
        self.opened
    }

    fn write(&mut self, _conn: u32, bytes: &[u8]) -> io::Result<usize> {
        self.from_client.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read(&mut self, _conn: u32, into: &mut Vec<u8>) -> io::Result<()> {
        into.append(&mut self.to_client);
        Ok(())
    }

    fn close(&mut self, _conn: u32) {}

    fn cut(&mut self, conn: u32) {
        self.cut.push(conn);
    }
}

/// One fault on frames of one kind.
struct Faulty {
    kind: FrameKind,
    fault: FrameFault,
    reads: bool,
}

impl FrameFaults for Faulty {
    fn fault(&mut self, _client: u32, frame: FrameKind) -> FrameFault {
        if frame == self.kind { self.fault } else { FrameFault::Pass }
    }

    fn reads(&mut self, _client: u32) -> bool {
        self.reads
    }
}

#[derive(Default)]
struct Seen(Vec<Event>);

impl Sink for Seen {
    fn event(&mut self, event: Event) {
        self.0.push(event);
    }

    fn latency(&mut self, _: Latency) {}

    fn was_away(&mut self, _: ClientMsgId, _: u64) {}
    fn is_no_sample(&mut self, _: ClientMsgId) {}
}

/// One client that has just had its handshake answered, and its gateway.
struct Stage {
    fleet: Fleet<Pipe, Faulty>,
    codec: Codec,
    seen: Seen,
    now: Time,
}

impl Stage {
    fn new(kind: FrameKind, fault: FrameFault) -> Stage {
        let mut scenario = Scenario::default();
        scenario.population.users = 2;
        scenario.population.devices_per_user = Mix::One(1);
        let faults = Faulty { kind, fault, reads: true };
        let fleet = Fleet::new(
            Pipe::default(),
            faults,
            &scenario,
            Who::everybody(
                7,
                Arc::new(Backend::new(Issuer::of_secret([1; 8]), 0, std::time::Duration::from_secs(86_400))),
            ),
        );
        let mut stage = Stage { fleet, codec: Codec::Json, seen: Seen::default(), now: Time(1_000_000) };
        stage.fleet.come_back_at(0, stage.now);
        stage.step(Duration::ZERO);
        stage.signal(Signal::Connected);
        let request = String::from_utf8(std::mem::take(&mut stage.fleet.last_mile.from_client)).unwrap();
        let header = |name: &str| {
            let line = request.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let (key, protocol) = (header("Sec-WebSocket-Key:"), header("Sec-WebSocket-Protocol:"));
        if protocol != Codec::Json.subprotocol() {
            stage.codec = Codec::Protobuf;
        }
        let accept = derive_accept_key(key.as_bytes());
        stage.receive(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\
                 Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
            )
            .as_bytes(),
        );
        stage
    }

    fn step(&mut self, by: Duration) {
        self.now += by;
        self.fleet.step(self.now, &mut self.seen);
    }

    fn signal(&mut self, signal: Signal) {
        let conn = self.fleet.last_mile.opened;
        self.fleet.handle_signal(0, conn, signal, self.now, &mut self.seen);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.fleet.last_mile.to_client.extend_from_slice(bytes);
        self.signal(Signal::Readable);
    }

    fn welcome(&mut self) {
        let welcome = ServerFrame::Welcome { user: UserId(1), device: DeviceId(1), expires_in_ms: 86_400_000 };
        let payload = self.codec.encode_server(&welcome);
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(payload.to_vec()).unwrap()),
            Codec::Protobuf => Message::binary(payload.to_vec()),
        };
        let mut server = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Server, None);
        server.send(message).unwrap();
        let bytes = server.get_ref().get_ref().clone();
        self.receive(&bytes);
    }

    /// How many times the client has said hello since the last look.
    fn hellos(&mut self) -> usize {
        let bytes = std::mem::take(&mut self.fleet.last_mile.from_client);
        let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, None);
        let frames = std::iter::from_fn(|| server.read().ok());
        let decoded = frames.map(|message| self.codec.decode_client(&message.into_data()).unwrap());
        decoded.filter(|frame| matches!(frame, ClientFrame::Hello { .. })).count()
    }
}

#[test]
fn without_a_fault_a_client_comes_online() {
    let mut stage = Stage::new(FrameKind::Send, FrameFault::Cut);
    assert_eq!(stage.hellos(), 1);
    stage.welcome();
    assert!(stage.fleet.is_online(0));
}

#[test]
fn a_frame_goes_out_twice_late_or_never() {
    let mut twice = Stage::new(FrameKind::Hello, FrameFault::Twice);
    assert_eq!(twice.hellos(), 2);

    let mut late = Stage::new(FrameKind::Hello, FrameFault::Late(Duration::from_millis(500)));
    assert_eq!(late.hellos(), 0);
    late.step(Duration::from_millis(499));
    assert_eq!(late.hellos(), 0);
    late.step(Duration::from_millis(1));
    assert_eq!(late.hellos(), 1);

    let mut cut = Stage::new(FrameKind::Hello, FrameFault::Cut);
    assert_eq!((cut.hellos(), &cut.fleet.last_mile.cut[..]), (0, &[1][..]));
}

#[test]
fn a_frame_that_comes_late_is_dropped_with_its_connection() {
    let mut stage = Stage::new(FrameKind::Hello, FrameFault::Late(Duration::from_millis(500)));
    stage.signal(Signal::Lost("reset"));
    stage.step(Duration::from_millis(500));
    assert_eq!(stage.hellos(), 0);
}

#[test]
fn a_frame_comes_in_late_or_never() {
    let mut late = Stage::new(FrameKind::Welcome, FrameFault::Late(Duration::from_millis(500)));
    late.welcome();
    assert!(!late.fleet.is_online(0));
    late.step(Duration::from_millis(500));
    assert!(late.fleet.is_online(0));

    let mut cut = Stage::new(FrameKind::Welcome, FrameFault::Cut);
    cut.welcome();
    assert_eq!((cut.fleet.is_online(0), cut.fleet.conn(0), &cut.fleet.last_mile.cut[..]), (false, None, &[1][..]));
    assert!(!cut.seen.0.iter().any(|event| matches!(event.kind, Kind::Connect { .. })));
}

#[test]
fn a_client_that_does_not_read_reads_on_when_told() {
    let mut stage = Stage::new(FrameKind::Send, FrameFault::Pass);
    stage.fleet.faults.reads = false;
    stage.welcome();
    assert!(!stage.fleet.is_online(0));
    stage.fleet.faults.reads = true;
    stage.fleet.read_on(0, stage.now, &mut stage.seen);
    assert!(stage.fleet.is_online(0));
}
